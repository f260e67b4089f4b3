//! Calls as traces, in the JSON of Jaeger's query service.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Call, Tool};

/// The service of calls that name no agent.
pub const AGENT_UNKNOWN: &str = "unknown_agent";
/// The operation of calls that name none.
pub const OPERATION_UNKNOWN: &str = "call";
/// Letters of a span id that is made here.
const ID_LETTERS: usize = 16;
/// Longer texts are cut in tags.
const TAG_CHARS_MAX: usize = 4_096;

/// A trace.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JaegerTrace)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Its id.
    #[serde(rename = "traceID")]
    pub trace_id: String,
    /// Its spans, earliest first.
    pub spans: Vec<Span>,
    /// Who made them.
    pub processes: BTreeMap<String, Process>,
    /// What has to be said about it.
    pub warnings: Option<Vec<String>>,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JaegerSpan)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    #[serde(rename = "traceID")]
    trace_id: String,
    /// Its id, unique within its trace.
    #[serde(rename = "spanID")]
    pub span_id: String,
    operation_name: String,
    /// Its parents, at most one.
    pub references: Vec<Reference>,
    /// µs since 1970.
    start_time: i64,
    /// µs.
    duration: i64,
    tags: Vec<Tag>,
    logs: Vec<Value>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

/// What a span belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JaegerReference)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    /// The parent.
    #[serde(rename = "spanID")]
    pub span_id: String,
}

/// Who made spans.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JaegerProcess)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

/// Something that is said of a span.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JaegerTag)]
pub struct Tag {
    key: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    value: Value,
}

/// The traces of calls, in the order of these ids; of calls whose ids are not among them there are none.
pub fn traces(ids: &[String], calls: Vec<Call>) -> Vec<Trace> {
    let mut by_id: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in &calls {
        by_id.entry(call.trace_id.as_deref().unwrap_or_default()).or_default().push(call);
    }
    let mut seen = HashSet::new();
    let wanted = ids.iter().filter(|id| seen.insert(id.as_str()));
    wanted.filter_map(|id| Some(trace(id, by_id.get(id.as_str())?))).collect()
}

fn trace(trace_id: &str, calls: &[&Call]) -> Trace {
    let ids = span_ids(trace_id, calls);
    let parents = parents(calls, &ids);
    let mut processes: BTreeMap<String, Process> = BTreeMap::new();
    let mut process_of: HashMap<&str, String> = HashMap::new();
    let mut spans = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let service = call.agent_id.as_deref().unwrap_or(AGENT_UNKNOWN);
        let next = format!("p{}", process_of.len() + 1);
        let process_id = process_of.entry(service).or_insert(next).clone();
        let process = Process { service_name: service.to_owned(), tags: Vec::new() };
        processes.entry(process_id.clone()).or_insert(process);
        let reference = |span_id: &str| Reference {
            ref_type: "CHILD_OF",
            trace_id: trace_id.to_owned(),
            span_id: span_id.to_owned(),
        };
        let start_us = start_us(call);
        spans.push(Span {
            trace_id: trace_id.to_owned(),
            span_id: ids[at].clone(),
            operation_name: call.operation.clone().unwrap_or_else(|| OPERATION_UNKNOWN.to_owned()),
            references: parents[at].iter().map(|parent| reference(&ids[*parent])).collect(),
            start_time: start_us,
            duration: us(call.latency_ms),
            tags: call_tags(call, parents[at].is_none()),
            logs: logs(call, start_us),
            process_id: process_id.clone(),
            warnings: None,
        });
        let mut tool_start_us = start_us;
        for (number, tool) in call.tool_calls.iter().flatten().flatten().enumerate() {
            spans.push(Span {
                trace_id: trace_id.to_owned(),
                span_id: made_id(&[&ids[at], "tool", &number.to_string()]),
                operation_name: format!("execute_tool {}", tool.name.as_deref().unwrap_or("(none)")),
                references: vec![reference(&ids[at])],
                start_time: tool_start_us,
                duration: us(tool.latency_ms),
                tags: tool_tags(tool),
                logs: Vec::new(),
                process_id: process_id.clone(),
                warnings: None,
            });
            tool_start_us = tool_start_us.saturating_add(us(tool.latency_ms));
        }
    }
    Trace { trace_id: trace_id.to_owned(), spans, processes, warnings: None }
}

