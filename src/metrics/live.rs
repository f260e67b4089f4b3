//! How rows of `agent_logs` move the families.
//!
//! Columns are looked up once per batch, label combinations once per row. This file never
//! writes text and never stores anything; it also never decides what is late, beyond comparing the
//! two times that a row carries.

use std::mem;

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use crate::record::col;

use super::families::{
    self, ACTIVE_SESSIONS, COST, ERRORS, FamilySpec, GUARDRAIL_DECISIONS, HALLUCINATION, LABEL_OVERFLOW,
    REQUEST_DURATION, SKIPPED_VALUES, TOKENS, TTFT,
};
use super::model::Family;
use super::routes::{Route, Routes, RowLabels};
use super::series::{CounterCell, HistogramCell, Series};
use super::sessions::Sessions;
use super::totals::{FamilyTotals, Totals, VERSION};

/// What bounds the families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most label sets per family; later ones share `__other__`. A label with fixed values
    /// (`token_type`, `decision`) does not count, so such a family may show a series for each.
    pub label_sets_max: usize,
    /// Rows that arrived later than this after their event time do not move the families.
    pub live_window_us: i64,
    /// How long after its last row a session is active.
    pub session_window_us: i64,
    /// Most sessions remembered; beyond it the one unseen for longest is forgotten.
    pub sessions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE_US: i64 = 60_000_000;
        Self {
            label_sets_max: 2_000,
            live_window_us: 60 * MINUTE_US,
            session_window_us: 30 * MINUTE_US,
            sessions_max: 100_000,
        }
    }
}

/// Routes kept per label set of a family: operations and tenants multiply combinations.
const ROUTES_PER_LABEL_SET: usize = 8;

/// The error type of an error that names none.
const UNKNOWN_ERROR: &str = "unknown";

/// Cumulative families, moved by batches.
#[derive(Debug)]
pub struct LiveMetrics {
    live_window_us: i64,
    routes: Routes,
    /// The rows of the batch at hand; kept for its memory alone.
    rows: Vec<RoutedRow>,
    request_duration: Series<HistogramCell>,
    ttft: Series<HistogramCell>,
    tokens: Series<CounterCell>,
    cost: Series<CounterCell>,
    hallucination: Series<HistogramCell>,
    guardrail: Series<CounterCell>,
    errors: Series<CounterCell>,
    sessions: Sessions,
}

/// A row that moves the families, and the position of its route.
#[derive(Debug, Clone, Copy)]
struct RoutedRow {
    row: usize,
    route: u32,
}

impl LiveMetrics {
    /// Families at zero.
    pub fn new(limits: Limits) -> Self {
        let sets_max = limits.label_sets_max;
        Self {
            live_window_us: limits.live_window_us,
            routes: Routes::new(sets_max.saturating_mul(ROUTES_PER_LABEL_SET)),
            rows: Vec::new(),
            request_duration: Series::new(&REQUEST_DURATION, sets_max),
            ttft: Series::new(&TTFT, sets_max),
            tokens: Series::new(&TOKENS, sets_max),
            cost: Series::new(&COST, sets_max),
            hallucination: Series::new(&HALLUCINATION, sets_max),
            guardrail: Series::new(&GUARDRAIL_DECISIONS, sets_max),
            errors: Series::new(&ERRORS, sets_max),
            sessions: Sessions::new(sets_max, limits.sessions_max, limits.session_window_us),
        }
    }

    /// Families at the totals of an earlier process, exactly. The error names what does not fit.
    pub fn restore(limits: Limits, totals: Totals) -> Result<Self, String> {
        if totals.version != VERSION {
            return Err(format!("totals are of version {}, not {VERSION}", totals.version));
        }
        let mut live = Self::new(limits);
        for family in totals.families {
            live.restore_family(family)?;
        }
        Ok(live)
    }

    /// Moves the families by the rows of a batch with the schema of `agent_logs`.
    pub fn observe(&mut self, batch: &RecordBatch) {
        let Some(columns) = Columns::of(batch) else {
            debug_assert!(false, "a batch of agent_logs has its two time columns");
            return;
        };
        let mut rows = mem::take(&mut self.rows);
        self.route_rows(&columns, &mut rows);
        self.observe_times(&columns, &rows);
        self.observe_usage(&columns, &rows);
        self.observe_quality(&columns, &rows);
        self.observe_sessions(&columns, &rows);
        self.rows = rows;
    }

    /// Tells of a session that was seen before this process started.
    pub fn seed_session(&mut self, agent_id: &str, session_id: &str, last_seen_us: i64) {
        self.sessions.seed(agent_id, session_id, last_seen_us);
    }

    /// Everything cumulative, to be saved. Sessions are not in it.
    pub fn totals(&self) -> Totals {
        let families = vec![
            self.request_duration.totals(),
            self.ttft.totals(),
            self.tokens.totals(),
            self.cost.totals(),
            self.hallucination.totals(),
            self.guardrail.totals(),
            self.errors.totals(),
            self.sessions.totals(),
        ];
        Totals { version: VERSION, families }
    }

