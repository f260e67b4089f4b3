//! The statistics in SQL: what they answer of rows, in one part or in many, and what they say of too few.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{TestApp, failure, json as json_of, record};

/// Pairs of columns with many parts, with nulls and NaNs in between: x is a number, g a category, c a flag.
const ROWS: &str = "select value * 7919 % 10007 / 10.0 as x, 'g' || (value * value % 7) as g, value % 3 = 0 as c,
    value % 5 as part from generate_series(1, 30000)";

async fn one(app: &TestApp, expression: &str, from: &str) -> Value {
    app.sql(&format!("select {expression} as answer from {from}")).await[0]["answer"].clone()
}

fn assert_close(label: &str, answer: &Value, expected: f64) {
    let answer = answer.as_f64().unwrap_or_else(|| panic!("{label}: {answer}"));
    assert!((answer - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{label}: {answer}, expected {expected}");
}

/// Two small samples; what scipy 1.17.1 says of them.
const SAMPLES: &str = "(values (3.0, false), (1.0, false), (4.0, false), (1.5, false), (9.0, false), (2.6, false),
    (5.3, true), (5.8, true), (9.7, true), (9.3, true), (2.3, true), (8.4, true), (6.2, true)) as t(x, c)";

#[tokio::test]
async fn tests_of_numbers_are_those_of_scipy() {
    let app = TestApp::start().await;
    for (aggregate, statistic, p_value) in SCIPY_OF_SAMPLES {
        let answer = one(&app, &format!("{aggregate}(x, c)"), SAMPLES).await;
        assert_close(aggregate, &answer["statistic"], *statistic);
        assert_close(aggregate, &answer["p_value"], *p_value);
        let counts = (&answer["n_reference"], &answer["n_current"], &answer["insufficient"]);
        assert_eq!(counts, (&json!(6), &json!(7), &json!(false)), "{aggregate}");
    }
    let welch = one(&app, "welch_t_test(x, c)", SAMPLES).await;
    assert_close("mean", &welch["mean_reference"], 21.1 / 6.0);
    assert!(welch["effect_size"].as_f64().unwrap() > 0.0 && welch["statistic"].as_f64().unwrap() < 0.0);
    assert_close("delta", &one(&app, "cliffs_delta(x, c)", SAMPLES).await, 26.0 / 42.0);
    assert_close("wasserstein", &one(&app, "wasserstein_distance(x, c)", SAMPLES).await, WASSERSTEIN_OF_SAMPLES);
}

/// `ks_2samp`, `mannwhitneyu`, `cramervonmises_2samp`, `ttest_ind(equal_var=False)`.
const SCIPY_OF_SAMPLES: &[(&str, f64, f64)] = &[
    ("ks_test", 0.6904761904761905, 0.0675990675990676),
    ("mann_whitney_test", 8.0, 0.07342657342657342),
    ("cramer_von_mises_test", 0.42307692307692335, 0.0675990675990676),
    ("welch_t_test", -2.07686565361641, 0.0638276807072622),
];
const WASSERSTEIN_OF_SAMPLES: f64 = 3.197619047619048;

#[tokio::test]
async fn tests_of_counts_are_those_of_scipy() {
    let app = TestApp::start().await;
    // The table [[8, 2], [1, 5]].
    let flags = "(select false as c, value <= 8 as f from generate_series(1, 10)
        union all select true, value <= 1 from generate_series(1, 6))";
    for (aggregate, statistic, p_value) in [
        ("chi2_test", 6.112169312169312, 0.013425424881491248),
        ("g_test", 6.5152716556872505, 0.010695198302387429),
        ("fisher_exact_test", 20.0, 0.034965034965034975),
    ] {
        let answer = one(&app, &format!("{aggregate}(f, c)"), flags).await;
        assert_close(aggregate, &answer["statistic"], statistic);
        assert_close(aggregate, &answer["p_value"], p_value);
        assert_eq!((&answer["n_reference"], &answer["n_current"]), (&json!(10), &json!(6)), "{aggregate}");
    }
    assert_close("effect", &one(&app, "fisher_exact_test(f, c)['effect_size']", flags).await, 1.0 / 6.0 - 0.8);
    assert_close("v", &one(&app, "cramers_v(f, c)", flags).await, 0.6180700462007377);
    let fisher = one(&app, "fisher_exact(8, 2, 1, 5)", "(select 1)").await;
    assert_close("p", &fisher["p_value"], 0.034965034965034975);
    assert_close("odds", &fisher["odds_ratio"], 20.0);
}

