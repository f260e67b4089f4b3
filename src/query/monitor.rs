//! Drift of all columns that are watched, as questions: what each slice had in each window, and hour by hour where
//! something changed. What that says is judged by `drift`.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType},
};

use super::{
    Engine, LibraryKind, Range,
    anomaly::{TRAFFIC, start_us},
    moment::text_of,
    watch::is_too_much,
};
use crate::{
    drift::{Answer, By, COLUMNS, Column, Detail, Found, Holds, LeftOut, Parts, Run, Slice, Windows},
    error::{Context, Error, Kind, Result},
    named::parse_time,
    sketch::{Histogram, Sketch},
};

/// Most agents, models or tenants that are judged one by one.
pub(super) const SLICES_MAX: usize = 500;
/// Most slices that are looked at hour by hour; those with the largest effects.
const LOOKED_AT_MAX: usize = 25;
/// What calls without an error have in place of its type.
const NO_ERROR: &str = "none";

/// What to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorRequest {
    pub(super) windows: Windows,
    pub(super) by: Vec<By>,
}

impl MonitorRequest {
    /// Length of a window unless another is named, hours.
    pub const WINDOW_HOURS: u32 = 24;
    /// References of a window unless others are named.
    pub const REFERENCES: u32 = 4;

    /// The request of windows that end now, of all slices.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names what is wrong.
    pub fn new(to_us: i64, window_hours: u32, references: u32) -> Result<Self> {
        Ok(Self { windows: Windows::new(to_us, window_hours, references)?, by: By::ALL.to_vec() })
    }

    /// The request of parameters as text. Empty values are as if they were not there.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the parameter.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, now_us: i64) -> Result<Self> {
        let (mut to_us, mut hours, mut references) = (now_us, Self::WINDOW_HOURS, Self::REFERENCES);
        let mut by = By::ALL.to_vec();
        let number = |name: &str, text: &str| {
            text.parse().map_err(|_| Error::invalid(format!("{name}={text} is no whole number")))
        };
        for (name, text) in parameters.into_iter().filter(|(_, text)| !text.is_empty()) {
            match name {
                "to" => {
                    to_us = parse_time(text, now_us).map_err(|reason| Error::invalid(format!("to: {reason}")))?;
                }
                "window_hours" => hours = number(name, text)?,
                "references" => references = number(name, text)?,
                "by" => by = by_of(text)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "{name} is no parameter of all drift verdicts; there are to, window_hours, references, by, \
                         verdict. One column of two ranges is compared with column, reference, current, by"
                    )));
                }
            }
        }
        Ok(Self { windows: Windows::new(to_us, hours, references)?, by })
    }
}

fn by_of(text: &str) -> Result<Vec<By>> {
    let mut all = Vec::new();
    for name in text.split(',').map(str::trim) {
        let by = By::named(name)
            .ok_or_else(|| Error::invalid(format!("by={name} is not one of all, agent_id, model, tenant_id")))?;
        if !all.contains(&by) {
            all.push(by);
        }
    }
    Ok(all)
}

/// One question: how finely, of what.
pub(super) struct Question<'a> {
    /// Its end is the end of its last interval.
    pub span: Range,
    pub interval_hours: u32,
    pub by: By,
    /// Of one slice alone.
    pub only: Option<(By, &'a str)>,
}

/// Its answers.
pub(super) struct Counts {
    numbers: Rows,
    categories: Rows,
}

/// Rows by the slice that they are of.
struct Rows {
    batches: Vec<RecordBatch>,
    by_slice: BTreeMap<String, Vec<(usize, usize)>>,
}

