//! The engine's errors as ours: what the sender wrote wrong, what ran out, what broke.

use datafusion::error::DataFusionError;

use crate::error::{Error, Kind};

/// The setting that the engine names when spilled bytes reach their limit; it has no kind of its own.
const SPILL_LIMIT: &str = "max_temp_directory_size";

/// Wraps an engine error; the context says what was asked for.
pub fn from_engine(context: &str, error: DataFusionError) -> Error {
    let (kind, text) = {
        let root = error.find_root();
        (kind_of(root), message(root))
    };
    if text.contains(SPILL_LIMIT) {
        return Error::new(
            Kind::Exhausted,
            format!("{context}: it needs more memory and more spill space than it may have"),
        );
    }
    let text = if text.is_empty() { error.to_string() } else { text };
    match kind {
        // What broke is ours, and may name files of the host: the log has it, and no client.
        Kind::Internal => Error::new(kind, context).with_source(error),
        _ => Error::new(kind, format!("{context}: {text}")),
    }
}

/// The same of an error in planning. What the engine takes for a fault of its own, before it has looked at any data, is
/// a statement that it has no plan for: written another way it has one.
pub fn from_planning(context: &str, error: DataFusionError) -> Error {
    if let DataFusionError::Internal(text) = error.find_root() {
        let text = text.lines().next().unwrap_or_default();
        tracing::warn!(%error, "the engine has no plan for a statement");
        return Error::invalid(format!("{context}: the engine has no plan for it ({text}); write it another way"));
    }
    from_engine(context, error)
}

fn kind_of(error: &DataFusionError) -> Kind {
    match error {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ArrowError(..) => Kind::Invalid,
        DataFusionError::ResourcesExhausted(_) => Kind::Exhausted,
        _ => Kind::Internal,
    }
}

/// The message without the engine's prefixes and backtraces.
pub fn message(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text.trim();
    ["Error during planning: ", "SQL error: ", "Execution error: ", "Schema error: ", "Arrow error: "]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text)
        .to_owned()
}
