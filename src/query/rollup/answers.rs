//! What each file's rollup answers to a question, and the files of a day together, put together once and kept:
//! dashboards ask the same of the same files again and again, and a file never changes. Of a file's hundreds of rows for
//! each hour, one is left for each group of the question, so that what is added up for an answer grows with its rows, and
//! not with the calls behind them. Never decides which files are asked.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, StructArray, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Column, DFSchema, Result, internal_datafusion_err},
    datasource::{MemTable, TableType, memory::MemorySourceConfig, provider_as_source, source::DataSourceExec},
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, utils::conjunction},
    physical_plan::{ExecutionPlan, collect},
};
use quick_cache::{Weighter, sync::Cache};

use super::{
    Fence, Level, RollupRows,
    cover::Range,
    definition::Merge,
    figures::{named, typed},
    rewrite::within,
};
use crate::{
    lake::{DataFile, Sidecar, Snapshot},
    query::scoped,
};

/// Rollups whose rows are decoded at the same time, bytes as they are stored.
const READ_BYTES: u64 = 16 << 20;
/// About as many bytes an answer has.
const ANSWER_BYTES: usize = 8 * 1024;
/// Fewer rows are left to one worker, if they have fewer bytes as well: sketches are many.
const ROWS_EACH: usize = 4_096;
const BYTES_EACH: usize = 512 * 1024;

/// A question to a rollup's rows, in terms of its columns.
#[derive(Debug, Clone)]
pub struct Question {
    /// The groups.
    pub groups: Vec<Expr>,
    /// The figures' parts, and how they are put together.
    pub parts: Vec<(Expr, Merge)>,
    /// What a row fulfils.
    pub conditions: Vec<Expr>,
    /// The windows, as a range of their starts.
    pub windows: Range,
}

/// Answers that are kept, by question, file and windows.
pub struct Answers {
    kept: Cache<Place, RecordBatch, Bytes>,
    bytes_max: usize,
}

/// What an answer is to, and of which files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Of the question but its windows, and of whose rows it sees.
    pub question: blake3::Hash,
    /// Where the files' rollups are, or the files are.
    pub path: String,
    /// The windows, as far as they say anything about the files.
    pub windows: Range,
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Place, RecordBatch> for Bytes {
    fn weight(&self, place: &Place, answer: &RecordBatch) -> u64 {
        (size_of::<Place>() + place.path.len() + answer.get_array_memory_size()) as u64
    }
}

impl Answers {
    /// Keeps so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Cache::with_weighter(bytes_max / ANSWER_BYTES, bytes_max as u64, Bytes), bytes_max }
    }

    /// The answer, if it is kept.
    pub fn get(&self, place: &Place) -> Option<RecordBatch> {
        self.kept.get(place)
    }

    /// Keeps an answer.
    pub fn keep(&self, place: &Place, answer: &RecordBatch) {
        self.kept.insert(place.clone(), answer.clone());
    }

    /// Most bytes, of all that are kept and of those of one statement.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// The answers of some files of one snapshot: groups `g…` and parts `p…`.
pub struct Answered {
    answers: Arc<Answers>,
    level: Arc<Level>,
    snapshot: Arc<Snapshot>,
    /// What has one answer each.
    units: Vec<Unit>,
    fence: Option<Fence>,
    question: Question,
    schema: SchemaRef,
}

/// Files whose answers are put together and kept as one: dashboards ask for the same days again and again, and a day that
/// is over has several files.
struct Unit {
    /// Each file's rollup, and the windows that it is asked for.
    files: Vec<(Sidecar, Range)>,
    /// The windows that they are asked for, as far as these say anything about them.
    windows: Range,
}