impl Engine {
    /// All verdicts at the end of the request's windows.
    ///
    /// # Errors
    ///
    /// Those of the statements. What has too many slices or rows is left out, and told.
    pub async fn monitor(&self, request: &MonitorRequest) -> Result<Answer> {
        let calls = self.calls_by_hour(span_of(&request.windows)).await?;
        let windows = &request.windows.without_gaps(&calls);
        let (mut found, mut left_out) = (Vec::new(), Vec::new());
        for &by in &request.by {
            let span = span_of(windows);
            let question = Question { span, interval_hours: windows.hours(), by, only: None };
            let counts = match self.counts(&question).await {
                Ok(counts) => counts,
                Err(error) if is_too_much(&error) => {
                    left_out.push(LeftOut { by, reason: error.to_string() });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let slices = counts.slices();
            if slices > SLICES_MAX {
                let reason = format!("{slices} of them; at most {SLICES_MAX} are judged one by one");
                left_out.push(LeftOut { by, reason });
                continue;
            }
            found.extend(counts.judge(by, windows)?);
        }
        let mut run = Run::new(*windows, found);
        for places in run.wanted().into_iter().take(LOOKED_AT_MAX) {
            match self.look_closely(windows, &mut run, &places).await {
                // The verdicts stand without what they come from.
                Err(error) if is_too_much(&error) => {
                    tracing::warn!(error = error.chain(), "a drift is told without its hours and parts");
                }
                looked => looked?,
            }
        }
        Ok(run.answer(left_out))
    }

    /// Columns of one slice, hour by hour, and which part of it they come from.
    async fn look_closely(&self, windows: &Windows, run: &mut Run, places: &[usize]) -> Result<()> {
        let Some(first) = places.first() else { return Ok(()) };
        let subject = run.found(*first).0.clone();
        let only = subject.slice.as_deref().map(|slice| (subject.by, slice));
        let counts = self.counts(&Question { span: span_of(windows), interval_hours: 1, by: By::All, only }).await?;
        let hours = windows.in_hours();
        let slice = Slice::new(subject.by, subject.slice.clone(), hours.count);
        let slice = counts.fill(By::All.name(), slice, |us| hours.at(us))?;
        let new = |place: &usize| {
            let (subject, finding) = run.found(*place);
            Parts::new(windows, subject.column, finding)
        };
        let mut parts: Vec<Parts> = places.iter().map(new).collect();
        if let Some(only) = only {
            self.add_parts(windows, only, &mut parts).await?;
        }
        for (&place, parts) in places.iter().zip(&parts) {
            let (subject, finding) = run.found(place);
            if let Some((names, series)) = slice.series(subject.column) {
                let mut detail = Detail::of(windows, subject.column, &names, &series, finding);
                detail.segment = parts.most();
                run.explain(place, detail);
            }
        }
        Ok(())
    }

    /// Adds the agents, models and tenants in a slice, to each of its columns; without those of which there are too many.
    async fn add_parts(&self, windows: &Windows, only: (By, &str), columns: &mut [Parts]) -> Result<()> {
        for by in By::ALL.into_iter().filter(|by| *by != By::All && *by != only.0) {
            let interval_hours = windows.hours();
            let counts =
                match self.counts(&Question { span: span_of(windows), interval_hours, by, only: Some(only) }).await {
                    Ok(counts) if counts.slices() <= SLICES_MAX => counts,
                    Ok(_) => continue,
                    Err(error) if is_too_much(&error) => continue,
                    Err(error) => return Err(error),
                };
            for part in counts.slice_by_slice(by, windows) {
                let part = part?;
                columns.iter_mut().for_each(|parts| parts.add(windows, by, &part));
            }
        }
        Ok(())
    }

    /// How many calls of anybody each hour has that has some, by its start.
    pub(super) async fn calls_by_hour(&self, range: Range) -> Result<BTreeMap<i64, u64>> {
        let figures = self.hours(TRAFFIC, "all", range, &BTreeMap::new()).await?;
        figures.into_iter().map(|hour| Ok((start_us(&hour.window_start)?, hour.samples.unwrap_or(0)))).collect()
    }

    /// What each slice had in each interval.
    pub(super) async fn counts(&self, question: &Question<'_>) -> Result<Counts> {
        let arguments = question.arguments()?;
        let of = async |name: &str| {
            let arguments = arguments.iter().map(|(name, value)| (*name, value.as_str()));
            let batches = self.named(LibraryKind::Reports, name, arguments).await?.collect().await?;
            Rows::of(batches)
        };
        let (numbers, categories) = tokio::try_join!(of("drift_numbers"), of("drift_categories"))?;
        Ok(Counts { numbers, categories })
    }
}

impl Question<'_> {
    fn arguments(&self) -> Result<Vec<(&'static str, String)>> {
        let mut arguments = vec![
            ("from", text_of(self.span.from_us)?),
            ("to", text_of(self.span.to_us)?),
            ("interval", format!("{} hours", self.interval_hours)),
            ("by", self.by.name().to_owned()),
        ];
        if let Some((by, slice)) = self.only {
            arguments.push((by.name(), slice.to_owned()));
        }
        Ok(arguments)
    }
}

impl Counts {
    /// How many slices there are.
    pub(super) fn slices(&self) -> usize {
        self.numbers.by_slice.len()
    }

    /// What is found in the windows, of each slice's columns. Intervals outside of them are left alone.
    pub(super) fn judge(&self, by: By, windows: &Windows) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for slice in self.slice_by_slice(by, windows) {
            found.extend(slice?.judge(windows));
        }
        Ok(found)
    }

    /// What each slice has, window by window.
    fn slice_by_slice(&self, by: By, windows: &Windows) -> impl Iterator<Item = Result<Slice>> {
        self.numbers.by_slice.keys().map(move |name| {
            let named = (by != By::All).then(|| name.clone());
            self.fill(name, Slice::new(by, named, windows.count()), |us| windows.at(us))
        })
    }

