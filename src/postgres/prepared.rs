//! What a client keeps in its connection: prepared statements, and portals, which are statements with their values.
//! Bounded in number and bytes. A statement is kept as its text, and planned again when it runs: a plan may be many
//! times as large.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use pgwire::{
    api::{
        Type,
        portal::{Format, Portal},
        stmt::StoredStatement,
    },
    messages::extendedquery::Bind,
};
use tokio::time::Instant;

use super::{
    answer::{self, Answer},
    error::{Failure, Result},
};
use crate::query::{Description, Values};

/// Most prepared statements, and most portals, of a connection.
const KEPT_MAX: usize = 1_000;
/// Most bytes of all their texts and values together.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// A statement that was prepared.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub text: String,
    /// Its parameters, and its columns where it has some.
    pub description: Description,
    /// The types that the client said its parameters have.
    pub hints: Vec<Option<Type>>,
}

impl Prepared {
    /// Whether it answers with rows.
    pub fn has_columns(&self) -> bool {
        !self.description.schema.fields().is_empty()
    }

    /// The types of its parameters, as its client is told.
    pub fn parameter_types(&self) -> Vec<Type> {
        let told = |(at, kind): (usize, &DataType)| {
            self.hints.get(at).cloned().flatten().unwrap_or_else(|| answer::told_type(kind))
        };
        self.description.parameters.iter().enumerate().map(told).collect()
    }

    /// The values of a message for its parameters.
    fn values(&self, bind: &Bind) -> Result<Values> {
        let count = self.description.parameters.len();
        if bind.parameters.len() != count {
            let message = format!("{} values for {count} parameters", bind.parameters.len());
            return Err(Failure::new("08P01", message));
        }
        let formats = bind.parameter_format_codes.len();
        if formats > 1 && formats != count {
            return Err(Failure::new("08P01", format!("{formats} formats for {count} parameters")));
        }
        let statement = StoredStatement::new(String::new(), (), self.hints.clone());
        let portal = Portal::try_new(bind, Arc::new(statement))?;
        let told = self.parameter_types();
        let used: Vec<_> = self.description.parameters.iter().map(Some).collect();
        Ok(deserialize_parameters_with_server_types(&portal, &used, &told.iter().map(Some).collect::<Vec<_>>())?)
    }
}

/// A statement with its values.
pub struct Bound {
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// Its values.
    pub values: Values,
    /// How its rows are wanted.
    pub format: Format,
    /// What is left of its answer, once it was asked for.
    pub answer: Option<Answer>,
    bytes: usize,
}

impl Bound {
    /// With the values of a message.
    pub fn new(prepared: Arc<Prepared>, bind: &Bind) -> Result<Self> {
        let values = prepared.values(bind)?;
        let format = match bind.result_column_format_codes.as_slice() {
            [] => Format::UnifiedText,
            [code] => Format::from(*code),
            codes => Format::Individual(codes.to_vec()),
        };
        if prepared.has_columns() {
            answer::columns(&prepared.description.schema, &format)?;
        }
        let bytes = bind.parameters.iter().flatten().map(|value| value.len()).sum();
        Ok(Self { prepared, values, format, answer: None, bytes })
    }
}

/// All that a connection keeps. The nameless ones have an empty name.
#[derive(Default)]
pub struct Kept {
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Bound>,
}

impl Kept {
    /// Keeps a statement; the nameless one takes the place of the one before.
    pub fn prepare(&mut self, name: String, prepared: Prepared) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Failure::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        self.statements.remove(&name);
        self.room(self.statements.len(), prepared.text.len())?;
        self.statements.insert(name, Arc::new(prepared));
        Ok(())
    }

    /// Keeps a portal.
    pub fn bind(&mut self, name: String, bound: Bound) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Failure::new("42P03", format!("portal \"{name}\" already exists")));
        }
        self.portals.remove(&name);
        self.room(self.portals.len(), bound.bytes)?;
        self.portals.insert(name, bound);
        Ok(())
    }

    /// A statement.
    pub fn statement(&self, name: &str) -> Result<Arc<Prepared>> {
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| Failure::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// A portal.
    pub fn portal(&mut self, name: &str) -> Result<&mut Bound> {
        let found = self.portals.get_mut(name);
        found.ok_or_else(|| Failure::new("34000", format!("portal \"{name}\" does not exist")))
    }

    /// Forgets a statement, if it is there.
    pub fn forget(&mut self, name: &str) {
        self.statements.remove(name);
    }

    /// Forgets all statements.
    pub fn forget_all(&mut self) {
        self.statements.clear();
    }

    /// Ends a portal, if it is there.
    pub fn close(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// When the time of the next one of the statements behind portals is up.
    pub fn next_end(&self) -> Option<Instant> {
        self.portals.values().filter_map(|portal| portal.answer.as_ref()?.until()).min()
    }

    /// Ends the answers of portals whose time is up. The portals stay, so that their client hears why.
    pub fn end_overdue(&mut self, now: Instant) {
        self.portals
            .values_mut()
            .filter_map(|portal| portal.answer.as_mut())
            .for_each(|answer| answer.end_if_overdue(now));
    }

    /// Ends all portals, as the end of a transaction does.
    pub fn close_all(&mut self) {
        self.portals.clear();
    }

    fn room(&self, count: usize, bytes: usize) -> Result<()> {
        let texts = self.statements.values().map(|statement| statement.text.len());
        let kept: usize = texts.chain(self.portals.values().map(|portal| portal.bytes)).sum();
        if count >= KEPT_MAX || kept + bytes > KEPT_BYTES_MAX {
            let message = format!(
                "a connection keeps at most {KEPT_MAX} statements and portals, and {KEPT_BYTES_MAX} bytes of them: \
                 close some"
            );
            return Err(Failure::new("53400", message));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prepared(bytes: usize) -> Prepared {
        let description = Description { parameters: Vec::new(), schema: answer::text_schema("a") };
        Prepared { text: "x".repeat(bytes), description, hints: Vec::new() }
    }

    #[test]
    fn a_connection_keeps_so_much() {
        let mut kept = Kept::default();
        kept.prepare("a".into(), prepared(1)).unwrap();
        assert!(kept.prepare("a".into(), prepared(1)).is_err());
        for _ in 0..3 {
            kept.prepare(String::new(), prepared(KEPT_BYTES_MAX - 1)).unwrap();
        }
        assert!(kept.prepare("b".into(), prepared(1)).is_err());
        kept.forget("a");
        kept.prepare("b".into(), prepared(1)).unwrap();
        kept.forget_all();
        for number in 0..KEPT_MAX {
            kept.prepare(number.to_string(), prepared(1)).unwrap();
        }
        assert!(kept.prepare("one more".into(), prepared(1)).is_err());
        assert!(kept.statement("5").is_ok() && kept.statement("one more").is_err() && kept.portal("").is_err());
    }
}
