//! Reports of small fixed days, in every format.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const DAY: &str = "2026-03-10";
/// 2026-03-11T00:05:00Z.
const GENERATED_AT_US: i64 = 1_773_187_500_000_000;

fn report(rows: Value) -> CostReport {
    let rows: CostRows = serde_json::from_value(rows).unwrap();
    CostReport::new(DAY.parse().unwrap(), rows, GENERATED_AT_US)
}

fn rendered(rows: Value, format: Format) -> String {
    report(rows).render(format).unwrap()
}

/// The whole text of the report of these rows.
fn check(rows: Value, expected: &str) {
    let text = rendered(rows, Format::Text);
    assert_eq!(text.trim_end(), expected.trim(), "\n{text}");
}

/// The totals of a day with so many calls, one of them an error.
fn totals(date: &str, calls: u64, without_cost: u64, cost: f64) -> Value {
    json!({
        "date": date, "calls": calls, "sessions": calls / 10,
        "prompt_tokens": calls * 800, "completion_tokens": calls * 200,
        "total_tokens": calls * 1000, "cost": cost, "calls_without_cost": without_cost,
        "errors": calls.min(1), "error_cost": cost / 100.0,
        "retries": calls.min(2), "retry_cost": cost / 50.0,
    })
}

fn name(name: Option<&str>, calls: u64, cost: f64, share: f64, previous: (u64, f64)) -> Value {
    json!({
        "name": name, "calls": calls, "sessions": calls / 10, "total_tokens": calls * 1000,
        "cost": cost, "calls_without_cost": 0, "cost_per_call": cost / calls as f64,
        "share": share, "previous_calls": previous.0, "previous_cost": previous.1,
    })
}

fn session(id: &str, tenant: Option<&str>) -> Value {
    json!({
        "session_id": id, "tenant_id": tenant, "agent_id": "support-bot", "calls": 45,
        "errors": 2, "total_tokens": 123_456, "cost": 12.345, "calls_without_cost": 0,
        "started_at": "2026-03-10T03:12:45Z", "ended_at": "2026-03-10T04:00:01.5Z",
    })
}

fn call(request: &str, agent: &str) -> Value {
    json!({
        "timestamp": "2026-03-10T03:12:45.123456Z", "tenant_id": "acme", "agent_id": agent,
        "model": "gpt-4o", "request_id": request, "session_id": "s-1",
        "trace_id": null, "prompt_tokens": 30_000, "completion_tokens": 2_000,
        "total_tokens": 32_000, "cost": 0.9512, "latency_ms": 8123.4, "retry_count": 1,
        "is_error": false, "finish_reason": "stop",
    })
}

/// Rows with nothing but these totals.
fn only(totals: Vec<Value>) -> Value {
    json!({
        "totals": totals, "tenants": [], "agents": [], "models": [], "sessions": [], "calls": [],
    })
}

/// A reported day of 4,300 calls after a week with one day missing and one without a known cost.
fn week() -> Value {
    json!({
        "totals": [
            totals("2026-03-03", 4000, 0, 380.0),
            totals("2026-03-04", 4100, 0, 400.0),
            totals("2026-03-05", 0, 0, 0.0),
            totals("2026-03-06", 50, 50, 0.0),
            totals("2026-03-07", 4000, 0, 390.0),
            totals("2026-03-08", 4000, 0, 410.0),
            totals("2026-03-09", 4200, 100, 420.0),
            totals("2026-03-10", 4300, 90, 412.37),
        ],
        "tenants": [
            name(Some("acme"), 3000, 300.0, 0.7275, (2900, 240.0)),
            name(None, 1000, 100.0, 0.2425, (0, 0.0)),
        ],
        "agents": [name(Some("support-bot"), 4300, 412.37, 1.0, (4200, 420.0))],
        "models": [name(Some("local-llama"), 4300, 412.37, 1.0, (4200, 0.0))],
        "sessions": [session("2f0c9a55-6a41-4b4e-9d5a-3f1f6b6d2c11", Some("acme"))],
        "calls": [call("req-1", "support-bot")],
    })
}

