//! Sessions that are active.

use super::*;

#[test]
fn sessions_are_distinct_per_agent_and_expire() {
    check(
        &[
            json!({"agent_id": "a", "session_id": "s1"}),
            json!({"agent_id": "a", "session_id": "s1", "timestamp": NOW_US - 40 * MINUTE_US}),
            json!({"agent_id": "a", "session_id": "s2", "timestamp": NOW_US - 30 * MINUTE_US}),
            json!({"agent_id": "a", "session_id": "s3", "timestamp": NOW_US - 30 * MINUTE_US - 1}),
            json!({"agent_id": "b", "session_id": "s1"}),
            json!({"agent_id": "b", "session_id": ""}),
            json!({"agent_id": "gone", "session_id": "s1", "timestamp": NOW_US - 31 * MINUTE_US}),
        ],
        r#"
llm_active_sessions{agent_id="a"} 2
llm_active_sessions{agent_id="b"} 1
"#,
    );
}

#[test]
fn a_fast_clock_does_not_hold_a_session_active() {
    let then_us = NOW_US - 31 * MINUTE_US;
    check(&[json!({"session_id": "s", "timestamp": NOW_US * 2, "received_at": then_us})], "");
}

#[test]
fn a_full_session_table_forgets_the_one_unseen_for_longest() {
    let limits = Limits { sessions_max: 3, ..Limits::default() };
    let at = |agent: &str, minute: i64| json!({"agent_id": agent, "session_id": "s", "timestamp": NOW_US - minute * MINUTE_US});
    // `a` comes first but is seen again, so `b` is the one to go; `old` is too old to get in.
    let rows = [at("a", 9), at("b", 8), at("c", 7), at("a", 1), at("d", 2), at("old", 20)];
    check_limited(
        limits,
        &rows,
        r#"
llm_active_sessions{agent_id="a"} 1
llm_active_sessions{agent_id="c"} 1
llm_active_sessions{agent_id="d"} 1
"#,
    );
}

#[test]
fn seeded_sessions_count_once() {
    let mut live = LiveMetrics::new(Limits::default());
    live.seed_session("a", "s1", NOW_US - MINUTE_US);
    live.seed_session("a", "s2", NOW_US - 31 * MINUTE_US);
    live.observe(&batch(&[json!({"agent_id": "a", "session_id": "s1"})]));
    assert_eq!(
        samples(&live),
        r#"llm_active_sessions{agent_id="a"} 1
"#
    );
}

#[test]
fn alike_sessions_are_told_apart() {
    let mut live = LiveMetrics::new(Limits::default());
    for number in 0..20_000 {
        live.seed_session("a", &format!("{number}"), NOW_US);
        live.seed_session("a", &format!("session-{number:032}"), NOW_US);
        live.seed_session(&"a".repeat(number % 3), &format!("{number:016}"), NOW_US);
    }
    assert_eq!(
        samples(&live),
        r#"llm_active_sessions{agent_id=""} 6667
llm_active_sessions{agent_id="a"} 46667
llm_active_sessions{agent_id="aa"} 6666
"#
    );
}