    /// The families as they stand. `now_us` ends the window of active sessions.
    pub fn families(&self, now_us: i64) -> Vec<Family> {
        vec![
            self.request_duration.family(),
            self.ttft.family(),
            self.tokens.family(),
            self.cost.family(),
            self.hallucination.family(),
            self.guardrail.family(),
            self.errors.family(),
            self.sessions.family(now_us),
            self.label_overflow(),
            self.skipped_values(),
        ]
    }

    /// Finds the rows that count, and their routes. The families then go over these rows one by
    /// one: short loops, in which the lookups of neighbouring rows overlap.
    fn route_rows(&mut self, columns: &Columns, rows: &mut Vec<RoutedRow>) {
        self.routes.begin_batch();
        rows.clear();
        for row in 0..columns.timestamp.len() {
            if columns.age_us(row) <= self.live_window_us {
                let route = self.routes.find(&columns.labels(row));
                rows.push(RoutedRow { row, route });
            }
        }
    }

    fn observe_times(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            self.request_duration.observe(
                &mut slots.request_duration,
                || [&labels.agent, &labels.model, &labels.operation],
                columns.latency_ms.at(row).map(seconds),
            );
            self.ttft.observe(&mut slots.ttft, || [&labels.agent, &labels.model], columns.ttft_ms.at(row).map(seconds));
        }
    }

    fn observe_usage(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            let payer = || -> [&str; 3] { [&labels.agent, &labels.model, &labels.tenant] };
            self.tokens.add(&mut slots.tokens, payer, columns.tokens(row));
            self.cost.add(&mut slots.cost, payer, [columns.cost_usd(row)]);
        }
    }

    fn observe_quality(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            self.hallucination.observe(
                &mut slots.hallucination,
                || [&labels.agent],
                columns.hallucination_probability.at(row),
            );
            if let Some(status) = columns.guardrail_status.at(row) {
                let reason = columns.guardrail_reason.at(row).unwrap_or_default();
                let memo = match reason {
                    "" => &mut slots.guardrail,
                    _ => &mut None,
                };
                let variant = families::decision(status);
                self.guardrail.count(memo, || [&labels.agent, reason], variant);
            }
            if let Some(error_type) = columns.error_type(row) {
                let key = || -> [&str; 3] { [&labels.agent, &labels.model, error_type] };
                self.errors.count(&mut None, key, 0);
            }
        }
    }

    fn observe_sessions(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            if let Some(session_id) = columns.session_id.at(row).filter(|id| !id.is_empty()) {
                let Route { slots, labels } = self.routes.at(route);
                self.sessions.seen(&mut slots.session_agent, &labels.agent, session_id, columns.last_seen_us(row));
            }
        }
    }

    fn restore_family(&mut self, totals: FamilyTotals) -> Result<(), String> {
        let name = totals.name.as_str();
        for series in [&mut self.request_duration, &mut self.ttft, &mut self.hallucination] {
            if series.spec.name == name {
                return series.restore(totals);
            }
        }
        let counters = [&mut self.tokens, &mut self.cost, &mut self.guardrail, &mut self.errors];
        for series in counters {
            if series.spec.name == name {
                return series.restore(totals);
            }
        }
        self.sessions.restore(totals)
    }

    fn label_overflow(&self) -> Family {
        let rows = [
            (&REQUEST_DURATION, self.request_duration.slots.overflow_rows),
            (&TTFT, self.ttft.slots.overflow_rows),
            (&TOKENS, self.tokens.slots.overflow_rows),
            (&COST, self.cost.slots.overflow_rows),
            (&HALLUCINATION, self.hallucination.slots.overflow_rows),
            (&GUARDRAIL_DECISIONS, self.guardrail.slots.overflow_rows),
            (&ERRORS, self.errors.slots.overflow_rows),
            (&ACTIVE_SESSIONS, self.sessions.agents.overflow_rows),
        ];
        per_family(&LABEL_OVERFLOW, &rows)
    }

    fn skipped_values(&self) -> Family {
        let values = [
            (&REQUEST_DURATION, self.request_duration.skipped_values),
            (&TTFT, self.ttft.skipped_values),
            (&TOKENS, self.tokens.skipped_values),
            (&COST, self.cost.skipped_values),
            (&HALLUCINATION, self.hallucination.skipped_values),
        ];
        per_family(&SKIPPED_VALUES, &values)
    }
}

/// A counter about families, with a series for each, so that the first increase is seen as one.
fn per_family(spec: &'static FamilySpec, counts: &[(&FamilySpec, u64)]) -> Family {
    counts.iter().fold(Family::counter(spec.name, spec.help), |family, (about, count)| {
        family.with(&[("family", about.name)], *count as f64)
    })
}