#[tokio::test]
async fn parts_and_groups_say_what_the_whole_says() {
    let app = TestApp::start().await;
    let aggregates = "ks_test(x, c) as ks, mann_whitney_test(x, c) as u, cramer_von_mises_test(x, c) as t,
        anderson_darling_test(x, g) as a, psi(x, c) as psi, psi(g, c) as psi_of_categories,
        wasserstein_distance(x, c) as w, jensen_shannon_distance(x, c) as js, jensen_shannon_distance(g, c) as jsg,
        cliffs_delta(x, c) as d, chi2_test(g, c) as chi2, g_test(g, c) as g, fisher_exact_test(x < 500, c) as f,
        cramers_v(g, part) as v";
    // One partition and no groups, as if it were one part; then two ways of taking it apart.
    let whole = app.sql(&format!("select {aggregates} from ({ROWS} limit 30000)")).await;
    let parts = app.sql(&format!("select {aggregates} from ({ROWS})")).await;
    assert_eq!(whole, parts);
    let grouped = app.sql(&format!("select {aggregates} from ({ROWS}) group by x is null")).await;
    assert_eq!(whole, grouped);
    assert_eq!((&whole[0]["ks"]["n_reference"], &whole[0]["ks"]["n_current"]), (&json!(20_000), &json!(10_000)));
    assert_eq!(whole[0]["psi"]["bins"], 10);
    // Moments are added up in another order, to another last digit.
    let t = |rows: &Value| rows[0]["t"]["statistic"].as_f64().unwrap();
    let by_group = format!("select welch_t_test(x, c) as t from ({ROWS}) group by x is null");
    let (one, other) =
        (app.sql(&format!("select welch_t_test(x, c) as t from ({ROWS})")).await, app.sql(&by_group).await);
    assert!((t(&one) - t(&other)).abs() <= 1e-9 * t(&one).abs().max(1.0), "{one} {other}");
    // Each group on its own.
    let groups = app.sql(&format!("select g, ks_test(x, c) as ks from ({ROWS}) group by g order by g")).await;
    let filtered = app.sql(&format!("select ks_test(x, c) filter (where g = 'g2') as ks from ({ROWS})")).await;
    let group = groups.as_array().unwrap().iter().find(|row| row["g"] == "g2").unwrap();
    assert_eq!(group["ks"], filtered[0]["ks"]);
}

