//! What is judged, as rows: windows of KPIs that call for someone, a month's score card, verdicts of drift. Judges
//! nothing itself. The first two columns of what lasts are `time` and `timeEnd`, as Grafana's annotations have them.

use chrono::DateTime;
use serde_json::{Value, json};

use super::frame::{Column, Frame, Holds, number};
use crate::{
    drift::Verdict,
    kpi::{CardLine, ScoreCard, State},
    query::{DriftAnswer, KpiAnswer, Range},
};

/// The windows of KPIs, as annotations; only those that call for someone, unless all are asked for.
pub fn windows_table(answers: &[KpiAnswer], is_all: bool) -> Frame {
    let rows = answers.iter().flat_map(|answer| {
        let shown = answer.windows.iter().filter(move |window| is_all || window.judged.state == State::Alert);
        shown.filter_map(move |window| {
            let start_us = DateTime::parse_from_rfc3339(&window.window_start).ok()?.timestamp_micros();
            let end_us = answer.grain.step(start_us, 1)?;
            let name = &answer.definition.name;
            let value = window.value.map_or_else(|| "no value".to_owned(), |value| format!("{value:.4}"));
            let key = window.key.as_deref().unwrap_or("(none)");
            let title = if answer.by == "all" { name.clone() } else { format!("{name} of {key}") };
            let alert = answer.definition.alert.map(|bound| format!(", alert {bound}")).unwrap_or_default();
            let text = format!("{value} {}{alert}, {} samples", answer.definition.unit, window.samples);
            Some(json!([
                start_us / 1_000,
                end_us / 1_000,
                title,
                text,
                state_name(window.judged.state),
                name,
                key,
                window.value,
                window.samples,
            ]))
        })
    });
    let columns = [
        ("time", Holds::Times),
        ("timeEnd", Holds::Times),
        ("title", Holds::Texts),
        ("text", Holds::Texts),
        ("tags", Holds::Texts),
        ("kpi", Holds::Texts),
        ("key", Holds::Texts),
        ("value", Holds::Numbers),
        ("samples", Holds::Numbers),
    ];
    frame(&columns, rows.collect())
}

/// A month's KPIs, one a row.
pub fn card_table(card: &ScoreCard) -> Frame {
    let row = |line: &CardLine| {
        let definition = &line.definition;
        let bound = |bound: Option<crate::kpi::Bound>| bound.map(|bound| bound.to_string());
        json!([
            definition.name,
            serde_json::to_value(definition.group).unwrap_or_default(),
            definition.question,
            line.value,
            definition.unit,
            bound(definition.target),
            bound(definition.alert),
            state_name(line.state),
            line.tier.and_then(|tier| serde_json::to_value(tier).ok()),
            line.samples,
            line.trend.as_ref().and_then(|trend| trend.change_ratio),
            line.reason,
        ])
    };
    let columns = [
        ("kpi", Holds::Texts),
        ("group", Holds::Texts),
        ("question", Holds::Texts),
        ("value", Holds::Numbers),
        ("unit", Holds::Texts),
        ("target", Holds::Texts),
        ("alert", Holds::Texts),
        ("state", Holds::Texts),
        ("tier", Holds::Texts),
        ("samples", Holds::Numbers),
        ("change", Holds::Numbers),
        ("reason", Holds::Texts),
    ];
    frame(&columns, card.card.iter().chain(&card.metrics).map(row).collect())
}

/// The verdicts on each group; only those of drift, unless all are asked for.
pub fn drift_table(answer: &DriftAnswer, current: Range, is_all: bool) -> Frame {
    let shown = answer.verdicts.iter().filter(|verdict| is_all || verdict.verdict == Verdict::Drifting);
    let rows = shown.map(|verdict| {
        let group = verdict.group.as_deref().unwrap_or("all");
        let name = serde_json::to_value(verdict.verdict).unwrap_or_default();
        let size = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"));
        let (least, greatest) = (size(verdict.effect_size), size(verdict.effect_size_max));
        let effect_size = if least == greatest { least } else { format!("{least} to {greatest}") };
        let text = format!(
            "effect size {effect_size}, adjusted p-value {}, {} values before and {} now",
            verdict.p_value_adjusted.map_or_else(|| "none".to_owned(), |value| format!("{value:.2e}")),
            verdict.n_reference,
            verdict.n_current
        );
        json!([
            current.from_us / 1_000,
            current.to_us / 1_000,
            format!("{} of {group}", answer.column),
            text,
            name,
            answer.column,
            group,
            verdict.effect_size.map(number),
            verdict.effect_size_max.map(number),
            verdict.p_value_adjusted.map(number),
            verdict.statistic.map(number),
            verdict.n_reference,
            verdict.n_current,
        ])
    });
    let columns = [
        ("time", Holds::Times),
        ("timeEnd", Holds::Times),
        ("title", Holds::Texts),
        ("text", Holds::Texts),
        ("verdict", Holds::Texts),
        ("column", Holds::Texts),
        ("group", Holds::Texts),
        ("effect_size", Holds::Numbers),
        ("effect_size_max", Holds::Numbers),
        ("p_value_adjusted", Holds::Numbers),
        ("statistic", Holds::Numbers),
        ("n_reference", Holds::Numbers),
        ("n_current", Holds::Numbers),
    ];
    frame(&columns, rows.collect())
}

fn state_name(state: State) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Rows, each an array with a cell for every column.
fn frame(columns: &[(&str, Holds)], rows: Vec<Value>) -> Frame {
    let cell = |row: &Value, at: usize| row.get(at).cloned().unwrap_or_default();
    let columns = columns.iter().enumerate().map(|(at, (name, holds))| Column {
        name: (*name).to_owned(),
        holds: *holds,
        cells: rows.iter().map(|row| cell(row, at)).collect(),
    });
    Frame { columns: columns.collect() }
}