/// Rows in which each name is this one.
fn named(hostile: &str) -> Value {
    let row = || name(Some(hostile), 4300, 412.37, 1.0, (4200, 420.0));
    json!({
        "totals": [totals(DAY, 4300, 0, 412.37)],
        "tenants": [row()], "agents": [row()], "models": [row()],
        "sessions": [session(hostile, Some(hostile))], "calls": [call(hostile, hostile)],
    })
}

#[test]
fn a_day_in_text() {
    check(
        week(),
        "
Driftline cost report, Tuesday 2026-03-10
=========================================

Verdict: normal
$412.37 for the day, not above $600.00: 150 % of $400.00, the mean of 5 days of the 7 before.
Cost covers 4,210 of 4,300 calls (97.9 %); 90 without a known cost.
From 2026-03-10 00:00 until 2026-03-11 00:00 UTC, costs in US dollars; made 2026-03-11 00:05 UTC.

The day
figure                 value  unit           made of
-----------------  ---------  -------------  -----------------------------
cost                 $412.37  USD            4,210 calls with a known cost
cost per call        $0.0980  USD / call     4,210 calls with a known cost
cost per session      $0.959  USD / session  430 sessions
calls                  4,300  calls          4,300 calls
sessions                 430  sessions       4,300 calls
prompt tokens      3,440,000  tokens         4,300 calls
completion tokens    860,000  tokens         4,300 calls
total tokens       4,300,000  tokens         4,300 calls

Against earlier days
against       UTC days                  with cost   calls      cost   change  change %
------------  ------------------------  ---------  ------  --------  -------  --------
day before    2026-03-09                   1 of 1   4,200  *$420.00   -$7.63    -1.8 %
same weekday  2026-03-03                   1 of 1   4,000   $380.00  +$32.37    +8.5 %
7-day mean    2026-03-03 to 2026-03-09     5 of 7  20,350  *$400.00  +$12.37    +3.1 %
with cost: days that have a known cost, of all days. The mean is made of those days only: a day
without data is not a day of $0.
* without the calls of unknown cost.

Errors and retries
part                 calls  of all calls   cost  of all cost
-------------------  -----  ------------  -----  -----------
calls with an error      1        <0.1 %  $4.12        1.0 %
retries                  2        <0.1 %  $8.25        2.0 %
Of 4,300 calls and $412.37. A retry that failed is in both rows.

The week
UTC day     weekday        cost  calls  no cost  sessions     tokens
----------  ---------  --------  -----  -------  --------  ---------
2026-03-03  Tuesday     $380.00  4,000        0       400  4,000,000
2026-03-04  Wednesday   $400.00  4,100        0       410  4,100,000
2026-03-05  Thursday    no data      0        0         0          0
2026-03-06  Friday      unknown     50       50         5     50,000
2026-03-07  Saturday    $390.00  4,000        0       400  4,000,000
2026-03-08  Sunday      $410.00  4,000        0       400  4,000,000
2026-03-09  Monday     *$420.00  4,200      100       420  4,200,000
2026-03-10  Tuesday    *$412.37  4,300       90       430  4,300,000
no cost: calls without a known cost, absent from the cost; * marks such a cost.

By tenant
name         cost   share   change  calls     tokens  per call  per session
--------  -------  ------  -------  -----  ---------  --------  -----------
acme      $300.00  72.8 %  +25.0 %  3,000  3,000,000    $0.100        $1.00
(none)    $100.00  24.2 %  no data  1,000  1,000,000    $0.100        $1.00
(others)  *$12.37   3.0 %        -    300    300,000         -            -
change: of the cost, against the day before; in USD where that was $0.
(others): the tenants beyond the 2 listed.

By agent
name            cost    share  change  calls     tokens  per call  per session
-----------  -------  -------  ------  -----  ---------  --------  -----------
support-bot  $412.37  100.0 %  -1.8 %  4,300  4,300,000   $0.0959       $0.959
change: of the cost, against the day before; in USD where that was $0.

By model
name            cost    share    change  calls     tokens  per call  per session
-----------  -------  -------  --------  -----  ---------  --------  -----------
local-llama  $412.37  100.0 %  +$412.37  4,300  4,300,000   $0.0959       $0.959
change: of the cost, against the day before; in USD where that was $0.

The most expensive session
#    cost  calls  errors   tokens  first call  last call  session
-  ------  -----  ------  -------  ----------  ---------  ------------------------------------
1  $12.35     45       2  123,456    03:12:45   04:00:01  2f0c9a55-6a41-4b4e-9d5a-3f1f6b6d2c11
      tenant acme, agent support-bot
Calls of this day only, times in UTC; agent: the first by name.

The most expensive call
#    cost  tokens   latency      time  request
-  ------  ------  --------  --------  -------
1  $0.951  32,000  8,123 ms  03:12:45  req-1
      tenant acme, agent support-bot, model gpt-4o, session s-1, retries 1, finish stop
Of the calls whose cost is known; times in UTC.
",
    );
}

