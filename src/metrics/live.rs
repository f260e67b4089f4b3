//! How rows of `agent_logs` move the families.
//!
//! Label combinations are looked up once per row. This file never writes text and never stores anything; it also never decides what is late, beyond comparing the
//! two times that a row carries.

use std::mem;

use arrow::array::RecordBatch;

use super::breakers::Breakers;
use super::columns::Columns;
use super::families::{
    self, ACTIVE_SESSIONS, CIRCUIT_BREAKER, CONTEXT_OVERFLOW, COST, ERRORS, FamilySpec, GUARDRAIL_DECISIONS,
    HALLUCINATION, LABEL_OVERFLOW, REQUEST_DURATION, REQUESTS, SKIPPED_VALUES, TOKENS, TOOL_LATENCY, TTFT,
};
use super::model::Family;
use super::routes::{Route, Routes};
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
    requests: Series<CounterCell>,
    context_overflow: Series<CounterCell>,
    tool_latency: Series<HistogramCell>,
    breakers: Breakers,
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
            requests: Series::new(&REQUESTS, sets_max),
            context_overflow: Series::new(&CONTEXT_OVERFLOW, sets_max),
            tool_latency: Series::new(&TOOL_LATENCY, sets_max),
            breakers: Breakers::new(sets_max, limits.live_window_us),
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
        self.observe_failures(&columns, &rows);
        self.observe_tools(&columns, &rows);
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
            self.requests.totals(),
            self.context_overflow.totals(),
            self.tool_latency.totals(),
            self.breakers.totals(),
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
            self.requests.family(),
            self.context_overflow.family(),
            self.tool_latency.family(),
            self.breakers.family(now_us),
            self.label_overflow(),
            self.skipped_values(),
        ]
    }

    /// Finds the rows that count, and their routes. The families then go over these rows one by
    /// one: short loops, in which the lookups of neighbouring rows overlap.
    fn route_rows(&mut self, columns: &Columns, rows: &mut Vec<RoutedRow>) {
        self.routes.begin_batch();
        rows.clear();
        for row in columns.rows() {
            if columns.age_us(row) <= self.live_window_us {
                let route = self.routes.find(&columns.labels(row));
                rows.push(RoutedRow { row, route });
            }
        }
    }

    fn observe_times(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            let trace = columns.trace(row);
            self.request_duration.observe(
                &mut slots.request_duration,
                || [&labels.agent, &labels.model, &labels.operation],
                columns.latency_ms.at(row).map(seconds),
                trace,
            );
            let ttft = columns.ttft_ms.at(row).map(seconds);
            self.ttft.observe(&mut slots.ttft, || [&labels.agent, &labels.model], ttft, trace);
        }
    }

    fn observe_usage(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            let payer = || -> [&str; 3] { [&labels.agent, &labels.model, &labels.tenant] };
            let trace = columns.trace(row);
            self.requests.count(&mut slots.requests, payer, 0, trace);
            self.tokens.add(&mut slots.tokens, payer, columns.tokens(row), trace);
            self.cost.add(&mut slots.cost, payer, [columns.cost_usd(row)], trace);
        }
    }

    fn observe_quality(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            let trace = columns.trace(row);
            self.hallucination.observe(
                &mut slots.hallucination,
                || [&labels.agent],
                columns.hallucination_probability.at(row),
                trace,
            );
            if let Some(status) = columns.guardrail_status.at(row) {
                let reason = columns.guardrail_reason.at(row).unwrap_or_default();
                let memo = match reason {
                    "" => &mut slots.guardrail,
                    _ => &mut None,
                };
                let variant = families::decision(status);
                self.guardrail.count(memo, || [&labels.agent, reason], variant, trace);
            }
        }
    }

    fn observe_failures(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            let Route { slots, labels } = self.routes.at(route);
            let trace = columns.trace(row);
            if let Some(error_type) = columns.error_type(row) {
                let key = || -> [&str; 3] { [&labels.agent, &labels.model, &error_type] };
                self.errors.count(&mut None, key, 0, trace);
            }
            if columns.is_context_overflow(row) {
                let key = || -> [&str; 2] { [&labels.agent, &labels.model] };
                self.context_overflow.count(&mut slots.context_overflow, key, 0, trace);
            }
            if let Some(state) = columns.breaker_state(row) {
                self.breakers.seen(&mut slots.breaker_agent, &labels.agent, state, columns.last_seen_us(row));
            }
        }
    }

    fn observe_tools(&mut self, columns: &Columns, rows: &[RoutedRow]) {
        for &RoutedRow { row, route } in rows {
            for position in columns.tool_calls.of_row(row) {
                let Route { labels, .. } = self.routes.at(route);
                let (tool, latency_ms) = columns.tool_calls.call(position);
                let key = || -> [&str; 2] { [&labels.agent, tool] };
                self.tool_latency.observe(&mut None, key, latency_ms.map(seconds), columns.trace(row));
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
        if name == CIRCUIT_BREAKER.name {
            return self.breakers.restore(totals);
        }
        let histograms = [&mut self.request_duration, &mut self.ttft, &mut self.hallucination, &mut self.tool_latency];
        for series in histograms {
            if series.spec.name == name {
                return series.restore(totals);
            }
        }
        let counters = [
            &mut self.tokens,
            &mut self.cost,
            &mut self.guardrail,
            &mut self.errors,
            &mut self.requests,
            &mut self.context_overflow,
        ];
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
            (&REQUESTS, self.requests.slots.overflow_rows),
            (&CONTEXT_OVERFLOW, self.context_overflow.slots.overflow_rows),
            (&TOOL_LATENCY, self.tool_latency.slots.overflow_rows),
            (&CIRCUIT_BREAKER, self.breakers.agents.overflow_rows),
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
            (&TOOL_LATENCY, self.tool_latency.skipped_values),
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
