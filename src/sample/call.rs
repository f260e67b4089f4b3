//! One generated call and its line of JSON, in the standard record.
//!
//! All text comes from constants without characters that JSON would escape, so lines are copied
//! together rather than serialized. Never reads a clock or a random number.

use super::{
    line::Line,
    world::{Agent, Model, Tenant, Tool},
};

/// One call of a model, ready to be written.
///
/// Usage is what the provider reports: a call that it refused, or that never returned, used no
/// tokens and cost nothing. So cost is always tokens times price.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) timestamp_us: i64,
    pub(super) agent: &'static Agent,
    pub(super) model: &'static Model,
    pub(super) tenant: &'static Tenant,
    pub(super) environment: &'static str,
    pub(super) task: &'static str,
    pub(super) ids: Ids,
    pub(super) treated: bool,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    pub(super) cached_tokens: u32,
    pub(super) reasoning_tokens: u32,
    pub(super) timing: Timing,
    pub(super) guardrail: Guardrail,
    pub(super) tools: Tools,
    pub(super) retrieval: Option<Retrieval>,
    pub(super) quality: Option<Quality>,
    pub(super) user_satisfaction: Option<Share>,
    pub(super) ending: Option<Ending>,
    pub(super) truncated: bool,
    pub(super) failure: Option<Failure>,
    pub(super) retry_count: u32,
}

impl Call {
    /// When the call began, µs since the epoch.
    pub fn timestamp_us(&self) -> i64 {
        self.timestamp_us
    }