#[test]
fn an_empty_day_in_text() {
    check(
        only(vec![]),
        "
Driftline cost report, Tuesday 2026-03-10
=========================================

Verdict: no data
There are no calls on 2026-03-10 (UTC).
From 2026-03-10 00:00 until 2026-03-11 00:00 UTC, costs in US dollars; made 2026-03-11 00:05 UTC.

Against earlier days
against       UTC days                  with cost  calls     cost   change  change %
------------  ------------------------  ---------  -----  -------  -------  --------
day before    2026-03-09                   0 of 1      0  no data  no data         -
same weekday  2026-03-03                   0 of 1      0  no data  no data         -
7-day mean    2026-03-03 to 2026-03-09     0 of 7      0  no data  no data         -
with cost: days that have a known cost, of all days. The mean is made of those days only: a day
without data is not a day of $0.

The week
UTC day     weekday       cost  calls  no cost  sessions  tokens
----------  ---------  -------  -----  -------  --------  ------
2026-03-03  Tuesday    no data      0        0         0       0
2026-03-04  Wednesday  no data      0        0         0       0
2026-03-05  Thursday   no data      0        0         0       0
2026-03-06  Friday     no data      0        0         0       0
2026-03-07  Saturday   no data      0        0         0       0
2026-03-08  Sunday     no data      0        0         0       0
2026-03-09  Monday     no data      0        0         0       0
2026-03-10  Tuesday    no data      0        0         0       0
no cost: calls without a known cost, absent from the cost; * marks such a cost.
",
    );
}

#[test]
fn verdicts_need_a_baseline() {
    let before =
        |days: u64, cost: f64| (0..days).map(|day| totals(&format!("2026-03-0{}", 9 - day), 10, 0, cost)).collect();
    let verdict = |mut days: Vec<Value>, day: Value| {
        days.push(day);
        report(only(days)).verdict()
    };
    let day = |cost| totals(DAY, 10, 0, cost);
    let expected = [
        (verdict(before(7, 0.1), day(0.15)), Verdict::Normal),
        (verdict(before(7, 0.1), day(0.1501)), Verdict::CostSpike),
        (verdict(before(3, 1.0), day(2.0)), Verdict::CostSpike),
        (verdict(before(2, 1.0), day(200.0)), Verdict::Normal),
        (verdict(before(7, 0.0), day(0.0)), Verdict::Normal),
        (verdict(before(7, 0.0), day(0.01)), Verdict::CostSpike),
        (verdict(before(7, -1.0), day(0.0)), Verdict::Normal),
        (verdict(before(7, 1.0), totals(DAY, 10, 10, 0.0)), Verdict::NoData),
        (verdict(before(7, 1.0), totals(DAY, 0, 0, 0.0)), Verdict::NoData),
        (verdict(before(7, 1.0), totals("2026-03-11", 10, 0, 9.0)), Verdict::NoData),
    ];
    for (index, (verdict, wanted)) in expected.into_iter().enumerate() {
        assert_eq!(verdict, wanted, "row {index}");
    }
    let unjudged = report(only(vec![day(1.0)]));
    assert!(!unjudged.spike.judged);
    assert!(unjudged.verdict_reason.contains("Not judged: 0 days of the 7 before"));
}