impl Answered {
    /// The answers of these units of files.
    pub fn new(
        answers: &Arc<Answers>,
        level: &Arc<Level>,
        snapshot: &Arc<Snapshot>,
        units: &[Vec<&DataFile>],
        fence: Option<Fence>,
        question: Question,
    ) -> Result<Self> {
        let grain_us = level.definition.grain.us();
        let clip = |times| clipped(question.windows, grain_us, times);
        let unit = |files: &Vec<&DataFile>| {
            let (firsts, lasts): (Vec<i64>, Vec<i64>) = files.iter().map(|file| file.times()).unzip();
            let times = firsts.into_iter().min().zip(lasts.into_iter().max());
            let asked = |file: &&DataFile| Some((level.sidecars.of(file)?, clip(file.times())));
            Unit { files: files.iter().filter_map(asked).collect(), windows: times.map_or(Range::ALL, clip) }
        };
        let units = units.iter().map(unit).collect();
        let rows = DFSchema::try_from(Arc::clone(&level.definition.schema))?;
        let parts = question.parts.iter().map(|(part, _)| part);
        let fields = numbered_names("g", &question.groups).zip(&question.groups);
        let fields = fields.chain(numbered_names("p", &question.parts).zip(parts));
        let fields =
            fields.map(|(name, expr)| Ok(Field::new(name, expr.get_type(&rows)?, true))).collect::<Result<Vec<_>>>()?;
        let (answers, level, snapshot) = (Arc::clone(answers), Arc::clone(level), Arc::clone(snapshot));
        Ok(Self { answers, level, snapshot, units, fence, question, schema: Arc::new(Schema::new(fields)) })
    }

    /// Each unit's answer; none where they are too much to be in memory at once.
    async fn answers(&self, state: &dyn Session) -> Result<Option<Vec<RecordBatch>>> {
        let question = self.fingerprint();
        let place = |unit: &Unit| {
            let locations: Vec<&str> = unit.files.iter().map(|(sidecar, _)| sidecar.location()).collect();
            Place { question, path: locations.join("\n"), windows: unit.windows }
        };
        let places: Vec<Place> = self.units.iter().map(place).collect();
        let mut found: Vec<Option<RecordBatch>> = places.iter().map(|place| self.answers.get(place)).collect();
        let size = |answer: &RecordBatch| answer.get_array_memory_size();
        let mut bytes: usize = found.iter().flatten().map(size).sum();
        let lacking: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_none()).collect();
        let mut rest = lacking.as_slice();
        while !rest.is_empty() {
            let bytes_of = |unit: &usize| self.units[*unit].files.iter().map(|(sidecar, _)| sidecar.bytes()).sum();
            let (asked, later) = rest.split_at(read_at_once(rest.iter().map(bytes_of)));
            rest = later;
            let files: Vec<&(Sidecar, Range)> = asked.iter().flat_map(|index| &self.units[*index].files).collect();
            let Some(answers) = self.of_files(state, question, &files).await? else { return Ok(None) };
            let mut answers = answers.into_iter();
            let of_units: Vec<Vec<RecordBatch>> =
                asked.iter().map(|index| answers.by_ref().take(self.units[*index].files.len()).collect()).collect();
            for (index, answer) in asked.iter().zip(self.merged(state, of_units).await?) {
                bytes += size(&answer);
                if self.units[*index].files.len() > 1 {
                    self.answers.keep(&places[*index], &answer);
                }
                found[*index] = Some(answer);
            }
            if bytes > self.answers.bytes_max() {
                return Ok(None);
            }
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }

