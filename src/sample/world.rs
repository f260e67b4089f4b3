//! The invented company behind generated traffic: its tenants, agents, models and tools.
//!
//! Everything here is sample data. The model names are real so that price look-ups find them, and
//! the prices look like list prices, but **this is not a price list**: it only says what the
//! invented client was billed. The product's price list lives elsewhere and never reads this.

use super::tokens::{CHAT, CODE, LONG_CONTEXT, TokenTable};

/// A customer.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: &'static str,
    /// Number of people who use the agents.
    pub(super) users: u32,
    /// Where they work, as hours east of UTC.
    pub(super) utc_offset_hours: i64,
}

const fn tenant(id: &'static str, users: u32, utc_offset_hours: i64) -> Tenant {
    Tenant { id, users, utc_offset_hours }
}

/// The customers and their shares of the sessions, which follow Zipf's law with exponent 1.
pub(super) static TENANTS: [(Tenant, u32); 6] = [
    (tenant("tenant-healthcare-001", 1800, 1), 60),
    (tenant("tenant-finance-002", 1100, 1), 30),
    (tenant("tenant-retail-003", 800, 0), 20),
    (tenant("tenant-logistics-004", 600, -5), 15),
    (tenant("tenant-education-005", 500, 1), 12),
    (tenant("tenant-gaming-006", 400, -5), 10),
];

/// Where sessions run, with their shares in percent.
pub(super) static ENVIRONMENTS: [(&str, u32); 3] = [("production", 93), ("staging", 5), ("development", 2)];

/// A model as the provider sells it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) provider: &'static str,
    pub(super) price: Price,
    /// The context window.
    pub(super) window_tokens: u32,
    /// Median time to the first token of a short prompt.
    pub(super) ttft_ms: f64,
    /// Median speed after it.
    pub(super) tokens_per_s: f64,
    /// Whether part of the completion is reasoning.
    pub(super) reasons: bool,
}

/// Sample prices in nano-dollars per token, that is, thousandths of a dollar per million tokens.
#[derive(Debug)]
pub(super) struct Price {
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
}

const fn price(input: u64, cached: u64, output: u64) -> Price {
    Price { input, cached, output }
}

static GPT_4O: Model = Model {
    name: "gpt-4o",
    version: "2024-11-20",
    provider: "openai",
    price: price(2_500, 1_250, 10_000),
    window_tokens: 128_000,
    ttft_ms: 380.0,
    tokens_per_s: 95.0,
    reasons: false,
};

static GPT_4O_MINI: Model = Model {
    name: "gpt-4o-mini",
    version: "2024-07-18",
    provider: "openai",
    price: price(150, 75, 600),
    window_tokens: 128_000,
    ttft_ms: 290.0,
    tokens_per_s: 130.0,
    reasons: false,
};

static O4_MINI: Model = Model {
    name: "o4-mini",
    version: "2025-04-16",
    provider: "openai",
    price: price(1_100, 275, 4_400),
    window_tokens: 200_000,
    ttft_ms: 2_400.0,
    tokens_per_s: 140.0,
    reasons: true,
};

static CLAUDE_SONNET_4: Model = Model {
    name: "claude-sonnet-4",
    version: "20250514",
    provider: "anthropic",
    price: price(3_000, 300, 15_000),
    window_tokens: 200_000,
    ttft_ms: 620.0,
    tokens_per_s: 70.0,
    reasons: false,
};

static CLAUDE_3_5_HAIKU: Model = Model {
    name: "claude-3-5-haiku",
    version: "20241022",
    provider: "anthropic",
    price: price(800, 80, 4_000),
    window_tokens: 200_000,
    ttft_ms: 410.0,
    tokens_per_s: 85.0,
    reasons: false,
};

static GEMINI_2_5_PRO: Model = Model {
    name: "gemini-2.5-pro",
    version: "2025-06-17",
    provider: "google",
    price: price(1_250, 125, 10_000),
    window_tokens: 1_048_576,
    ttft_ms: 900.0,
    tokens_per_s: 150.0,
    reasons: true,
};

static LLAMA_3_3_70B: Model = Model {
    name: "llama-3.3-70b-versatile",
    version: "2024-12-06",
    provider: "groq",
    price: price(590, 590, 790),
    window_tokens: 131_072,
    ttft_ms: 140.0,
    tokens_per_s: 270.0,
    reasons: false,
};

/// One of the functions an agent can call.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// Median.
    pub(super) latency_ms: f64,
}

const fn tool(name: &'static str, latency_ms: f64) -> Tool {
    Tool { name, latency_ms }
}

