//! Sketches in SQL: parts merge to the whole to the last byte, answers keep their bound, and what is no
//! sketch is refused.

use serde_json::{Value, json};

use crate::app::{TestApp, failure, record};

async fn one(app: &TestApp, expression: &str) -> Value {
    app.sql(&format!("select {expression} as answer")).await[0]["answer"].clone()
}

/// Groups enough for several batches of them, and values enough for several batches of rows.
const PARTS: &str = "select value % 9973 as part, quantile_sketch(value) as q, distinct_sketch(value) as d,
    histogram_sketch(value, 'logarithmic') as h from generate_series(1, 60000) group by 1";

#[tokio::test]
async fn parts_merge_to_the_whole() {
    let app = TestApp::start().await;
    let whole = "select quantile_sketch(value) as q, distinct_sketch(value) as d,
        histogram_sketch(value, 'logarithmic') as h from generate_series(1, 60000)";
    let halves = format!(
        "select part % 2 as half, quantile_sketch_merge(q) as q, distinct_sketch_merge(d) as d,
            histogram_sketch_merge(h) as h from ({PARTS}) group by 1"
    );
    let merged = format!(
        "select quantile_sketch_merge(q) as q, distinct_sketch_merge(d) as d, histogram_sketch_merge(h) as h
         from ({halves})"
    );
    let rows = app
        .sql(&format!(
            "select w.q = m.q as quantiles, w.d = m.d as distinct_counts, w.h = m.h as histograms,
                quantile_sketch_count(m.q) as n, distinct_of(m.d) as d
             from ({whole}) as w cross join ({merged}) as m"
        ))
        .await;
    let distinct = rows[0]["d"].as_f64().unwrap();
    assert!((distinct / 60_000.0 - 1.0).abs() < 0.05, "{distinct}");
    assert_eq!(
        rows,
        json!([{"quantiles": true, "distinct_counts": true, "histograms": true, "n": 60_000, "d": rows[0]["d"]}])
    );
    let groups = format!("select count(*) as parts, sum(quantile_sketch_count(q)) as n from ({PARTS})");
    assert_eq!(app.sql(&groups).await, json!([{"parts": 9_973, "n": 60_000}]));
}

#[tokio::test]
async fn quantiles_of_records_keep_their_bound() {
    let app = TestApp::start().await;
    let records: String = (0..200).map(|index| record(index, &format!("r{index}"), "rag", 0.1)).collect();
    app.logs(records).await;
    let rows = app
        .sql(
            "with s as (select agent_id, quantile_sketch(latency_ms) as q, distinct_sketch(session_id) as d
                        from agent_logs group by 1)
             select quantile_of(q, 0) as least, quantile_of(q, 0.5) as median, quantile_of(q, 1) as greatest,
                quantile_sketch_count(q) as n, distinct_of(d) as sessions from s",
        )
        .await;
    // `record` has the latencies 500, 600, … 1,100 in turn.
    let median = rows[0]["median"].as_f64().unwrap();
    assert!((median - 800.0).abs() <= 8.0, "{median}");
    let expected = json!([{"least": 500.0, "median": median, "greatest": 1100.0, "n": 200, "sessions": 1}]);
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn nothing_is_an_empty_sketch() {
    let app = TestApp::start().await;
    let from = "from (values (1, 2.5), (1, null), (2, null)) as t(g, x)";
    let rows = app
        .sql(&format!(
            "select g, quantile_of(quantile_sketch(x), 0.5) as median, quantile_sketch_count(quantile_sketch(x)) as n,
                distinct_of(distinct_sketch(x)) as d, quantile_sketch_count(quantile_sketch(x) filter (where x > 3)) as f
             {from} group by g order by g"
        ))
        .await;
    assert_eq!(
        rows,
        json!([{"g": 1, "median": 2.5, "n": 1, "d": 1, "f": 0}, {"g": 2, "median": null, "n": 0, "d": 0, "f": 0}])
    );
    for (expression, expected) in [
        ("quantile_sketch_count(quantile_sketch(x)) from (select 1.5 as x) where false", json!(0)),
        ("quantile_sketch_merge(x) from (select x'01' as x) where false", json!("0100")),
        ("histogram_sketch_merge(x) from (select x'01' as x) where false", Value::Null),
        ("quantile_of(null, 0.5)", Value::Null),
        ("quantile_of(x'0100', 0.5)", Value::Null),
        ("distinct_of(null)", Value::Null),
        ("quantile_sketch_count(quantile_sketch(x)) from (values ('nan'::double), (1.0)) as t(x)", json!(1)),
    ] {
        let (select, from) = expression
            .split_once(" from ")
            .map_or((expression, String::new()), |(select, from)| (select, format!("from {from}")));
        let rows = app.sql(&format!("select {select} as answer {from}")).await;
        assert_eq!(rows[0]["answer"], expected, "{expression}");
    }
}