#[test]
fn comparisons_say_what_is_missing() {
    use Comparability::*;
    let against = |before: Vec<Value>, day: Value| {
        let mut days = before;
        days.push(day);
        report(only(days)).comparisons.day_before
    };
    let day = totals(DAY, 10, 0, 3.0);
    let before = |calls, without, cost| vec![totals("2026-03-09", calls, without, cost)];
    let expected = [
        (against(before(10, 0, 2.0), day.clone()), Compared, Some(1.0), Some(0.5)),
        (against(before(10, 0, 0.0), day.clone()), ZeroBaseline, Some(3.0), None),
        (against(before(0, 0, 0.0), day.clone()), NoBaselineData, None, None),
        (against(vec![], day), NoBaselineData, None, None),
        (against(before(10, 10, 0.0), totals(DAY, 10, 0, 3.0)), BaselineCostUnknown, None, None),
        (against(before(10, 0, 2.0), totals(DAY, 10, 10, 0.0)), DayCostUnknown, None, None),
    ];
    for (comparison, status, change, ratio) in expected {
        assert_eq!(comparison.status, status);
        assert_eq!(comparison.change_usd, change, "{status:?}");
        assert_eq!(comparison.change_ratio, ratio, "{status:?}");
    }
}

#[test]
fn the_mean_is_of_days_with_a_known_cost() {
    let mean = report(week()).comparisons.mean_7_days;
    assert_eq!((mean.cost_usd, mean.days_with_cost, mean.days), (Some(400.0), 5, 7));
    assert_eq!((mean.calls, mean.calls_with_cost), (20_350, 20_200));
}

#[test]
fn a_zero_cost_day_has_no_infinite_figure() {
    let days = vec![totals("2026-03-09", 10, 0, 0.0), totals(DAY, 10, 0, 0.0)];
    for format in Format::ALL {
        let text = rendered(only(days.clone()), format);
        assert!(!text.contains("inf") && !text.contains("NaN"), "{format}: {text}");
    }
    let text = rendered(only(days), Format::Text);
    assert!(text.contains("$0 for the day."), "{text}");
}

#[test]
fn a_day_that_is_not_over_is_said() {
    let rows: CostRows = serde_json::from_value(week()).unwrap();
    let report = CostReport::new(DAY.parse().unwrap(), rows, GENERATED_AT_US - 600_000_000);
    assert!(!report.day_is_over);
    assert!(report.render(Format::Markdown).unwrap().contains("The day was not over"));
}