    /// Adds what a slice has, at the places of its times.
    fn fill(&self, name: &str, mut slice: Slice, place_of: impl Fn(i64) -> Option<usize>) -> Result<Slice> {
        let mut calls: BTreeMap<usize, u64> = BTreeMap::new();
        let columns = COLUMNS.iter().filter(|column| matches!(column.holds, Holds::Numbers { .. }));
        let columns: Vec<&Column> = columns.collect();
        for (batch, rows) in self.numbers.of_slice(name) {
            let (times, counts) = (times(batch)?, integers(batch)?);
            let sketches = columns.iter().map(|column| binary(batch, column.name)).collect::<Result<Vec<_>>>()?;
            for row in rows {
                let Some(place) = place_of(times.value(row)) else { continue };
                *calls.entry(place).or_default() += count(counts, row);
                for (column, sketches) in columns.iter().zip(&sketches) {
                    if sketches.is_valid(row) {
                        slice.add_numbers(column, place, Histogram::decode(sketches.value(row))?.counts());
                    }
                }
            }
        }
        for (batch, rows) in self.categories.of_slice(name) {
            let (times, counts) = (times(batch)?, integers(batch)?);
            let (names, categories) = (text(batch, "column_name")?, text(batch, "category")?);
            for row in rows {
                let (Some(place), Some(column)) = (place_of(times.value(row)), Column::named(names.value(row))) else {
                    continue;
                };
                slice.add_category(column, place, categories.value(row), count(counts, row));
                if column.name == "error_type"
                    && let Some(calls) = calls.get_mut(&place)
                {
                    *calls = calls.saturating_sub(count(counts, row));
                }
            }
        }
        if let Some(errors) = Column::named("error_type") {
            for (place, calls) in calls.into_iter().filter(|(_, calls)| *calls > 0) {
                slice.add_category(errors, place, NO_ERROR, calls);
            }
        }
        Ok(slice)
    }
}

impl Rows {
    fn of(batches: Vec<RecordBatch>) -> Result<Self> {
        let batches = batches.iter().map(plain).collect::<Result<Vec<_>>>()?;
        let mut by_slice: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
        for (position, batch) in batches.iter().enumerate() {
            let slices = text(batch, "slice")?;
            // Calls that name none are no slice of their own.
            for row in (0..batch.num_rows()).filter(|row| slices.is_valid(*row)) {
                match by_slice.get_mut(slices.value(row)) {
                    Some(rows) => rows.push((position, row)),
                    None => {
                        by_slice.insert(slices.value(row).to_owned(), vec![(position, row)]);
                    }
                }
            }
        }
        Ok(Self { batches, by_slice })
    }

    /// The rows of a slice, batch by batch.
    fn of_slice(&self, name: &str) -> impl Iterator<Item = (&RecordBatch, impl Iterator<Item = usize>)> {
        let rows = self.by_slice.get(name).map(Vec::as_slice).unwrap_or_default();
        rows.chunk_by(|left, right| left.0 == right.0)
            .map(|rows| (&self.batches[rows[0].0], rows.iter().map(|(_, row)| *row)))
    }
}

/// From the start of the oldest window to the end of the newest.
fn span_of(windows: &Windows) -> Range {
    Range { from_us: windows.from_us(), to_us: windows.to_us() }
}

/// A column in the form in which [`plain`] leaves it.
fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    let missing = || Error::new(Kind::Internal, format!("the statements of drift have no column {name}"));
    batch.column_by_name(name).ok_or_else(missing)
}

fn times(batch: &RecordBatch) -> Result<&TimestampMicrosecondArray> {
    Ok(column(batch, "starts_at")?.as_primitive::<TimestampMicrosecondType>())
}

fn integers(batch: &RecordBatch) -> Result<&Int64Array> {
    Ok(column(batch, "calls")?.as_primitive::<Int64Type>())
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    Ok(column(batch, name)?.as_string::<i32>())
}

fn binary<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BinaryArray> {
    Ok(column(batch, name)?.as_binary::<i32>())
}

fn count(counts: &Int64Array, row: usize) -> u64 {
    u64::try_from(counts.value(row)).unwrap_or_default()
}

/// The same rows, each kind of column in one form.
fn plain(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let data_type = match field.name().as_str() {
            "starts_at" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "calls" => DataType::Int64,
            "slice" | "column_name" | "category" => DataType::Utf8,
            _ => DataType::Binary,
        };
        let column = cast(column, &data_type).context("the statements of drift have columns of another form")?;
        Ok((field.name().clone(), column))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_from_iter(columns).context("the statements of drift have columns of different lengths")
}
