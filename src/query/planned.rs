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
pub struct Planned(Mutex<HashMap<String, FilePlan>>);

/// A file's plan.
#[derive(Clone)]
pub struct FilePlan {
    /// With all columns of what it reads: conditions may be about any.
    pub whole: LogicalPlan,
    /// With those alone that it needs.
    pub needed: LogicalPlan,
}

impl Planned {
    /// The file's plan, once it was made.
    pub fn get(&self, entry: &Entry) -> Option<FilePlan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&entry.file).cloned()
    }

    /// Keeps a file's plan.
    pub fn keep(&self, entry: &Entry, plan: &FilePlan) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.file.clone(), plan.clone());
    }
}