#[tokio::test]
async fn too_little_is_said() {
    let app = TestApp::start().await;
    let one_side = "(values (1.5, 'a', true, true), (2.5, 'b', true, false)) as t(x, g, c, f)";
    for test in [
        "ks_test(x, c)",
        "mann_whitney_test(x, c)",
        "cramer_von_mises_test(x, c)",
        "welch_t_test(x, c)",
        "chi2_test(g, c)",
        "g_test(g, c)",
        "fisher_exact_test(f, c)",
        "psi(x, c)",
        "psi(g, c)",
    ] {
        for (from, n_current) in [(one_side.to_owned(), 2), (format!("{one_side} where x > 9"), 0)] {
            let answer = one(&app, test, &from).await;
            let said = (&answer["statistic"], &answer["p_value"], &answer["effect_size"], &answer["insufficient"]);
            assert_eq!(said, (&Value::Null, &Value::Null, &Value::Null, &json!(true)), "{test}");
            assert_eq!((&answer["n_reference"], &answer["n_current"]), (&json!(0), &json!(n_current)), "{test}");
        }
    }
    let answer = one(&app, "anderson_darling_test(x, g)", one_side).await;
    assert_eq!(answer, json!({"statistic": null, "p_value": null, "samples": 2, "n": 2, "insufficient": true}));
    for distance in
        ["wasserstein_distance(x, c)", "jensen_shannon_distance(g, c)", "cliffs_delta(x, c)", "cramers_v(g, c)"]
    {
        assert_eq!(one(&app, distance, one_side).await, Value::Null, "{distance}");
    }
    // What says nothing counts nowhere.
    let gaps = "(values (1.0, false), (null, false), ('nan'::double, true), (2.0, null), (3.0, true)) as t(x, c)";
    let answer = one(&app, "ks_test(x, c)", gaps).await;
    assert_eq!((&answer["n_reference"], &answer["n_current"]), (&json!(1), &json!(1)));
    let far = "(values (1.0, false), ('inf'::double, false), (2.0, true), ('-inf'::double, true)) as t(x, c)";
    assert_eq!(one(&app, "ks_test(x, c)", far).await["n_reference"], 2);
    assert_eq!(one(&app, "wasserstein_distance(x, c)", far).await, 1.0);
    assert_eq!(one(&app, "welch_t_test(x, c)", far).await["n_reference"], 1);
}

#[tokio::test]
async fn functions_of_counts_and_lists() {
    let app = TestApp::start().await;
    for (expression, expected) in [
        ("bh_adjust([0.01, 0.02, 0.03, 0.04, 0.05])", json!([0.05, 0.05, 0.05, 0.05, 0.05])),
        ("bh_adjust([0.5, null, 0.01])", json!([0.5, null, 0.02])),
        ("bh_adjust([])", json!([])),
        ("bh_adjust(null)", Value::Null),
        ("by_adjust([0.25])", json!([0.25])),
        ("wilson_interval(0, 0)", json!({"low": null, "high": null})),
        ("wilson_interval(null, 3)", Value::Null),
        ("binomial_interval(0, 4)['low']", json!(0.0)),
        ("binomial_test(3, 10, 0.5)", json!(0.34375)),
        ("fisher_exact(0, 0, 3, 4)", json!({"odds_ratio": null, "p_value": 1.0})),
    ] {
        assert_eq!(one(&app, expression, "(select 1)").await, expected, "{expression}");
    }
    let wilson = one(&app, "wilson_interval(k, n)", "(values (3, 10)) as t(k, n)").await;
    assert_close("low", &wilson["low"], 0.10779126740630102);
    assert_close("high", &wilson["high"], 0.6032218525388546);
    let exact = one(&app, "binomial_interval(3, 10, 0.95)", "(select 1)").await;
    assert_close("low", &exact["low"], 0.06673951117773447);
    assert_close("high", &exact["high"], 0.652452850060008);
}