/// An id for each call: its own where it has one that no earlier call has, else one made of what it says.
fn span_ids(trace_id: &str, calls: &[&Call]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut ids = Vec::new();
    for call in calls {
        let own = call.span_id.clone().filter(|id| !id.is_empty() && !taken.contains(id));
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let made = |number: usize| {
            let (request, span) = (text(&call.request_id), text(&call.span_id));
            made_id(&[trace_id, &call.timestamp, &text(&call.tenant_id), &request, &span, &number.to_string()])
        };
        // Calls that say the same are told apart by their number.
        let mut numbers = 0_usize..;
        let id = own.unwrap_or_else(|| numbers.by_ref().map(made).find(|id| !taken.contains(id)).unwrap_or_default());
        taken.insert(id.clone());
        ids.push(id);
    }
    ids
}

fn made_id(parts: &[&str]) -> String {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hash.finalize().to_hex().chars().take(ID_LETTERS).collect()
}

/// Where the parent of each call stands, if it is a call of the trace. Ids that lead back to themselves are no parents.
fn parents(calls: &[&Call], ids: &[String]) -> Vec<Option<usize>> {
    let position: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let of = |at: usize| {
        let parent = calls[at].parent_span_id.as_deref()?;
        position.get(parent).copied().filter(|parent| *parent != at)
    };
    let mut parents: Vec<Option<usize>> = (0..calls.len()).map(of).collect();
    // 0: not looked at; otherwise the walk that came by.
    let mut walked = vec![0_usize; calls.len()];
    for start in 0..calls.len() {
        let mut at = start;
        while walked[at] == 0 {
            walked[at] = start + 1;
            let Some(parent) = parents[at] else { break };
            if walked[parent] == start + 1 {
                parents[at] = None;
                break;
            }
            at = parent;
        }
    }
    parents
}

fn start_us(call: &Call) -> i64 {
    DateTime::parse_from_rfc3339(&call.timestamp).map_or(0, |time| time.timestamp_micros())
}

/// ms as µs; what is not known, or is no time, is none.
fn us(ms: Option<f64>) -> i64 {
    ms.filter(|ms| *ms > 0.0).map_or(0, |ms| (ms * 1e3).round() as i64)
}

fn call_tags(call: &Call, is_root: bool) -> Vec<Tag> {
    let parent = call.parent_span_id.as_ref().filter(|_| is_root);
    let mut tags: Vec<Tag> = [
        ("tenant_id", &call.tenant_id),
        ("model", &call.model),
        ("provider", &call.provider),
        ("environment", &call.environment),
        ("request_id", &call.request_id),
        ("session_id", &call.session_id),
        ("user_id", &call.user_id),
        ("prompt_version", &call.prompt_version),
        ("variant", &call.variant),
        ("guardrail_status", &call.guardrail_status),
        ("finish_reason", &call.finish_reason),
        ("error_type", &call.error_type),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(text(key, value.as_deref()?)))
    .collect();
    // A parent that is no call of this trace, said where no reference says it.
    tags.extend(parent.map(|parent| text("parent_span_id", parent)));
    let numbers = [
        ("prompt_tokens", call.prompt_tokens),
        ("completion_tokens", call.completion_tokens),
        ("retry_count", call.retry_count),
        ("http_status", call.http_status),
    ];
    tags.extend(numbers.into_iter().filter_map(|(key, value)| Some(Tag { key, kind: "int64", value: value?.into() })));
    let floats = [
        ("cost_usd", call.cost_usd),
        ("ttft_ms", call.ttft_ms),
        ("queue_wait_ms", call.queue_wait_ms),
        ("hallucination_probability", call.hallucination_probability),
    ];
    tags.extend(floats.into_iter().filter_map(|(key, value)| Some(Tag { key, kind: "float64", value: value?.into() })));
    if call.is_error == Some(true) {
        tags.push(flag("error"));
        tags.extend(call.error.as_deref().map(|error| text("otel.status_description", error)));
    }
    tags.push(text("span.kind", "client"));
    tags
}

fn tool_tags(tool: &Tool) -> Vec<Tag> {
    let mut tags = vec![text("span.kind", "internal"), flag("start_is_estimated")];
    tags.extend(tool.name.as_deref().map(|name| text("tool", name)));
    if let Some(status) = tool.status.as_deref() {
        tags.push(text("status", status));
        if ["error", "failed", "failure", "timeout"].contains(&status.to_lowercase().as_str()) {
            tags.push(flag("error"));
        }
    }
    tags
}

/// The error as an event, where there is one.
fn logs(call: &Call, start_us: i64) -> Vec<Value> {
    let Some(error) = call.error.as_deref().filter(|_| call.is_error == Some(true)) else { return Vec::new() };
    let at = start_us.saturating_add(us(call.latency_ms));
    vec![json!({ "timestamp": at, "fields": [text("event", "error"), text("message", error)] })]
}