#[tokio::test]
async fn histograms_have_the_bounds_of_the_scrape() {
    let app = TestApp::start().await;
    let with_score = r#""error":null,"hallucination_probability":0.2"#;
    app.logs(record(-10, "a", "rag", 0.5).replace(r#""error":null"#, with_score)).await;
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    for (family, boundaries, scale) in [
        ("llm_request_duration_seconds", "latency_ms", 1_000.0),
        ("llm_ttft_seconds", "latency_ms", 1_000.0),
        ("llm_hallucination_score", "ratio", 1.0),
    ] {
        let buckets = one(&app, &format!("histogram_of(histogram_sketch(0.5, '{boundaries}'))")).await;
        let bounds: Vec<f64> = buckets.as_array().unwrap().iter().filter_map(|b| b["upper_bound"].as_f64()).collect();
        let prefix = format!("{family}_bucket{{");
        let mut compared = 0;
        for line in metrics.lines().filter(|line| line.starts_with(&prefix) && !line.contains("+Inf")) {
            let bound: f64 = line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
            assert!(bounds.contains(&(bound * scale)), "{line}");
            compared += 1;
        }
        assert!(compared > 5, "{family} has {compared} buckets in\n{metrics}");
    }
    let filled = "select b['upper_bound'] as bound, b['count'] as n from (select unnest(histogram_of(h)) as b from
        (select histogram_sketch(x, 'ratio') as h from (values (0.1), (0.11), (7.0)) as t(x))) where b['count'] > 0";
    assert_eq!(app.sql(filled).await, json!([{"bound": 0.1, "n": 1}, {"bound": 0.2, "n": 1}, {"bound": null, "n": 1}]));
    let rows = app
        .sql(
            "select histogram_distance(histogram_sketch(x, 'ratio') filter (where x < 1),
                histogram_sketch(x, 'ratio') filter (where x > 1)) as far
             from (values (0.1), (0.11), (7.0)) as t(x)",
        )
        .await;
    assert_eq!(rows, json!([{"far": {"least": 1.0, "greatest": 1.0}}]));
}

#[tokio::test]
async fn what_is_no_sketch_is_refused() {
    let app = TestApp::start().await;
    for (expression, words) in [
        ("quantile_of(x'00', 0.5)", "the quantile sketch of 1 bytes is damaged at byte 1: version 0 where 1 is known"),
        ("quantile_of(x'0104', 0.5)", "ends within its bins"),
        ("distinct_of(x'010300')", "form 3 is not known"),
        ("histogram_of(x'010900')", "boundaries 9 are not known"),
        ("quantile_of(x'0100', 2)", "a quantile is from 0 to 1, not 2"),
        ("quantile_of('text', 0.5)", "which is binary"),
        ("quantile_of(x'0100')", "takes (sketch, q)"),
        ("quantile_sketch('text')", "takes a number"),
        ("histogram_sketch(1.5, 'fine')", "'latency_ms', 'ratio', 'logarithmic', 'score'"),
        ("quantile_sketch(distinct x), count(*) from (values (1.0), (2.0)) as t(x)", "counts every value"),
        ("quantile_sketch_merge(x) from (values (x'0100'), (x'02')) as t(x)", "version 2 where 1 is known"),
    ] {
        let statement = format!("select {expression}");
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", statement.as_str())])).await;
        assert_eq!(status, 400, "{expression}: {message}");
        assert!(message.contains(words), "{expression}: {message}");
    }
}