/// Shapes of the gamma variables behind an agent's quality scores; all at least 1.
///
/// With X, S, M, R gamma of these shapes: hallucination = X / (X + S), groundedness = S / (S + M)
/// and relevance = R / (R + M). Each is beta distributed, and they move together as they should.
#[derive(Debug, Clone, Copy)]
pub(super) struct QualityShapes {
    pub(super) hallucination: f64,
    pub(super) support: f64,
    pub(super) miss: f64,
    pub(super) relevance: f64,
}

const fn quality(hallucination: f64, support: f64, miss: f64, relevance: f64) -> QualityShapes {
    QualityShapes { hallucination, support, miss, relevance }
}

/// An experiment that splits an agent's users in two halves.
#[derive(Debug)]
pub(super) struct Experiment {
    pub(super) id: &'static str,
    /// Whether the treatment shortens answers and pleases people; if not, it does nothing.
    pub(super) works: bool,
}

/// An agent and its habits.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: &'static str,
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) operation: &'static str,
    pub(super) prompt_version: &'static str,
    /// The models it uses, with their shares in percent.
    pub(super) models: &'static [(&'static Model, u32)],
    pub(super) tokens: &'static TokenTable,
    pub(super) prompt_scale: f64,
    pub(super) completion_scale: f64,
    /// Part of the prompt that comes from the provider's cache after the first turn.
    pub(super) cached_share: f64,
    pub(super) tasks: &'static [(&'static str, u32)],
    pub(super) tools: &'static [(&'static Tool, u32)],
    /// Weights of 0, 1, 2 and 3 tool calls.
    pub(super) tool_counts: &'static [(u8, u32)],
    /// Whether it retrieves context before it answers.
    pub(super) retrieves: bool,
    pub(super) quality: QualityShapes,
    /// The longest session in turns.
    pub(super) turns_max: u16,
    /// Median time between an answer and the next question.
    pub(super) think_s: f64,
    /// Probability that a session reaches its aim.
    pub(super) completes: f64,
    /// Probability that a session ends with a person.
    pub(super) escalates: f64,
    pub(super) experiment: Option<&'static Experiment>,
    /// Weights of the number of calls that one turn delegates to other agents.
    pub(super) delegate_counts: &'static [(u8, u32)],
    pub(super) delegates: &'static [(&'static Agent, u32)],
}

/// The agents and their shares of the sessions in percent.
pub(super) static AGENTS: [(&Agent, u32); 8] = [
    (&RAG_AGENT, 24),
    (&SUPPORT_TRIAGE, 25),
    (&CODE_ASSISTANT, 16),
    (&SQL_ANALYST, 7),
    (&SUMMARIZER, 8),
    (&PLANNER, 4),
    (&RESEARCH_AGENT, 6),
    (&VOICE_AGENT, 10),
];

static SEARCH_KNOWLEDGE_BASE: Tool = tool("search_knowledge_base", 145.0);
static RERANK: Tool = tool("rerank_documents", 60.0);
static LOOKUP_CUSTOMER: Tool = tool("lookup_customer", 85.0);
static CREATE_TICKET: Tool = tool("create_ticket", 190.0);
static READ_FILE: Tool = tool("read_file", 18.0);
static RUN_TESTS: Tool = tool("run_tests", 4_200.0);
static DESCRIBE_SCHEMA: Tool = tool("describe_schema", 40.0);
static EXECUTE_SQL: Tool = tool("execute_sql", 320.0);
static WEB_SEARCH: Tool = tool("web_search", 640.0);
static FETCH_PAGE: Tool = tool("fetch_page", 480.0);
static DELEGATE_TASK: Tool = tool("delegate_task", 25.0);
static CHECK_CALENDAR: Tool = tool("check_calendar", 110.0);

static EXPERIMENT_RERANK: Experiment = Experiment { id: "exp-rerank-07", works: false };
static EXPERIMENT_BRIEF: Experiment = Experiment { id: "exp-brief-summary-12", works: true };

const NO_TOOLS: &[(u8, u32)] = &[(0, 1)];
const ALONE: &[(u8, u32)] = &[(0, 1)];