#[test]
fn json_is_the_serialization() {
    let json: Value = serde_json::from_str(&rendered(week(), Format::Json)).unwrap();
    let expected = [
        ("/format_version", json!(1)),
        ("/day", json!("2026-03-10")),
        ("/from", json!("2026-03-10T00:00:00.000000Z")),
        ("/until", json!("2026-03-11T00:00:00.000000Z")),
        ("/generated_at", json!("2026-03-11T00:05:00.000000Z")),
        ("/day_is_over", json!(true)),
        ("/verdict", json!("normal")),
        ("/spike/limit_usd", json!(600.0)),
        ("/totals/calls_with_cost", json!(4210)),
        ("/comparisons/same_weekday/from", json!("2026-03-03")),
        ("/history/2/cost_usd", Value::Null),
        ("/tenants/rows/1/name", Value::Null),
        ("/tenants/rest/calls", json!(300)),
        ("/agents/rest", Value::Null),
        ("/sessions/0/ended_at", json!("2026-03-10T04:00:01.500000Z")),
        ("/calls/0/timestamp", json!("2026-03-10T03:12:45.123456Z")),
    ];
    for (pointer, value) in expected {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(json["history"].as_array().unwrap().len(), 7);
}

#[test]
fn csv_is_one_figure_per_line() {
    let csv = rendered(week(), Format::Csv);
    let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
    let records: Vec<Vec<String>> =
        reader.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect();
    let expected = [
        ["report", "2026-03-10", "verdict", "normal", "text"],
        ["total", "2026-03-10", "cost", "412.37", "USD"],
        ["history", "2026-03-05", "cost", "", "USD"],
        ["comparison", "day_before", "change", "-7.6299999999999955", "USD"],
        ["tenant", "", "calls", "1000", "calls"],
        ["tenant_rest", "", "calls", "300", "calls"],
        ["call", "1", "request_id", "req-1", "text"],
    ];
    for line in expected {
        assert!(records.iter().any(|record| record == &line), "{line:?} is not in\n{csv}");
    }
}

#[test]
fn csv_carries_no_formula() {
    for hostile in ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "a\",\n=1"] {
        let csv = rendered(named(hostile), Format::Csv);
        for line in ::csv::Reader::from_reader(csv.as_bytes()).records() {
            let line = line.unwrap();
            let is_text = |index: usize| index != 3 || &line[4] == "text";
            for (_, field) in line.iter().enumerate().filter(|(index, _)| is_text(*index)) {
                assert!(!field.starts_with(['=', '+', '-', '@', '\t']), "{line:?}");
            }
        }
    }
}

#[test]
fn html_is_one_safe_file() {
    let html = rendered(named("<script>alert(\"1\")</script>&'"), Format::Html);
    assert!(!html.contains("<script") && html.contains("script"), "{html}");
    for outside in ["http:", "https:", "src=", "<link", "<style", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    for tag in ["table", "tr", "td", "th", "div", "p", "h2", "body", "html"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn markdown_tables_keep_their_cells() {
    let cells = |markdown: &str| -> Vec<usize> {
        let rows = markdown.lines().filter(|line| line.starts_with("| "));
        rows.map(|line| line.replace("\\|", "").matches('|').count()).collect()
    };
    let plain = cells(&rendered(named("acme"), Format::Markdown));
    for hostile in ["a | b", "a\\| b", "`x` | y", "line\n| break |", "<!--", "http://x.example"] {
        let markdown = rendered(named(hostile), Format::Markdown);
        assert_eq!(cells(&markdown), plain, "{hostile:?}\n{markdown}");
    }
}

#[test]
fn text_stays_within_100_columns() {
    let long = "customer-".repeat(100);
    let wide = "顧客対応エージェント".repeat(9);
    let names = ["acme", long.as_str(), wide.as_str(), "\u{1b}[2J\n"];
    for hostile in names {
        let mut rows = named(hostile);
        for figure in ["tenants", "agents", "models"] {
            rows[figure][0]["cost"] = json!(1_234_567_890.12);
            rows[figure][0]["cost_per_call"] = json!(1_234_567_890.12);
            rows[figure][0]["total_tokens"] = json!(98_765_432_109_876_u64);
            rows[figure][0]["previous_cost"] = json!(0.0001);
        }
        let text = rendered(rows, Format::Text);
        for line in text.lines() {
            assert!(super::name::width(line) <= 100, "{}: {line}", super::name::width(line));
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert!(text.contains("Left out for lack of room: "), "{text}");
    }
}

#[test]
fn rows_are_read_strictly() {
    let mut missing = totals(DAY, 1, 0, 1.0);
    missing.as_object_mut().unwrap().remove("calls");
    assert!(serde_json::from_value::<DayTotals>(missing).is_err());
    assert!(serde_json::from_value::<DayTotals>(totals("10.3.2026", 1, 0, 1.0)).is_err());
    let call: CallRow = serde_json::from_value(json!({"total_tokens": -5})).unwrap();
    assert_eq!((call.total_tokens, call.timestamp), (Some(-5), None));
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "pdf".parse::<Format>().unwrap_err();
    assert_eq!(error.to_string(), "unknown format \"pdf\": expected text, md, html, json or csv");
}