    /// Each file's answer, the order of files kept; none where they are too much to be in memory at once.
    async fn of_files(
        &self,
        state: &dyn Session,
        question: blake3::Hash,
        files: &[&(Sidecar, Range)],
    ) -> Result<Option<Vec<RecordBatch>>> {
        let place = |(sidecar, windows): &(Sidecar, Range)| Place {
            question,
            path: sidecar.location().to_owned(),
            windows: *windows,
        };
        let places: Vec<Place> = files.iter().map(|file| place(file)).collect();
        let mut found: Vec<Option<RecordBatch>> = places.iter().map(|place| self.answers.get(place)).collect();
        let size = |answer: &RecordBatch| answer.get_array_memory_size();
        let mut bytes: usize = found.iter().flatten().map(size).sum();
        while let Some(first) = found.iter().position(Option::is_none) {
            let asked = next_unanswered(files, &found, first);
            let rollups: Vec<Sidecar> = asked.iter().map(|index| files[*index].0.clone()).collect();
            let windows = files[first].1;
            for (index, answer) in asked.into_iter().zip(self.ask(state, rollups, windows).await?) {
                bytes += size(&answer);
                self.answers.keep(&places[index], &answer);
                found[index] = Some(answer);
            }
            if bytes > self.answers.bytes_max() {
                return Ok(None);
            }
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }

    /// One answer for the answers of each unit's files.
    async fn merged(&self, state: &dyn Session, of_units: Vec<Vec<RecordBatch>>) -> Result<Vec<RecordBatch>> {
        if of_units.iter().all(|answers| answers.len() == 1) {
            return Ok(of_units.into_iter().flatten().collect());
        }
        let (count, schema) = (of_units.len(), with_file_number(&self.schema));
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let numbered = of_units.iter().enumerate().flat_map(|(number, answers)| {
            answers.iter().map(|answer| with_number(number, answer, &all, &schema)).collect::<Vec<_>>()
        });
        let rows = MemTable::try_new(Arc::clone(&schema), vec![numbered.collect::<Result<Vec<_>>>()?])?;
        let rows = LogicalPlanBuilder::scan("answers", provider_as_source(Arc::new(rows)), None)?;
        let columns = |prefix, count| (0..count).map(move |index| unqualified(&format!("{prefix}{index}")));
        let groups: Vec<Expr> = columns("g", self.question.groups.len()).collect();
        let merges = self.question.parts.iter().map(|(_, merge)| *merge);
        let parts: Vec<(Expr, Merge)> = columns("p", self.question.parts.len()).zip(merges).collect();
        self.by_number(state, self.put_together(rows, &groups, &parts, true)?, count).await
    }

    /// One answer for each of these rollups.
    async fn ask(&self, state: &dyn Session, rollups: Vec<Sidecar>, windows: Range) -> Result<Vec<RecordBatch>> {
        let count = rollups.len();
        let rows = RollupRows { is_numbered: true, ..self.rows(rollups) };
        let Question { groups, parts, .. } = &self.question;
        self.by_number(state, self.put_together(self.matching(rows, windows)?, groups, parts, true)?, count).await
    }

    /// What the plan finds for each of so many numbers.
    async fn by_number(&self, state: &dyn Session, plan: LogicalPlan, count: usize) -> Result<Vec<RecordBatch>> {
        let plan = state.create_physical_plan(&plan).await?;
        let schema = plan.schema();
        let together = concat_batches(&schema, &collect(plan, state.task_ctx()).await?)?;
        split(&together, &self.schema, count)
    }

    fn rows(&self, sidecars: Vec<Sidecar>) -> RollupRows {
        let (level, snapshot) = (Arc::clone(&self.level), Arc::clone(&self.snapshot));
        RollupRows { level, snapshot, sidecars, fence: self.fence.clone(), is_numbered: false }
    }

    fn matching(&self, rows: RollupRows, windows: Range) -> Result<LogicalPlanBuilder> {
        let name = format!("rollup_{}", self.level.definition.name);
        let builder = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(rows)), None)?;
        let conditions = self.question.conditions.iter().cloned();
        match conjunction(conditions.chain(within(&self.level.definition.window(), windows))) {
            Some(condition) => builder.filter(condition),
            None => Ok(builder),
        }
    }

    /// One row for each group, or for each group of a number, and then with that before the others.
    fn put_together(
        &self,
        rows: LogicalPlanBuilder,
        groups: &[Expr],
        parts: &[(Expr, Merge)],
        by_number: bool,
    ) -> Result<LogicalPlan> {
        let number = || by_number.then(file_number);
        let merged = parts.iter().map(|(part, merge)| merge.of_parts(part.clone()));
        let merged = merged.collect::<Result<Vec<_>>>()?;
        let groups = number().into_iter().chain(named("g", groups));
        let rows = rows.aggregate(groups, named("p", &merged))?;
        let own = self.schema.fields().iter();
        let columns = own.map(|own| typed(unqualified(own.name()), own.data_type(), rows.schema(), None, own.name()));
        let columns = number().map(Ok).into_iter().chain(columns).collect::<Result<Vec<_>>>()?;
        rows.project(columns)?.build()
    }

    /// The answer of all files, whose rows are read one after the other, where those of each are too much.
    fn streamed(&self) -> Result<LogicalPlan> {
        let files = self.units.iter().flat_map(|unit| &unit.files);
        let rows = self.rows(files.map(|(sidecar, _)| sidecar.clone()).collect());
        let Question { groups, parts, windows, .. } = &self.question;
        self.put_together(self.matching(rows, *windows)?, groups, parts, false)
    }

    fn fingerprint(&self) -> blake3::Hash {
        let Question { groups, parts, conditions, .. } = &self.question;
        let tenants = self.fence.as_ref().map(|fence| fence.tenants.identity());
        blake3::hash(format!("{groups:?} {parts:?} {conditions:?} {tenants:?}").as_bytes())
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: usize = self.units.iter().map(|unit| unit.files.len()).sum();
        write!(f, "Answered({} of {files} files)", self.level.definition.name)
    }
}

