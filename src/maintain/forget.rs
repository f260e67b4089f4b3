//! Rows that are to go because somebody asks for it: one user's, or one tenant's. Looks into every file that
//! may hold such rows, and writes those that do again without them.
//!
//! What it does not do: it does not find a name inside other columns' text, and counters that were
//! summed up before (Prometheus totals) stay as they are.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::DataType,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Done, Maintainer};
use crate::{
    error::{Context, Error, Kind, Result},
    lake::{DataFile, LakeTable, Replacement, Rewrite},
    record::{Table, col},
};

/// Whose rows are to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Records of this `user_id`.
    UserId(String),
    /// Records of this `tenant_id`.
    TenantId(String),
}

/// What went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// Records.
    pub records: u64,
    /// Rejected lines whose text holds the name.
    pub rejected_lines: u64,
    /// Files that held them.
    pub files: u64,
    /// Results of jobs that name the tenant.
    // The tables have none; `forget` counts them.
    pub results: u64,
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::UserId(name) | Self::TenantId(name) => name,
        }
    }

    /// The column that tells in a table, and how.
    fn column(&self, table: Table) -> Option<(&'static str, Match)> {
        match (table, self) {
            (Table::AgentLogs, Self::UserId(_)) => Some((col::USER_ID, Match::Whole)),
            (Table::AgentLogs, Self::TenantId(_)) => Some((col::TENANT_ID, Match::Whole)),
            // A line that was no record may still say whose it was.
            (Table::RejectedLogs, _) => Some((col::RAW, Match::Part)),
        }
    }
}

/// How a value names the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Whole,
    Part,
}

impl Maintainer {
    /// Takes the rows out of all committed files, or with `dry_run` only counts them. What is buffered
    /// must have been flushed before. The files they were in leave the store once their grace period is
    /// over, as after a compaction.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for an empty name. Any other error is the first one, and names its file: all others were tried.
    pub async fn forget(&self, subject: &Subject, dry_run: bool) -> Result<Forgotten> {
        if subject.name().is_empty() {
            return Err(Error::invalid("say whose records are to be forgotten: the name is empty"));
        }
        let _alone = self.pass.lock().await;
        let mut forgotten = Forgotten::default();
        let mut done = Done::default();
        // What is wrong with one file must not keep the rows of others.
        let mut result = Ok(());
        for lake in &self.lake {
            let Some((column, how)) = subject.column(lake.table()) else { continue };
            // By name: files are joined meanwhile, and hold what the ones before held.
            let mut seen = HashSet::new();
            loop {
                if !dry_run {
                    // As in a pass: ingest waits for files to be joined, and the log grows with each step.
                    result = result.and(self.join_waiting(&mut done).await);
                    result = result.and(self.tend_if_due(&mut done).await);
                }
                let may_hold = |file: &DataFile| may_hold(lake, file, column, how, subject.name());
                let Some(file) = next(lake, &mut seen, may_hold) else { break };
                let wanted = (column, how, subject.name());
                let going = match self.forget_in(lake, &file, wanted, dry_run, &mut seen).await {
                    Ok(going) => going,
                    Err(error) => {
                        result = result.and(Err(error).context(unread(&file)));
                        continue;
                    }
                };
                forgotten.files += u64::from(going > 0);
                match lake.table() {
                    Table::AgentLogs => forgotten.records += going,
                    Table::RejectedLogs => forgotten.rejected_lines += going,
                }
            }
        }
        self.count(&done);
        result?;
        if !dry_run {
            tracing::info!(?forgotten, "records were deleted on request");
        }
        Ok(forgotten)
    }

    async fn forget_in(
        &self,
        lake: &LakeTable,
        file: &DataFile,
        (column, how, name): (&'static str, Match, &str),
        dry_run: bool,
        seen: &mut HashSet<String>,
    ) -> Result<u64> {
        let now_us = self.ages.now_us();
        let position = position(lake, column)?;
        let wanted = name.to_owned();
        let keep = move |batch: &RecordBatch| keep(batch, column, how, &wanted);
        let snapshot = lake.snapshot();
        let going = self.rewriter.count_going(lake, Arc::clone(&snapshot), file.clone(), position, &keep).await?;
        if dry_run || going == 0 {
            return Ok(going as u64);
        }
        let rewrite = Rewrite {
            snapshot,
            files: vec![file.clone()],
            tier: file.tier,
            files_max: 1,
            removed: file.removed.clone(),
            keep: Some(&keep),
        };
        let rewritten = self.rewriter.rewrite(lake, rewrite, now_us).await?;
        let (added, rows) = (rewritten.added, rewritten.rows as u64);
        seen.extend(added.iter().map(|add| add.path.clone()));
        lake.replace(Replacement { removed: vec![file.clone()], added, rows, loses_rows: true }, now_us).await?;
        Ok(going as u64)
    }
}

fn position(lake: &LakeTable, column: &str) -> Result<usize> {
    let found = lake.table().schema().index_of(column);
    found.map_err(|_| Error::new(Kind::Internal, format!("{} has no column {column}", lake.table().name())))
}

/// The next file that may hold such rows, of those that nobody has looked into.
fn next(lake: &LakeTable, seen: &mut HashSet<String>, may_hold: impl Fn(&DataFile) -> bool) -> Option<DataFile> {
    let snapshot = lake.snapshot();
    let file = snapshot.files.iter().find(|file| !seen.contains(&file.name) && may_hold(file))?;
    seen.insert(file.name.clone());
    Some(file.clone())
}

fn unread(file: &DataFile) -> String {
    format!(
        "rows that are to go are left in {}, all other files are done; `driftline verify --content` says what is wrong \
         with it, and then ask again",
        file.name
    )
}

/// Whether the file's statistics allow for such a row.
fn may_hold(lake: &LakeTable, file: &DataFile, column: &str, how: Match, name: &str) -> bool {
    how == Match::Part || file.may_hold(lake.table(), column, name)
}

/// Which rows stay: a row without a value is nobody's.
fn keep(batch: &RecordBatch, column: &str, how: Match, name: &str) -> Result<BooleanArray> {
    let values = batch
        .column_by_name(column)
        .filter(|values| *values.data_type() == DataType::Utf8View)
        .ok_or_else(|| Error::new(Kind::Internal, format!("{column} is not text")))?
        .as_string_view();
    let stays = |row: usize| {
        values.is_null(row)
            || match how {
                Match::Whole => values.value(row) != name,
                Match::Part => !names(values.value(row), name),
            }
    };
    Ok((0..values.len()).map(|row| Some(stays(row))).collect())
}

/// Whether a text has the name, and not just inside of a longer one.
fn names(text: &str, name: &str) -> bool {
    let continues = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(name)
        .any(|(at, _)| !continues(text[..at].chars().next_back()) && !continues(text[at + name.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_stands_alone() {
        for (text, found) in [
            (r#"{"user_id":"ann","#, true),
            ("ann", true),
            ("ann's phone", true),
            ("joanna and ann", true),
            ("joanna", false),
            ("annabel", false),
            ("ann_2", false),
            ("", false),
        ] {
            assert_eq!(names(text, "ann"), found, "{text}");
        }
    }
}