pub(super) static RAG_AGENT: Agent = Agent {
    id: "rag_agent_v2",
    service: "rag-agent-service",
    version: "2.1.0",
    operation: "chat_completion",
    prompt_version: "v14",
    models: &[(&GPT_4O, 80), (&CLAUDE_SONNET_4, 20)],
    tokens: &CHAT,
    prompt_scale: 1.7,
    completion_scale: 1.2,
    cached_share: 0.35,
    tasks: &[("question_answering", 80), ("policy_lookup", 20)],
    tools: &[(&SEARCH_KNOWLEDGE_BASE, 75), (&RERANK, 25)],
    tool_counts: &[(1, 85), (2, 12), (3, 3)],
    retrieves: true,
    quality: quality(1.6, 18.0, 2.4, 24.0),
    turns_max: 40,
    think_s: 22.0,
    completes: 0.88,
    escalates: 0.02,
    experiment: Some(&EXPERIMENT_RERANK),
    delegate_counts: ALONE,
    delegates: &[],
};

pub(super) static SUPPORT_TRIAGE: Agent = Agent {
    id: "support_triage",
    service: "support-service",
    version: "1.8.3",
    operation: "chat_completion",
    prompt_version: "v6",
    models: &[(&GPT_4O_MINI, 70), (&CLAUDE_3_5_HAIKU, 30)],
    tokens: &CHAT,
    prompt_scale: 1.0,
    completion_scale: 1.0,
    cached_share: 0.45,
    tasks: &[("classification", 55), ("question_answering", 30), ("routing", 15)],
    tools: &[(&LOOKUP_CUSTOMER, 70), (&CREATE_TICKET, 30)],
    tool_counts: &[(0, 45), (1, 45), (2, 10)],
    retrieves: false,
    quality: quality(2.2, 18.0, 3.0, 22.0),
    turns_max: 30,
    think_s: 30.0,
    completes: 0.81,
    escalates: 0.09,
    experiment: None,
    delegate_counts: ALONE,
    delegates: &[],
};

pub(super) static CODE_ASSISTANT: Agent = Agent {
    id: "code_assistant",
    service: "code-assistant-service",
    version: "4.0.1",
    operation: "text_completion",
    prompt_version: "v31",
    models: &[(&CLAUDE_SONNET_4, 70), (&GPT_4O, 30)],
    tokens: &CODE,
    prompt_scale: 1.0,
    completion_scale: 1.0,
    cached_share: 0.6,
    tasks: &[("code_completion", 85), ("code_review", 15)],
    tools: &[(&READ_FILE, 85), (&RUN_TESTS, 15)],
    tool_counts: &[(0, 60), (1, 30), (2, 8), (3, 2)],
    retrieves: false,
    quality: quality(1.8, 24.0, 2.2, 20.0),
    turns_max: 48,
    think_s: 14.0,
    completes: 0.84,
    escalates: 0.005,
    experiment: None,
    delegate_counts: ALONE,
    delegates: &[],
};

pub(super) static SQL_ANALYST: Agent = Agent {
    id: "sql_analyst",
    service: "analytics-service",
    version: "0.9.7",
    operation: "chat_completion",
    prompt_version: "v9",
    models: &[(&GPT_4O, 60), (&CLAUDE_SONNET_4, 40)],
    tokens: &CHAT,
    prompt_scale: 1.8,
    completion_scale: 0.7,
    cached_share: 0.5,
    tasks: &[("text_to_sql", 75), ("data_explanation", 25)],
    tools: &[(&EXECUTE_SQL, 65), (&DESCRIBE_SCHEMA, 35)],
    tool_counts: &[(1, 60), (2, 30), (3, 10)],
    retrieves: false,
    quality: quality(1.5, 20.0, 2.0, 21.0),
    turns_max: 30,
    think_s: 40.0,
    completes: 0.83,
    escalates: 0.01,
    experiment: None,
    delegate_counts: ALONE,
    delegates: &[],
};

pub(super) static SUMMARIZER: Agent = Agent {
    id: "summarizer",
    service: "summary-service",
    version: "1.2.0",
    operation: "chat_completion",
    prompt_version: "v4",
    models: &[(&CLAUDE_3_5_HAIKU, 60), (&GPT_4O_MINI, 40)],
    tokens: &CHAT,
    prompt_scale: 3.0,
    completion_scale: 0.9,
    cached_share: 0.1,
    tasks: &[("summarization", 100)],
    tools: &[],
    tool_counts: NO_TOOLS,
    retrieves: false,
    quality: quality(1.4, 22.0, 1.8, 23.0),
    turns_max: 16,
    think_s: 35.0,
    completes: 0.95,
    escalates: 0.002,
    experiment: Some(&EXPERIMENT_BRIEF),
    delegate_counts: ALONE,
    delegates: &[],
};

