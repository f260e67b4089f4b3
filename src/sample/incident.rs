//! What can go wrong in generated traffic, whom it hits, and what it does to a call.
//!
//! Each kind hits one agent of its own and shows in one field of its own, so a detector can be
//! scored per kind: two agents, the planner and the summarizer, are never hit and must stay quiet.

use std::fmt;
use std::str::FromStr;

use super::world::{
    Agent, CODE_ASSISTANT, RAG_AGENT, RESEARCH_AGENT, SQL_ANALYST, SUPPORT_TRIAGE, TENANTS, Tenant, VOICE_AGENT,
};

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentKind {
    /// The agent's sessions of one tenant repeat a call many times with growing prompts.
    RetryLoop,
    /// The provider swaps the model under a stable name and version.
    ModelReplaced,
    /// Answers lose their ground.
    HallucinationRise,
    /// The provider becomes slow.
    LatencyDegradation,
    /// A wave of prompts that the guardrail blocks.
    GuardrailSurge,
    /// Prompts grow to the model's window and beyond it.
    ContextOverflow,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::RetryLoop,
        Self::ModelReplaced,
        Self::HallucinationRise,
        Self::LatencyDegradation,
        Self::GuardrailSurge,
        Self::ContextOverflow,
    ];

    /// The kind's name, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryLoop => "retry-loop",
            Self::ModelReplaced => "model-replaced",
            Self::HallucinationRise => "hallucination-rise",
            Self::LatencyDegradation => "latency-degradation",
            Self::GuardrailSurge => "guardrail-surge",
            Self::ContextOverflow => "context-overflow",
        }
    }

    /// The agent that this kind hits.
    pub fn agent_id(self) -> &'static str {
        self.agent().id
    }

    /// One sentence that says what happens.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::RetryLoop => {
                "Sessions of tenant-healthcare-001 repeat a failing query with ever longer prompts, \
                 and the agent's cost per hour rises at least fivefold."
            }
            Self::ModelReplaced => {
                "The provider serves another model under the same name and version: longer, faster \
                 and less grounded answers, and a different tokenizer."
            }
            Self::HallucinationRise => {
                "Answers are less grounded in the retrieved context, and the hallucination \
                 probability more than triples."
            }
            Self::LatencyDegradation => {
                "The provider slows down: time to first token and latency are about four times \
                 their usual values."
            }
            Self::GuardrailSurge => {
                "A wave of prompt injections: the guardrail blocks more than a quarter of the \
                 calls."
            }
            Self::ContextOverflow => {
                "Prompts come near the model's context window, and more than a tenth of the calls \
                 exceed it and fail."
            }
        }
    }

    /// A SQL aggregate over `agent_logs` that differs inside the window.
    pub(super) fn query(self) -> &'static str {
        match self {
            Self::RetryLoop => "sum(cost_usd)",
            Self::ModelReplaced => "avg(completion_tokens)",
            Self::HallucinationRise => "avg(hallucination_probability)",
            Self::LatencyDegradation => "avg(ttft_ms)",
            Self::GuardrailSurge => "avg(case when guardrail_status = 'blocked' then 1.0 else 0.0 end)",
            Self::ContextOverflow => "avg(case when error_type = 'context_length_exceeded' then 1.0 else 0.0 end)",
        }
    }

    fn agent(self) -> &'static Agent {
        match self {
            Self::RetryLoop => &SQL_ANALYST,
            Self::ModelReplaced => &RESEARCH_AGENT,
            Self::HallucinationRise => &RAG_AGENT,
            Self::LatencyDegradation => &VOICE_AGENT,
            Self::GuardrailSurge => &SUPPORT_TRIAGE,
            Self::ContextOverflow => &CODE_ASSISTANT,
        }
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for IncidentKind {
    type Err = UnknownIncident;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownIncident { name: name.to_owned() })
    }
}

/// A name that is no kind of incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownIncident {
    name: String,
}

impl fmt::Display for UnknownIncident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = IncidentKind::ALL.map(IncidentKind::name).join(", ");
        write!(f, "unknown incident {:?}; known are {names}", self.name)
    }
}

impl std::error::Error for UnknownIncident {}

/// One kind of trouble in one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// What goes wrong.
    pub kind: IncidentKind,
    /// The first affected moment, µs since the epoch.
    pub start_us: i64,
    /// The first moment that is not affected any more, µs since the epoch.
    pub end_us: i64,
}

impl Incident {
    fn covers(&self, time_us: i64) -> bool {
        self.start_us <= time_us && time_us < self.end_us
    }
}

/// What the incidents do to one agent's call at one moment. The default is a quiet world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) looping: bool,
    pub(super) replaced: bool,
    pub(super) hallucinating: bool,
    pub(super) slow: bool,
    pub(super) attacked: bool,
    pub(super) overflowing: bool,
}

impl Effects {
    /// What holds for a call of this agent and tenant at this time.
    pub(super) fn at(incidents: &[Incident], agent: &'static Agent, tenant: &'static Tenant, time_us: i64) -> Self {
        let mut effects = Self::default();
        for incident in incidents.iter().filter(|incident| incident.covers(time_us)) {
            if !std::ptr::eq(incident.kind.agent(), agent) {
                continue;
            }
            match incident.kind {
                IncidentKind::RetryLoop => effects.looping = std::ptr::eq(tenant, &TENANTS[0].0),
                IncidentKind::ModelReplaced => effects.replaced = true,
                IncidentKind::HallucinationRise => effects.hallucinating = true,
                IncidentKind::LatencyDegradation => effects.slow = true,
                IncidentKind::GuardrailSurge => effects.attacked = true,
                IncidentKind::ContextOverflow => effects.overflowing = true,
            }
        }
        effects
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for kind in IncidentKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "retry-lop".parse::<IncidentKind>().unwrap_err();
        assert!(error.to_string().starts_with(r#"unknown incident "retry-lop"; known are retry-loop, "#));
    }

    #[test]
    fn every_kind_hits_an_agent_of_its_own() {
        let mut agents = IncidentKind::ALL.map(IncidentKind::agent_id);
        agents.sort_unstable();
        assert!(agents.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
