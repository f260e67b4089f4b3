//! Reads the rollup files: one text for all the grains that its header names, each of which is a rollup of its
//! own. Where the SQL says `$grain`, it stands for the grain in question.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::ScalarValue,
    error::Result as EngineResult,
    execution::SessionState,
    logical_expr::LogicalPlan,
    optimizer::{Optimizer, simplify_expressions::SimplifyExpressions},
};

use super::definition::{Definition, Grain, NoRollup};
use crate::query::library::{Entry, GRAIN, Kind, Library, Problem, line_starting};

/// What the rollup files say, and what is wrong with which.
pub async fn load(state: &SessionState, library: &Library) -> (Vec<Definition>, Vec<Problem>) {
    let (mut definitions, mut problems) = (Vec::new(), Vec::new());
    for entry in library.of(Kind::Rollups) {
        match file(state, entry).await {
            Ok(of_file) => definitions.extend(of_file),
            Err(problem) => problems.push(problem),
        }
    }
    (definitions, problems)
}

/// The rollups of one file: all of them, or what is wrong with it.
async fn file(state: &SessionState, entry: &Entry) -> Result<Vec<Definition>, Problem> {
    let grains = grains(entry)?;
    let mut definitions = Vec::new();
    for grain in &grains {
        let plan = plan(state, entry, *grain).await.map_err(|error| Problem::of(&entry.file, &error))?;
        let name = match grains.len() {
            1 => entry.named.name.clone(),
            _ => format!("{}_{}", entry.named.name, grain.name()),
        };
        definitions.push(Definition::of(&name, *grain, &plan).map_err(|refused| problem(entry, refused))?);
    }
    Ok(definitions)
}

fn grains(entry: &Entry) -> Result<Vec<Grain>, Problem> {
    let told = entry.named.grain.as_deref().unwrap_or_default();
    let mut grains: Vec<Grain> = Vec::new();
    for name in told.split(',').map(str::trim) {
        match Grain::of(name) {
            Some(grain) if !grains.contains(&grain) => grains.push(grain),
            _ => {
                let message = format!("the grain of a rollup is `hour`, `day` or `hour, day`, not `{told}`");
                let line = line_starting(&entry.named.sql, "-- grain:").or(Some(1));
                return Err(Problem { file: entry.file.clone(), line, message });
            }
        }
    }
    Ok(grains)
}

/// The statement for one grain, as far as any statement's plan is when rollups are looked for.
async fn plan(state: &SessionState, entry: &Entry, grain: Grain) -> EngineResult<LogicalPlan> {
    let mut plan = state.create_logical_plan(&entry.named.sql).await?;
    if !entry.named.params.is_empty() {
        let grain = ScalarValue::Utf8(Some(grain.name().to_owned()));
        plan = plan.with_param_values(HashMap::from([(GRAIN.to_owned(), grain)]))?;
    }
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]).optimize(plan, state, |_, _| {})
}

/// The reason with the line on which its column is named.
fn problem(entry: &Entry, refused: NoRollup) -> Problem {
    let named = refused.column.map(|column| format!(" as {column}"));
    let names = |line: &str| {
        named.as_ref().is_some_and(|named| !line.starts_with("--") && line.trim_end_matches(',').ends_with(named))
    };
    let line = entry.named.sql.lines().position(names).map(|index| index + 1);
    Problem { file: entry.file.clone(), line, message: refused.message }
}