fn seconds(milliseconds: f64) -> f64 {
    // Dividing rounds once, so 100 ms lies on the bound 0.1 and not beside it.
    milliseconds / 1000.0
}

/// The columns that matter, found once per batch.
struct Columns<'a> {
    timestamp: &'a TimestampMicrosecondArray,
    received_at: &'a TimestampMicrosecondArray,
    tenant_id: Text<'a>,
    agent_id: Text<'a>,
    model: Text<'a>,
    operation: Text<'a>,
    session_id: Text<'a>,
    prompt_tokens: Number<'a, Int64Type>,
    completion_tokens: Number<'a, Int64Type>,
    cost_usd: Number<'a, Float64Type>,
    cost_computed_usd: Number<'a, Float64Type>,
    latency_ms: Number<'a, Float64Type>,
    ttft_ms: Number<'a, Float64Type>,
    guardrail_status: Text<'a>,
    guardrail_reason: Text<'a>,
    hallucination_probability: Number<'a, Float64Type>,
    error: Text<'a>,
    error_type: Text<'a>,
}

impl<'a> Columns<'a> {
    /// `None` where a time column is missing; any other missing column reads as null.
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let time = |name| {
            let column = batch.column_by_name(name)?;
            column.as_primitive_opt::<TimestampMicrosecondType>()
        };
        let text = |name| Text::of(batch, name);
        Some(Self {
            timestamp: time(col::TIMESTAMP)?,
            received_at: time(col::RECEIVED_AT)?,
            tenant_id: text(col::TENANT_ID),
            agent_id: text(col::AGENT_ID),
            model: text(col::MODEL),
            operation: text(col::OPERATION),
            session_id: text(col::SESSION_ID),
            prompt_tokens: Number::of(batch, col::PROMPT_TOKENS),
            completion_tokens: Number::of(batch, col::COMPLETION_TOKENS),
            cost_usd: Number::of(batch, col::COST_USD),
            cost_computed_usd: Number::of(batch, col::COST_COMPUTED_USD),
            latency_ms: Number::of(batch, col::LATENCY_MS),
            ttft_ms: Number::of(batch, col::TTFT_MS),
            guardrail_status: text(col::GUARDRAIL_STATUS),
            guardrail_reason: text(col::GUARDRAIL_REASON),
            hallucination_probability: Number::of(batch, col::HALLUCINATION_PROBABILITY),
            error: text(col::ERROR),
            error_type: text(col::ERROR_TYPE),
        })
    }

    /// How long after its event time the row arrived.
    fn age_us(&self, row: usize) -> i64 {
        self.received_at.value(row).saturating_sub(self.timestamp.value(row))
    }

    /// The event time, but never after arrival: a client whose clock runs ahead would otherwise
    /// hold its session active for as long.
    fn last_seen_us(&self, row: usize) -> i64 {
        self.timestamp.value(row).min(self.received_at.value(row))
    }

    fn labels(&self, row: usize) -> RowLabels<'a> {
        let label = |column: &Text<'a>| column.at(row).unwrap_or_default();
        RowLabels::new([label(&self.agent_id), label(&self.model), label(&self.operation), label(&self.tenant_id)])
    }

    /// Input and output, in the order of the fixed label's values.
    fn tokens(&self, row: usize) -> [Option<f64>; 2] {
        [&self.prompt_tokens, &self.completion_tokens].map(|column| column.at(row).map(|tokens| tokens as f64))
    }

    fn cost_usd(&self, row: usize) -> Option<f64> {
        self.cost_usd.at(row).or_else(|| self.cost_computed_usd.at(row))
    }

    /// The error type of a row that is an error.
    fn error_type(&self, row: usize) -> Option<&'a str> {
        match self.error_type.at(row) {
            None if self.error.at(row).is_none() => None,
            None | Some("") => Some(UNKNOWN_ERROR),
            named => named,
        }
    }
}

/// A text column, or none, which reads as null.
struct Text<'a>(Option<&'a StringViewArray>);

impl<'a> Text<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Self {
        let column = batch.column_by_name(name);
        Self(column.and_then(|column| column.as_string_view_opt()))
    }

    fn at(&self, row: usize) -> Option<&'a str> {
        let column = self.0?;
        column.is_valid(row).then(|| column.value(row))
    }
}

/// A numeric column, or none, which reads as null.
struct Number<'a, T: ArrowPrimitiveType>(Option<&'a PrimitiveArray<T>>);

impl<'a, T: ArrowPrimitiveType> Number<'a, T> {
    fn of(batch: &'a RecordBatch, name: &str) -> Self {
        let column = batch.column_by_name(name);
        Self(column.and_then(|column| column.as_primitive_opt()))
    }

    fn at(&self, row: usize) -> Option<T::Native> {
        let column = self.0?;
        column.is_valid(row).then(|| column.value(row))
    }
}
