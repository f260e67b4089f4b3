//! Whole expositions, in the formats that a scraper may want.

use super::*;

#[test]
fn exemplars_lead_to_the_newest_trace() {
    let at = |trace: &str, latency_ms: f64, second: i64| {
        json!({"trace_id": trace, "latency_ms": latency_ms, "prompt_tokens": 7, "error_type": "timeout",
            "timestamp": NOW_US - second * 1_000_000})
    };
    let rows = [
        at("newest", 300.0, 1),
        at("older", 400.0, 2),
        at("quo\"te", 40_000.0, 3),
        at("", 100.0, 0),
        at(&"x".repeat(65), 100.0, 0),
        json!({"latency_ms": 2000.0}),
    ];
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&rows));
    let text = encode(&families(&live), Format::OpenMetrics100);
    let duration = r#"llm_request_duration_seconds_bucket{agent_id="",model="",operation="","#;
    for line in [
        format!(r#"{duration}le="0.25"}} 2"#).as_str(),
        format!(r#"{duration}le="0.5"}} 4 # {{trace_id="newest"}} 0.3 1799999999"#).as_str(),
        format!(r#"{duration}le="2.0"}} 5"#).as_str(),
        format!(r#"{duration}le="+Inf"}} 6 # {{trace_id="quo\"te"}} 40 1799999997"#).as_str(),
        r#"llm_errors_total{agent_id="",model="",error_type="timeout"} 5 # {trace_id="newest"} 1 1799999999"#,
        r#"llm_tokens_total{agent_id="",model="",tenant_id="",token_type="input"} 35 # {trace_id="newest"} 7 1799999999"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!encode(&families(&live), Format::Text004).contains("trace_id"));
}

#[test]
fn whole_expositions() {
    let families = [
        Family::gauge("driftline_wal_bytes", "Bytes in \"the log\",\nwith a \\.").with(&[], 1e21),
        Family::histogram("http_wait_seconds", "Waits.")
            .with_histogram(&[], Histogram { bounds: &[0.5, 1.0], counts: vec![1, 0, 2], sum: 1e-7 }),
        Family::counter("driftline_ingest_records_total", "Records.")
            .with(&[("table", "b")], 3.0)
            .with(&[("table", "a\"\\\n")], 2.5),
        Family::gauge("empty", "No series yet."),
        Family::gauge("odd", "Odd values.")
            .with(&[("of", "1")], f64::NAN)
            .with(&[("of", "2")], f64::NEG_INFINITY)
            .with(&[("of", "3")], -0.5),
        // The same family from another part of the program.
        Family::counter("driftline_ingest_records_total", "Records.").with(&[("table", "ab")], 1.0),
    ];
    assert_eq!(
        encode(&families, Format::Text004),
        r#"# HELP driftline_ingest_records_total Records.
# TYPE driftline_ingest_records_total counter
driftline_ingest_records_total{table="a\"\\\n"} 2.5
driftline_ingest_records_total{table="ab"} 1
driftline_ingest_records_total{table="b"} 3
# HELP driftline_wal_bytes Bytes in "the log",\nwith a \\.
# TYPE driftline_wal_bytes gauge
driftline_wal_bytes 1000000000000000000000
# HELP empty No series yet.
# TYPE empty gauge
# HELP http_wait_seconds Waits.
# TYPE http_wait_seconds histogram
http_wait_seconds_bucket{le="0.5"} 1
http_wait_seconds_bucket{le="1.0"} 1
http_wait_seconds_bucket{le="+Inf"} 3
http_wait_seconds_sum 0.0000001
http_wait_seconds_count 3
# HELP odd Odd values.
# TYPE odd gauge
odd{of="1"} NaN
odd{of="2"} -Inf
odd{of="3"} -0.5
"#
    );
    assert_eq!(
        encode(&families, Format::OpenMetrics100),
        r#"# HELP driftline_ingest_records Records.
# TYPE driftline_ingest_records counter
driftline_ingest_records_total{table="a\"\\\n"} 2.5
driftline_ingest_records_total{table="ab"} 1
driftline_ingest_records_total{table="b"} 3
# HELP driftline_wal_bytes Bytes in \"the log\",\nwith a \\.
# TYPE driftline_wal_bytes gauge
# UNIT driftline_wal_bytes bytes
driftline_wal_bytes 1000000000000000000000
# HELP empty No series yet.
# TYPE empty gauge
# HELP http_wait_seconds Waits.
# TYPE http_wait_seconds histogram
# UNIT http_wait_seconds seconds
http_wait_seconds_bucket{le="0.5"} 1
http_wait_seconds_bucket{le="1.0"} 1
http_wait_seconds_bucket{le="+Inf"} 3
http_wait_seconds_sum 0.0000001
http_wait_seconds_count 3
# HELP odd Odd values.
# TYPE odd gauge
odd{of="1"} NaN
odd{of="2"} -Inf
odd{of="3"} -0.5
# EOF
"#
    );
    assert_eq!(encode(&[], Format::Text004), "");
    assert_eq!(encode(&[], Format::OpenMetrics100), "# EOF\n");
}

#[test]
fn formats_are_negotiated() {
    use Format::{OpenMetrics100, Text004};
    // What Prometheus 3 sends by default, and with native histograms; what 2.42 sends.
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let prometheus_3_protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let cases = [
        (prometheus_3, OpenMetrics100),
        (prometheus_3_protobuf, OpenMetrics100),
        (prometheus_2_42, OpenMetrics100),
        ("", Text004),
        ("*/*", Text004),
        ("text/plain", Text004),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Text004),
        ("application/*", Text004),
        ("application/openmetrics-text", OpenMetrics100),
        ("Application/OpenMetrics-Text ; Version=\"0.0.1\"", OpenMetrics100),
        ("application/openmetrics-text; version=2.0.0", Text004),
        ("application/openmetrics-text;q=0", Text004),
        ("application/openmetrics-text;q=0.000, text/plain;q=0", Text004),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text004),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.4", OpenMetrics100),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.4, */*", OpenMetrics100),
        ("application/openmetrics-text;q=0.5, text/*;q=0.9", Text004),
        ("application/openmetrics-text;q=0.5, */*;q=0.9", Text004),
        ("*/*, application/openmetrics-text", OpenMetrics100),
        ("text/plain, application/openmetrics-text", Text004),
        ("application/openmetrics-text, text/plain", OpenMetrics100),
        ("application/openmetrics-text;q=high, text/plain", Text004),
        ("application/openmetrics-text;q=NaN", Text004),
        (";;,,=;q", Text004),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
    }
    assert_eq!(Format::negotiate(None), Text004);
}

#[test]
fn the_list_of_families_passes_lint() {
    let short = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    let long = ["minutes", "hours", "days", "weeks", "bits", "counter", "gauge", "histogram"];
    for family in FAMILIES {
        let name = family.name;
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
        for segment in name.split('_') {
            assert!(!short.contains(&segment) && !long.contains(&segment), "{name}");
        }
        for ending in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name}");
        }
        assert!(!family.help.is_empty(), "{name}");
        assert!(!family.labels.iter().any(|label| ["le", "quantile"].contains(label)), "{name}");
        assert_eq!(family.bounds.is_empty(), family.kind != Kind::Histogram, "{name}");
        assert!(family.bounds.len() <= BOUNDS_MAX && family.bounds.is_sorted(), "{name}");
        assert!(family.variants().len() <= VARIANTS_MAX, "{name}");
    }
    let shown = families(&LiveMetrics::new(Limits::default()));
    let shown: Vec<&str> = shown.iter().map(|family| &*family.name).collect();
    assert_eq!(shown, FAMILIES.map(|family| family.name));
}