#[tokio::test]
async fn sketches_are_tested_within_their_bound() {
    let app = TestApp::start().await;
    let sketched = format!(
        "select ks_test_sketch(quantile_sketch(x) filter (where not c), quantile_sketch(x) filter (where c)) as sketch,
            ks_test_histogram(histogram_sketch(x, 'logarithmic') filter (where not c),
                histogram_sketch(x, 'logarithmic') filter (where c)) as histogram,
            psi_sketch(quantile_sketch(x) filter (where not c), quantile_sketch(x) filter (where c)) as psi,
            ks_test(x, c) as exact
         from (select case when c then x * 1.1 else x end as x, c from ({ROWS}))"
    );
    let row = app.sql(&sketched).await[0].clone();
    let d = row["exact"]["statistic"].as_f64().unwrap();
    for (kind, width) in [("sketch", 0.025), ("histogram", 0.25)] {
        let (least, greatest) =
            (row[kind]["statistic"].as_f64().unwrap(), row[kind]["statistic_max"].as_f64().unwrap());
        assert!(least <= d && d <= greatest && greatest - least < width, "{kind}: {least} {d} {greatest}");
        let p_value = row["exact"]["p_value"].as_f64().unwrap();
        assert!(row[kind]["p_value"].as_f64().unwrap() >= p_value);
        assert!(row[kind]["p_value_min"].as_f64().unwrap() <= p_value);
        assert_eq!((&row[kind]["n_reference"], &row[kind]["n_current"]), (&json!(20_000), &json!(10_000)));
    }
    assert!(row["psi"]["statistic"].as_f64().unwrap() > row["psi"]["null_threshold"].as_f64().unwrap(), "{row}");
    let nothing = one(&app, "ks_test_sketch(quantile_sketch(1.5), null)", "(select 1)").await;
    assert_eq!((&nothing["insufficient"], &nothing["n_reference"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn sketches_of_two_ranges_come_from_rollups() {
    let app = TestApp::start().await;
    // Over two days, from 2026-05-12 on.
    let records: String =
        (0..400).map(|index| record(-216_000 + index * 400, &format!("r{index}"), "rag", 0.1)).collect();
    app.logs(records).await;
    app.flush().await;
    let engine = app.daemon.as_ref().unwrap().engine();
    while engine.rollups().unwrap().build_next(engine, Duration::ZERO).await.unwrap() {}
    let day = |from: &str, to: &str| {
        format!(
            "(select quantile_sketch(latency_ms) as latency from agent_logs
              where timestamp >= '2026-05-{from}' and timestamp < '2026-05-{to}')"
        )
    };
    let statement = format!(
        "select ks_test_sketch(r.latency, c.latency) as t from {} as r cross join {} as c",
        day("12", "13"),
        day("13", "14")
    );
    let plan = app.sql(&format!("explain {statement}")).await.to_string();
    assert!(plan.contains("rollup_calls_day"), "{plan}");
    let answer = app.sql(&statement).await;
    let of_calls = app.get("/api/v1/sql").query(&[("q", statement.as_str()), ("rollups", "off")]);
    assert_eq!(answer, json_of(of_calls).await);
    let test = &answer[0]["t"];
    assert_eq!((&test["n_reference"], &test["n_current"]), (&json!(216), &json!(184)));
    // Seven different latencies, each in a bin of its own.
    let exact = app.sql("select ks_test(latency_ms, timestamp >= '2026-05-13') as t from agent_logs").await;
    assert_eq!(test["statistic"], exact[0]["t"]["statistic"]);
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let app = TestApp::start().await;
    for (expression, words) in [
        ("ks_test(1.5)", "ks_test takes (value, is_current)"),
        ("ks_test('text', true)", "compared by chi2_test"),
        ("ks_test(1.5, 'text')", "a number and a boolean"),
        ("ks_test(distinct x, true), count(*) from (values (1.0), (2.0)) as t(x)", "distinct is not for it"),
        ("fisher_exact_test(1.5, true)", "two booleans"),
        ("chi2_test([1], true)", "what can be written as text"),
        ("bh_adjust([0.5, 2])", "a p-value is from 0 to 1, not 2"),
        ("bh_adjust('text')", "a list of numbers"),
        ("wilson_interval(4, 3)", "more successes, 4, than trials, 3"),
        ("wilson_interval(-1, 3)", "-1 is below 0"),
        ("wilson_interval(1.5, 3)", "two whole numbers"),
        ("wilson_interval(1, 3, 1.5)", "the last is 1.5"),
        ("binomial_test(1, 2000000000, 0.5)", "at most 1000000000 trials"),
        ("fisher_exact(1, 2, 3, 2000000000)", "at most 1000000000"),
        ("ks_test_sketch(x'0100')", "two sketches"),
        ("ks_test_sketch(x'00', x'0100')", "version 0"),
        ("ks_test_histogram(histogram_sketch(1.5, 'ratio'), histogram_sketch(1.5, 'latency_ms'))", "do not compare"),
        ("anderson_darling_test(value, value) from generate_series(1, 200)", "at most 100 samples"),
    ] {
        let statement = format!("select {expression}");
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", statement.as_str())])).await;
        assert_eq!(status, 400, "{expression}: {message}");
        assert!(message.contains(words), "{expression}: {message}");
    }
}
