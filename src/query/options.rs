//! What a statement may choose about how it is answered. Never changes what the answer is.

use datafusion::common::{config::ConfigExtension, config::ConfigOptions, extensions_options};

extensions_options! {
    /// Choices of one statement.
    pub struct Options {
        /// Whether rollups may be used.
        pub rollups: bool, default = true
    }
}

impl ConfigExtension for Options {
    const PREFIX: &'static str = "driftline";
}

impl Options {
    /// With rollups, or without.
    pub fn with_rollups(rollups: bool) -> Self {
        Self { rollups }
    }

    /// The choices of a session.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Options>().cloned().unwrap_or_default()
    }
}