    /// Appends the call as one line of JSON with its line feed.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(2048);
        let mut line = Line(out);
        self.write_identity(&mut line);
        self.write_usage(&mut line);
        self.write_guardrail(&mut line);
        self.write_tools(&mut line);
        self.write_quality(&mut line);
        self.write_outcome(&mut line);
    }

    /// The cost in units of 1e-8 dollars.
    pub(super) fn cost_e8(&self) -> u64 {
        let price = &self.model.price;
        let fresh = u64::from(self.prompt_tokens - self.cached_tokens);
        let nano_dollars = fresh * price.input
            + u64::from(self.cached_tokens) * price.cached
            + u64::from(self.completion_tokens) * price.output;
        (nano_dollars + 5) / 10
    }

    pub(super) fn level(&self) -> &'static str {
        match (self.failure, self.guardrail) {
            (Some(_), _) => "ERROR",
            (None, Guardrail::Passed) => "INFO",
            (None, _) => "WARN",
        }
    }

    fn finish_reason(&self) -> &'static str {
        match (self.failure, self.guardrail) {
            (Some(_), _) => "error",
            (None, Guardrail::Blocked(_)) => "content_filter",
            (None, _) if self.truncated => "length",
            (None, _) if self.tools.count > 0 && self.ending.is_none() => "tool_calls",
            (None, _) => "stop",
        }
    }

    fn write_identity(&self, line: &mut Line<'_>) {
        let (agent, ids) = (self.agent, &self.ids);
        line.text(r#"{"timestamp":""#);
        line.timestamp(self.timestamp_us);
        line.text(r#"","level":""#);
        line.text(self.level());
        line.text(r#"","service":""#);
        line.text(agent.service);
        line.text(r#"","version":""#);
        line.text(agent.version);
        line.text(r#"","environment":""#);
        line.text(self.environment);
        line.text(r#"","request_id":"req-"#);
        line.grouped(ids.request);
        line.text(r#"","session_id":"sess-"#);
        line.grouped(ids.session);
        line.text(r#"","correlation_id":"corr-"#);
        line.grouped(ids.correlation);
        line.text(r#"","trace_id":""#);
        line.hex(ids.trace[0]);
        line.hex(ids.trace[1]);
        line.text(r#"","span_id":""#);
        line.hex(ids.span);
        if let Some(parent) = ids.parent_span {
            line.text(r#"","parent_span_id":""#);
            line.hex(parent);
        }
        line.text(r#"","agent_id":""#);
        line.text(agent.id);
        line.text(r#"","tenant_id":""#);
        line.text(self.tenant.id);
        line.text(r#"","user_id":"user-hashed-"#);
        line.base36(ids.user);
        line.text(r#"","provider":""#);
        line.text(self.model.provider);
        line.text(r#"","model":""#);
        line.text(self.model.name);
        line.text(r#"","model_version":""#);
        line.text(self.model.version);
        line.text(r#"","operation":""#);
        line.text(agent.operation);
        line.text(r#"","task_type":""#);
        line.text(self.task);
        line.text(r#"","prompt_version":""#);
        line.text(agent.prompt_version);
        if let Some(experiment) = agent.experiment {
            line.text(r#"","experiment_id":""#);
            line.text(experiment.id);
            line.text(r#"","variant":""#);
            line.text(if self.treated { "treatment" } else { "control" });
        }
    }

    fn write_usage(&self, line: &mut Line<'_>) {
        line.text(r#"","prompt_tokens":"#);
        line.number(self.prompt_tokens.into());
        line.text(r#","completion_tokens":"#);
        line.number(self.completion_tokens.into());
        line.text(r#","total_tokens":"#);
        line.number(u64::from(self.prompt_tokens) + u64::from(self.completion_tokens));
        if self.cached_tokens > 0 {
            line.text(r#","cache_read_tokens":"#);
            line.number(self.cached_tokens.into());
        }
        if self.reasoning_tokens > 0 {
            line.text(r#","reasoning_tokens":"#);
            line.number(self.reasoning_tokens.into());
        }
        line.text(r#","cost_usd":"#);
        line.decimal(self.cost_e8(), 8);
        line.text(r#","latency_ms":"#);
        line.number(self.timing.latency_ms.into());
        line.text(r#","ttft_ms":"#);
        match self.timing.ttft_ms {
            Some(ttft_ms) => line.number(ttft_ms.into()),
            None => line.text("null"),
        }
        line.text(r#","queue_wait_ms":"#);
        line.number(self.timing.queue_wait_ms.into());
    }

    fn write_guardrail(&self, line: &mut Line<'_>) {
        let (status, reason) = match self.guardrail {
            Guardrail::Passed => ("passed", None),
            Guardrail::Blocked(reason) => ("blocked", Some(reason)),
            Guardrail::Escalated(reason) => ("escalated", Some(reason)),
        };
        line.text(r#","guardrail_status":""#);
        line.text(status);
        if let Some(reason) = reason {
            line.text(r#"","guardrail_reason":""#);
            line.text(reason.name());
        }
        let checks = [
            (r#"","guardrail_checks":{"prompt_injection":""#, Reason::PromptInjection, "clean", "detected"),
            (r#"","pii_detection":""#, Reason::Pii, "no_pii", "pii_found"),
            (r#"","topic_filter":""#, Reason::OffTopic, "in_scope", "out_of_scope"),
            (r#"","toxicity":""#, Reason::Toxicity, "clean", "toxic"),
        ];
        for (key, check, clean, found) in checks {
            line.text(key);
            line.text(if reason == Some(check) { found } else { clean });
        }
        line.text(r#""}"#);
    }

    fn write_tools(&self, line: &mut Line<'_>) {
        line.text(r#","tool_calls":["#);
        for (index, call) in self.tools.iter().enumerate() {
            line.text(if index == 0 { r#"{"name":""# } else { r#",{"name":""# });
            line.text(call.tool.name);
            line.text(r#"","latency_ms":"#);
            line.number(call.latency_ms.into());
            line.text(if call.failed { r#","status":"error"}"# } else { r#","status":"success"}"# });
        }
        line.text(r#"],"rag_context":"#);
        let Some(retrieval) = &self.retrieval else {
            line.text("null");
            return;
        };
        line.text(r#"{"chunks_retrieved":"#);
        line.number(retrieval.chunks.into());
        line.text(r#","top_similarity_score":"#);
        line.share(retrieval.similarity);
        line.text(r#","retrieval_latency_ms":"#);
        line.number(retrieval.latency_ms.into());
        line.text("}");
    }

    fn write_quality(&self, line: &mut Line<'_>) {
        match &self.quality {
            Some(quality) => {
                line.text(r#","quality_scores":{"groundedness":"#);
                line.share(quality.groundedness);
                line.text(r#","hallucination_probability":"#);
                line.share(quality.hallucination);
                line.text(r#","relevance":"#);
                line.share(quality.relevance);
                line.text("}");
            }
            None => line.text(r#","quality_scores":null"#),
        }
        if let Some(satisfaction) = self.user_satisfaction {
            line.text(r#","user_satisfaction":"#);
            line.share(satisfaction);
        }
        if let Some(ending) = self.ending {
            line.text(r#","task_completed":"#);
            line.flag(ending.completed);
        }
        if self.ending.is_some() || matches!(self.guardrail, Guardrail::Escalated(_)) {
            line.text(r#","escalated":"#);
            line.flag(self.escalated());
        }
    }

    fn escalated(&self) -> bool {
        matches!(self.guardrail, Guardrail::Escalated(_)) || self.ending.is_some_and(|ending| ending.escalated)
    }

    fn write_outcome(&self, line: &mut Line<'_>) {
        line.text(r#","finish_reason":""#);
        line.text(self.finish_reason());
        match self.failure {
            Some(failure) => {
                line.text(r#"","error":""#);
                self.write_error(failure, line);
                line.text(r#"","error_type":""#);
                line.text(failure.name());
                line.text(r#"","http_status":"#);
                line.number(failure.http_status());
            }
            None => line.text(r#"","error":null,"error_type":null"#),
        }
        line.text(r#","retry_count":"#);
        line.number(self.retry_count.into());
        line.text("}\n");
    }

    fn write_error(&self, failure: Failure, line: &mut Line<'_>) {
        match failure {
            Failure::Timeout => line.text("request timed out after 30000 ms"),
            Failure::RateLimit => {
                line.text("rate limit reached for ");
                line.text(self.model.name);
                line.text(": tokens per minute");
            }
            Failure::ContextLength { requested_tokens } => {
                line.text("maximum context length is ");
                line.number(self.model.window_tokens.into());
                line.text(" tokens, but the messages have ");
                line.number(requested_tokens.into());
            }
            Failure::Tool => {
                line.text("tool failed: ");
                line.text(self.tools.iter().find(|call| call.failed).map_or("none", |call| call.tool.name));
            }
            Failure::Provider => {
                line.text(self.model.provider);
                line.text(" is temporarily overloaded");
            }
        }
    }
}

/// What tells a call from others.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    pub(super) request: u64,
    pub(super) session: u64,
    pub(super) correlation: u64,
    pub(super) trace: [u64; 2],
    pub(super) span: u64,
    pub(super) parent_span: Option<u64>,
    pub(super) user: u64,
}

/// How long a call took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) queue_wait_ms: u32,
    /// Absent if no token ever came.
    pub(super) ttft_ms: Option<u32>,
    pub(super) latency_ms: u32,
}

/// What the guardrail decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guardrail {
    Passed,
    Blocked(Reason),
    Escalated(Reason),
}

/// Why the guardrail stepped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    PromptInjection,
    Pii,
    Toxicity,
    OffTopic,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::PromptInjection => "prompt_injection",
            Self::Pii => "pii",
            Self::Toxicity => "toxicity",
            Self::OffTopic => "off_topic",
        }
    }
}

/// Up to three tool calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tools {
    calls: [Option<ToolCall>; 3],
    count: u8,
}

impl Tools {
    /// Adds a call; a fourth is dropped.
    pub(super) fn push(&mut self, call: ToolCall) {
        if let Some(free) = self.calls.get_mut(usize::from(self.count)) {
            *free = Some(call);
            self.count += 1;
        }
    }

    /// Marks the last call as failed.
    pub(super) fn fail_last(&mut self) {
        if let Some(call) = self.calls.iter_mut().flatten().last() {
            call.failed = true;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &ToolCall> {
        self.calls.iter().flatten()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ToolCall {
    pub(super) tool: &'static Tool,
    pub(super) latency_ms: u32,
    pub(super) failed: bool,
}

/// What was found before the call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retrieval {
    pub(super) chunks: u32,
    pub(super) similarity: Share,
    pub(super) latency_ms: u32,
}

/// How good the answer was judged to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    pub(super) groundedness: Share,
    pub(super) hallucination: Share,
    pub(super) relevance: Share,
}

/// How a session ended; only its last call has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) completed: bool,
    pub(super) escalated: bool,
}

/// A number from 0 to 1 in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(pub(super) u16);

impl Share {
    /// The nearest share; what lies outside is held at the ends.
    pub(super) fn new(value: f64) -> Self {
        Self((value.clamp(0.0, 1.0) * 10_000.0).round() as u16)
    }

    #[cfg(test)]
    pub(super) fn value(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Timeout,
    RateLimit,
    ContextLength { requested_tokens: u32 },
    Tool,
    Provider,
}

impl Failure {
    /// Whether another attempt may help.
    pub(super) fn is_retryable(self) -> bool {
        !matches!(self, Self::ContextLength { .. })
    }

    /// Whether the model answered before the failure.
    pub(super) fn has_answer(self) -> bool {
        self == Self::Tool
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::ContextLength { .. } => "context_length_exceeded",
            Self::Tool => "tool_error",
            Self::Provider => "provider_error",
        }
    }

    fn http_status(self) -> u64 {
        match self {
            Self::Timeout => 504,
            Self::RateLimit => 429,
            Self::ContextLength { .. } => 400,
            Self::Tool => 502,
            Self::Provider => 503,
        }
    }
}