#[async_trait::async_trait]
impl TableProvider for Answered {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(answers) = self.answers(state).await? else {
            return state.create_physical_plan(&narrowed(self.streamed()?, &self.schema, projection)?).await;
        };
        shown(&answers, &self.schema, projection, state, self.fence.is_some())
    }
}

/// Files without an answer, from the first on, that are asked for the same windows: as many as are read at once.
fn next_unanswered(files: &[&(Sidecar, Range)], found: &[Option<RecordBatch>], first: usize) -> Vec<usize> {
    let windows = files[first].1;
    let unanswered = (first..found.len()).filter(|index| found[*index].is_none() && files[*index].1 == windows);
    let mut asked: Vec<usize> = unanswered.collect();
    asked.truncate(read_at_once(asked.iter().map(|index| files[*index].0.bytes())));
    asked
}

/// How many of so many bytes each are read at once, from the first on; one at least.
fn read_at_once(bytes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &u64| {
        sum += bytes;
        sum <= READ_BYTES
    };
    bytes.take_while(fits).count().max(1)
}

/// The plan's wanted columns only, by the names that they have in the schema.
pub fn narrowed(plan: LogicalPlan, schema: &Schema, projection: Option<&Vec<usize>>) -> Result<LogicalPlan> {
    let Some(wanted) = projection else { return Ok(plan) };
    let columns = wanted.iter().map(|index| unqualified(schema.field(*index).name()));
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A plan that has these answers; of a bound scope how many they are is not seen, which is of all tenants.
pub fn shown(
    answers: &[RecordBatch],
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
    state: &dyn Session,
    is_bound: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    let rows: usize = answers.iter().map(RecordBatch::num_rows).sum();
    let bytes: usize = answers.iter().map(RecordBatch::get_array_memory_size).sum();
    let workers = (rows / ROWS_EACH).max(bytes / BYTES_EACH).clamp(1, state.config().target_partitions().max(1));
    let (whole, share) = (concat_batches(schema, answers)?, rows.div_ceil(workers).max(1));
    let shares = (0..rows.div_ceil(share).max(1)).map(|number| number * share);
    let partitions: Vec<Vec<RecordBatch>> =
        shares.map(|from| vec![whole.slice(from, share.min(rows - from))]).collect();
    let memory = MemorySourceConfig::try_new(&partitions, Arc::clone(schema), projection.cloned())?;
    let shown = DataSourceExec::from_data_source(memory);
    Ok(if is_bound { scoped::unseen(shown) } else { shown })
}

/// The part of the windows' range that says anything about a file whose calls are between two times, both inclusive.
fn clipped(windows: Range, grain_us: i64, (first_us, last_us): (i64, i64)) -> Range {
    let first_window_us = first_us.div_euclid(grain_us).saturating_mul(grain_us);
    Range {
        from_us: windows.from_us.filter(|from_us| *from_us > first_window_us),
        to_us: windows.to_us.filter(|to_us| *to_us <= last_us),
    }
}

/// The column of rows that says in which file they are; no rollup has one of such a name.
const FILE: &str = "[file]";

/// A rollup's columns, and the number of the file.
pub fn with_file_number(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().cloned();
    Arc::new(Schema::new(fields.chain([Arc::new(Field::new(FILE, DataType::Int32, false))]).collect::<Vec<_>>()))
}

/// The rows of each file, with its number where that is wanted: the column after a rollup's own.
pub fn with_number(number: usize, own: &RecordBatch, wanted: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let position = schema.fields().len() - 1;
    let number = i32::try_from(number).map_err(|_| internal_datafusion_err!("too many files in one statement"))?;
    let mut columns = own.columns().to_vec();
    if let Some(at) = wanted.iter().position(|index| *index == position) {
        columns.insert(at, Arc::new(Int32Array::from_value(number, own.num_rows())));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(own.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema.project(wanted)?), columns, &options)?)
}

