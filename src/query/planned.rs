//! Plans of named files, kept from the first time that each is asked: neither a file nor a view that it stands on changes
//! while an engine is there. What a plan reads is looked up when it runs, and its parameters are still open.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use datafusion::logical_expr::LogicalPlan;

use super::library::Entry;

/// Plans by file; no more than there are files.
#[derive(Default)]
pub struct Planned(Mutex<HashMap<String, LogicalPlan>>);

impl Planned {
    /// The file's plan, once it was made.
    pub fn get(&self, entry: &Entry) -> Option<LogicalPlan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&entry.file).cloned()
    }

    /// Keeps a file's plan.
    pub fn keep(&self, entry: &Entry, plan: &LogicalPlan) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.file.clone(), plan.clone());
    }
}