pub(super) static PLANNER: Agent = Agent {
    id: "planner",
    service: "orchestrator",
    version: "3.3.0",
    operation: "chat_completion",
    prompt_version: "v11",
    models: &[(&O4_MINI, 100)],
    tokens: &CHAT,
    prompt_scale: 1.3,
    completion_scale: 2.2,
    cached_share: 0.4,
    tasks: &[("planning", 100)],
    tools: &[(&DELEGATE_TASK, 100)],
    tool_counts: &[(1, 50), (2, 30), (3, 20)],
    retrieves: false,
    quality: quality(1.7, 19.0, 2.2, 20.0),
    turns_max: 16,
    think_s: 60.0,
    completes: 0.86,
    escalates: 0.01,
    experiment: None,
    delegate_counts: &[(1, 25), (2, 25), (3, 25), (4, 25)],
    delegates: &[(&RAG_AGENT, 30), (&SUMMARIZER, 25), (&RESEARCH_AGENT, 15), (&SQL_ANALYST, 15), (&CODE_ASSISTANT, 15)],
};

pub(super) static RESEARCH_AGENT: Agent = Agent {
    id: "research_agent",
    service: "research-service",
    version: "2.4.2",
    operation: "chat_completion",
    prompt_version: "v8",
    models: &[(&GEMINI_2_5_PRO, 100)],
    tokens: &LONG_CONTEXT,
    prompt_scale: 1.0,
    completion_scale: 1.0,
    cached_share: 0.55,
    tasks: &[("research", 70), ("fact_check", 30)],
    tools: &[(&WEB_SEARCH, 60), (&FETCH_PAGE, 40)],
    tool_counts: &[(0, 15), (1, 40), (2, 30), (3, 15)],
    retrieves: true,
    quality: quality(1.9, 21.0, 2.6, 22.0),
    turns_max: 24,
    think_s: 75.0,
    completes: 0.85,
    escalates: 0.005,
    experiment: None,
    delegate_counts: &[(0, 75), (1, 25)],
    delegates: &[(&SUMMARIZER, 100)],
};

pub(super) static VOICE_AGENT: Agent = Agent {
    id: "voice_agent",
    service: "voice-gateway",
    version: "5.1.4",
    operation: "chat_completion",
    prompt_version: "v22",
    models: &[(&LLAMA_3_3_70B, 100)],
    tokens: &CHAT,
    prompt_scale: 0.8,
    completion_scale: 0.4,
    cached_share: 0.0,
    tasks: &[("appointment", 60), ("small_talk", 15), ("question_answering", 25)],
    tools: &[(&CHECK_CALENDAR, 60), (&LOOKUP_CUSTOMER, 40)],
    tool_counts: &[(0, 65), (1, 30), (2, 5)],
    retrieves: false,
    quality: quality(2.4, 19.0, 3.2, 20.0),
    turns_max: 40,
    think_s: 8.0,
    completes: 0.78,
    escalates: 0.06,
    experiment: None,
    delegate_counts: ALONE,
    delegates: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_percentages_and_shapes_suit_the_sampler() {
        let sum = |weights: &mut dyn Iterator<Item = u32>| weights.sum::<u32>();
        assert_eq!(sum(&mut AGENTS.iter().map(|(_, share)| *share)), 100);
        assert_eq!(sum(&mut ENVIRONMENTS.iter().map(|(_, share)| *share)), 100);
        for (agent, _) in AGENTS {
            assert_eq!(sum(&mut agent.models.iter().map(|(_, share)| *share)), 100, "{}", agent.id);
            let QualityShapes { hallucination, support, miss, relevance } = agent.quality;
            assert!([hallucination, support, miss, relevance].iter().all(|shape| *shape >= 1.0));
            let delegates_most = agent.delegate_counts.iter().map(|(count, _)| *count).max();
            assert_eq!(agent.delegates.is_empty(), delegates_most == Some(0), "{}", agent.id);
            let tools_most = agent.tool_counts.iter().map(|(count, _)| *count).max();
            assert_eq!(agent.tools.is_empty(), tools_most == Some(0), "{}", agent.id);
            assert!(tools_most <= Some(3), "a call has room for three");
        }
    }

    #[test]
    fn the_models_that_incidents_change_belong_to_one_agent() {
        for model in [&GEMINI_2_5_PRO, &LLAMA_3_3_70B] {
            let users =
                AGENTS.iter().filter(|(agent, _)| agent.models.iter().any(|(used, _)| std::ptr::eq(*used, model)));
            assert_eq!(users.count(), 1, "{}", model.name);
        }
    }
}