/// The rows of each of so many files, without the number: copies, so that each can be dropped on its own.
fn split(together: &RecordBatch, schema: &SchemaRef, count: usize) -> Result<Vec<RecordBatch>> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); count];
    for (row, number) in together.column(0).as_primitive::<Int32Type>().values().iter().enumerate() {
        let file = usize::try_from(*number).ok().and_then(|number| rows.get_mut(number));
        let file = file.ok_or_else(|| internal_datafusion_err!("a row of no file"))?;
        file.push(u32::try_from(row).map_err(|_| internal_datafusion_err!("too many rows in one answer"))?);
    }
    let of_file = |rows: Vec<u32>| {
        let taken = take_record_batch(together, &UInt32Array::from(rows))?;
        let columns = taken.columns()[1..].iter().map(compact).collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    };
    rows.into_iter().map(of_file).collect()
}

/// Without bytes of other rows.
pub fn compact(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::Struct(_) => {
            let (fields, columns, nulls) = column.as_struct().clone().into_parts();
            Arc::new(StructArray::new(fields, columns.iter().map(compact).collect(), nulls))
        }
        _ => Arc::clone(column),
    }
}

fn file_number() -> Expr {
    unqualified(FILE)
}

fn unqualified(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn numbered_names<T>(prefix: &str, of: &[T]) -> impl Iterator<Item = String> {
    (0..of.len()).map(move |index| format!("{prefix}{index}"))
}

#[cfg(test)]
mod tests {
    use arrow::{array::StringViewArray, datatypes::Fields};

    use super::*;

    #[test]
    fn an_answer_has_no_bytes_of_other_rows() {
        let texts = StringViewArray::from_iter_values((0..1_000).map(|number| format!("the text of row {number}")));
        let fields = Fields::from(vec![Field::new("message", DataType::Utf8View, true)]);
        let structs = StructArray::new(fields, vec![Arc::new(texts.clone())], None);
        for whole in [Arc::new(texts) as ArrayRef, Arc::new(structs)] {
            let one = compact(&whole.slice(7, 1));
            assert_eq!(one.as_ref(), whole.slice(7, 1).as_ref());
            assert!(one.get_buffer_memory_size() < 1_000, "{} bytes", one.get_buffer_memory_size());
        }
    }

    #[test]
    fn a_range_is_clipped_to_what_it_says_of_a_file() {
        let range = |from_us, to_us| Range { from_us, to_us };
        let check = |windows, times, expect| assert_eq!(clipped(windows, 10, times), expect, "{windows:?} {times:?}");
        check(range(Some(0), Some(100)), (0, 99), Range::ALL);
        check(range(Some(20), Some(100)), (25, 99), Range::ALL);
        check(range(Some(20), Some(100)), (19, 99), range(Some(20), None));
        check(range(Some(20), Some(100)), (20, 100), range(None, Some(100)));
        check(range(Some(-20), Some(-10)), (-35, -5), range(Some(-20), Some(-10)));
        check(Range::ALL, (-35, -5), Range::ALL);
    }
}