fn text(key: &'static str, value: &str) -> Tag {
    let cut = value.char_indices().nth(TAG_CHARS_MAX).map_or(value, |(end, _)| &value[..end]);
    Tag { key, kind: "string", value: cut.into() }
}

fn flag(key: &'static str) -> Tag {
    Tag { key, kind: "bool", value: true.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(second: u32, span: Option<&str>, parent: Option<&str>) -> Call {
        Call {
            timestamp: format!("2026-05-14T12:00:{second:02}.000000Z"),
            trace_id: Some("t".into()),
            agent_id: Some("rag".into()),
            operation: Some("chat".into()),
            span_id: span.map(str::to_owned),
            parent_span_id: parent.map(str::to_owned),
            latency_ms: Some(1.5),
            ..Call::default()
        }
    }

    fn one(calls: Vec<Call>) -> Trace {
        traces(&["t".to_owned()], calls).swap_remove(0)
    }

    /// `id<parent` of each span.
    fn tree(trace: &Trace) -> Vec<String> {
        let parent = |span: &Span| span.references.first().map_or("-", |reference| &reference.span_id).to_owned();
        trace.spans.iter().map(|span| format!("{}<{}", span.span_id, parent(span))).collect()
    }

    #[test]
    fn parents_are_those_that_are_there() {
        let check = |calls: Vec<Call>, expect: &[&str]| assert_eq!(tree(&one(calls)), expect);
        check(vec![call(1, Some("a"), None), call(2, Some("b"), Some("a"))], &["a<-", "b<a"]);
        check(vec![call(1, Some("a"), Some("gone"))], &["a<-"]);
        check(vec![call(1, Some("a"), Some("a"))], &["a<-"]);
        check(vec![call(1, Some("a"), Some("b")), call(2, Some("b"), Some("a"))], &["a<b", "b<-"]);
        check(
            vec![
                call(1, Some("a"), Some("c")),
                call(2, Some("b"), Some("a")),
                call(3, Some("c"), Some("b")),
                call(4, Some("d"), Some("a")),
            ],
            &["a<c", "b<-", "c<b", "d<a"],
        );
    }

    #[test]
    fn ids_are_unique_and_the_same_each_time() {
        let calls =
            || vec![call(1, None, None), call(1, None, None), call(2, Some("a"), None), call(3, Some("a"), None)];
        let ids: Vec<String> = one(calls()).spans.into_iter().map(|span| span.span_id).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4, "{ids:?}");
        assert_eq!(ids, one(calls()).spans.into_iter().map(|span| span.span_id).collect::<Vec<_>>());
        assert!(ids[2] == "a" && ids[0].len() == ID_LETTERS, "{ids:?}");
    }

    #[test]
    fn tools_are_children_one_after_the_other() {
        let tool = |name: &str, latency_ms: f64, status: &str| {
            Some(Tool { name: Some(name.into()), latency_ms: Some(latency_ms), status: Some(status.into()) })
        };
        let tools = vec![tool("search", 20.0, "ok"), None, tool("read", 5.0, "error")];
        let with_tools = Call {
            tool_calls: Some(tools),
            is_error: Some(true),
            error: Some("no".into()),
            ..call(1, Some("a"), None)
        };
        let shown = serde_json::to_value(one(vec![with_tools])).unwrap_or_default();
        let spans = shown["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        let short: Vec<String> = spans
            .iter()
            .map(|span| format!("{} {} {}", span["operationName"], span["startTime"], span["duration"]))
            .collect();
        assert_eq!(
            short,
            [
                "\"chat\" 1778760001000000 1500",
                "\"execute_tool search\" 1778760001000000 20000",
                "\"execute_tool read\" 1778760001020000 5000"
            ]
        );
        assert_eq!(spans[1]["references"][0], json!({"refType": "CHILD_OF", "traceID": "t", "spanID": "a"}));
        let has_error =
            |span: &Value| span["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag["key"] == "error"));
        assert_eq!([has_error(&spans[0]), has_error(&spans[1]), has_error(&spans[2])], [true, false, true]);
        assert_eq!(spans[0]["logs"][0]["fields"][1]["value"], "no");
        assert_eq!(shown["processes"], json!({"p1": {"serviceName": "rag", "tags": []}}));
    }

    #[test]
    fn traces_come_in_the_order_they_are_named() {
        let of = |id: &str| Call { trace_id: Some(id.into()), ..call(1, None, None) };
        let ids = ["b", "none", "a", "b"].map(str::to_owned);
        let found: Vec<String> =
            traces(&ids, vec![of("a"), of("b"), of("c")]).into_iter().map(|trace| trace.trace_id).collect();
        assert_eq!(found, ["b", "a"]);
    }
}
