//! One session: a person and an agent, turn by turn, call by call.
//!
//! A session owns its random stream, so an incident changes only the sessions that it hits and
//! leaves every other line of a plan as it was. It knows nothing of other sessions.
//!
//! A turn is one trace. Its first call is the root; a planner's root is followed by the calls of
//! other agents, one after the other, with the root as their parent. A failed call is tried again
//! up to three times.

use super::call::{Call, Ending, Failure, Guardrail, Ids, Quality, Reason, Retrieval, Share, Timing, ToolCall, Tools};
use super::incident::{Effects, Incident};
use super::random::{Random, exp, ln, mix};
use super::world::{Agent, ENVIRONMENTS, Experiment, Model, Tenant};

/// Probability that a first attempt fails, and that another attempt does.
const FAILURE: f64 = 0.0054;
const FAILURE_AGAIN: f64 = 0.15;
const RETRIES_MAX: u8 = 3;

/// Kinds of failures and their weights; the last can't be tried again.
const FAILURES: [(Failure, u32); 5] = [
    (Failure::Timeout, 25),
    (Failure::RateLimit, 33),
    (Failure::Tool, 20),
    (Failure::Provider, 18),
    (Failure::ContextLength { requested_tokens: 0 }, 4),
];
const RETRYABLE: f64 = 0.96;

const BLOCKED: f64 = 0.015;
const ESCALATED: f64 = 0.005;
const BLOCKED_UNDER_ATTACK: f64 = 0.42;

/// Part of a token score's variance that a whole session shares.
const SESSION_VARIANCE: f64 = 0.3;

const REPLIES_WITH_SATISFACTION: f64 = 0.08;
const THINK_SIGMA: f64 = 1.0;
const THINK_MAX_S: f64 = 1200.0;

/// The mean number of attempts that one call takes.
pub(super) fn attempts_mean() -> f64 {
    let again = RETRYABLE * FAILURE_AGAIN;
    1.0 + RETRYABLE * FAILURE * (1.0 + again + again * again)
}

/// A session that is under way.
#[derive(Debug)]
pub(super) struct Session {
    random: Random,
    tenant: &'static Tenant,
    agent: &'static Agent,
    environment: &'static str,
    id: u64,
    user: u64,
    prompt_score: f64,
    completion_score: f64,
    turns_left: u16,
    is_first_turn: bool,
    turn: Turn,
    step: Step,
}

/// A question and all the calls that answer it.
#[derive(Debug)]
struct Turn {
    trace: [u64; 2],
    correlation: u64,
    root_span: u64,
    delegates_left: u8,
}

/// What one agent is asked to do in a turn: one call, or several if it fails or loops.
#[derive(Debug)]
struct Step {
    agent: &'static Agent,
    model: &'static Model,
    task: &'static str,
    is_root: bool,
    prompt_tokens: f64,
    completion_tokens: f64,
    attempt: u8,
    /// Set once the step is caught in a loop.
    repeats_left: Option<u8>,
    repeats: u8,
}

impl Session {
    /// A session of a tenant's person with an agent.
    pub(super) fn new(mut random: Random, tenant: &'static Tenant, agent: &'static Agent, turns: u16) -> Self {
        let user = draw_user(&mut random, tenant);
        let environment = random.pick(&ENVIRONMENTS);
        let id = random.bits();
        let scores = (random.normal(), random.normal());
        let turn = Turn::new(&mut random, agent);
        let step = Step::new(&mut random, agent, scores, true);
        Self {
            random,
            tenant,
            agent,
            environment,
            id,
            user,
            prompt_score: scores.0,
            completion_score: scores.1,
            turns_left: turns.max(1),
            is_first_turn: true,
            turn,
            step,
        }
    }

    /// The call that is due now, and the time of the next, if there is one.
    pub(super) fn next_call(&mut self, now_us: i64, incidents: &[Incident]) -> (Call, Option<i64>) {
        let effects = Effects::at(incidents, self.step.agent, self.tenant, now_us);
        let mut call = self.draw_call(now_us, effects);
        let next_us = self.advance(&call, effects);
        if next_us.is_none() {
            call.ending = Some(Ending {
                completed: call.failure.is_none() && self.random.chance(self.agent.completes),
                escalated: self.random.chance(self.agent.escalates),
            });
        }
        (call, next_us)
    }

    fn draw_call(&mut self, now_us: i64, effects: Effects) -> Call {
        let Self { random, step, turn, .. } = self;
        let Step { agent, model, .. } = *step;
        let treated = agent.experiment.is_some_and(|experiment| is_treated(experiment, self.user));
        let improved = treated && agent.experiment.is_some_and(|experiment| experiment.works);

        let outcome = Outcome::draw(random, step, effects, improved);
        let Outcome { failure, guardrail, prompt_tokens, completion_tokens } = outcome;
        let tools = match outcome.was_answered() {
            true => draw_tools(random, agent, effects.looping || failure == Some(Failure::Tool)),
            false => Tools::default(),
        };
        let cached_tokens = if self.is_first_turn || !random.chance(0.8) {
            0
        } else {
            (f64::from(prompt_tokens) * agent.cached_share * random.between(0.7, 1.0)) as u32
        };
        let reasoning_tokens = if model.reasons && !outcome.is_blocked() {
            (f64::from(completion_tokens) * random.between(0.3, 0.75)) as u32
        } else {
            0
        };
        let timing = match failure {
            Some(failure) if !failure.has_answer() => draw_failed_timing(random, failure),
            _ => draw_timing(random, model, (prompt_tokens, completion_tokens), effects),
        };
        let quality =
            (failure.is_none() && !outcome.is_blocked()).then(|| draw_quality(random, agent, effects, improved));
        let user_satisfaction = quality
            .filter(|_| random.chance(REPLIES_WITH_SATISFACTION))
            .map(|(_, liked)| Share::new(liked + 0.12 * random.normal() + f64::from(improved) * 0.05));
        let span = random.bits();
        if step.is_root && step.attempt == 0 && step.repeats == 0 {
            turn.root_span = span;
        }
        Call {
            timestamp_us: now_us,
            agent,
            model,
            tenant: self.tenant,
            environment: self.environment,
            task: step.task,
            ids: Ids {
                request: random.bits(),
                session: self.id,
                correlation: turn.correlation,
                trace: turn.trace,
                span,
                parent_span: (!step.is_root).then_some(turn.root_span),
                user: self.user,
            },
            treated,
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            reasoning_tokens,
            timing,
            guardrail,
            tools,
            retrieval: (agent.retrieves && !outcome.is_blocked()).then(|| draw_retrieval(random)),
            quality: quality.map(|(quality, _)| quality),
            user_satisfaction,
            ending: None,
            truncated: random.chance(0.012),
            failure,
            retry_count: u32::from(step.repeats) + u32::from(step.attempt),
        }
    }

    /// Moves on to what follows a call and says when it happens.
    fn advance(&mut self, call: &Call, effects: Effects) -> Option<i64> {
        let Self { random, step, turn, .. } = self;
        let end_us = call.timestamp_us + i64::from(call.timing.latency_ms) * 1000;
        let after = |seconds: f64| Some(end_us + (seconds * 1e6) as i64);

        if call.failure.is_some_and(Failure::is_retryable) && step.attempt < RETRIES_MAX {
            step.attempt += 1;
            let backoff_s = 0.3 * f64::from(1u32 << step.attempt);
            return after(backoff_s * random.between(0.8, 1.2));
        }
        if effects.looping {
            let left = *step.repeats_left.get_or_insert_with(|| 13 + random.below(8) as u8);
            if left > 0 {
                step.repeats_left = Some(left - 1);
                step.repeats += 1;
                step.attempt = 0;
                return after(random.between(0.5, 2.5));
            }
        }
        let scores = (self.prompt_score, self.completion_score);
        if turn.delegates_left > 0 && call.failure.is_none() {
            turn.delegates_left -= 1;
            let delegate = random.pick(self.agent.delegates);
            *step = Step::new(random, delegate, scores, false);
            return after(random.between(0.005, 0.06));
        }
        self.turns_left -= 1;
        if self.turns_left == 0 {
            return None;
        }
        self.is_first_turn = false;
        *turn = Turn::new(random, self.agent);
        *step = Step::new(random, self.agent, scores, true);
        after(random.log_normal(self.agent.think_s, THINK_SIGMA).min(THINK_MAX_S))
    }
}

impl Turn {
    fn new(random: &mut Random, agent: &'static Agent) -> Self {
        Self {
            trace: [random.bits(), random.bits()],
            correlation: random.bits(),
            root_span: 0,
            delegates_left: random.pick(agent.delegate_counts),
        }
    }
}

impl Step {
    fn new(
        random: &mut Random,
        agent: &'static Agent,
        (prompt_score, completion_score): (f64, f64),
        is_root: bool,
    ) -> Self {
        let (shared, own) = (SESSION_VARIANCE.sqrt(), (1.0 - SESSION_VARIANCE).sqrt());
        let (prompt_tokens, completion_tokens) = agent
            .tokens
            .tokens(shared * prompt_score + own * random.normal(), shared * completion_score + own * random.normal());
        Self {
            agent,
            model: random.pick(agent.models),
            task: random.pick(agent.tasks),
            is_root,
            prompt_tokens: prompt_tokens * agent.prompt_scale,
            completion_tokens: completion_tokens * agent.completion_scale,
            attempt: 0,
            repeats_left: None,
            repeats: 0,
        }
    }

    /// The tokens that this attempt would use.
    fn usage(&self, random: &mut Random, effects: Effects, improved: bool) -> (u32, u32) {
        let window = f64::from(self.model.window_tokens);
        let (mut prompt, mut completion) = (self.prompt_tokens, self.completion_tokens);
        if improved {
            completion *= 0.8;
        }
        if effects.replaced {
            prompt *= 1.15;
            completion *= 1.8;
        }
        if effects.looping {
            prompt = (prompt * (1.0 + 0.15 * f64::from(self.repeats))).min(0.95 * window);
        }
        if effects.overflowing {
            prompt = window * random.between(0.85, 1.06);
        }
        (prompt.round().max(1.0) as u32, completion.round().max(1.0) as u32)
    }
}

/// How an attempt went, and the tokens that the provider reports for it.
struct Outcome {
    failure: Option<Failure>,
    guardrail: Guardrail,
    prompt_tokens: u32,
    completion_tokens: u32,
}

impl Outcome {
    fn draw(random: &mut Random, step: &Step, effects: Effects, improved: bool) -> Self {
        let (prompt_tokens, completion_tokens) = step.usage(random, effects, improved);
        let failure = draw_failure(random, step, prompt_tokens);
        let guardrail = match failure {
            None => draw_guardrail(random, effects),
            Some(_) => Guardrail::Passed,
        };
        let (prompt_tokens, completion_tokens) = match (failure, guardrail) {
            (Some(failure), _) if !failure.has_answer() => (0, 0),
            (_, Guardrail::Blocked(_)) => (prompt_tokens, 14 + random.below(30)),
            _ => (prompt_tokens, completion_tokens),
        };
        Self { failure, guardrail, prompt_tokens, completion_tokens }
    }

    fn is_blocked(&self) -> bool {
        matches!(self.guardrail, Guardrail::Blocked(_))
    }

    fn was_answered(&self) -> bool {
        !self.is_blocked() && self.failure.is_none_or(Failure::has_answer)
    }
}

/// A person of the tenant, by Zipf's law: the rank is exp(u ln n). People don't depend on the seed,
/// so that plans for other days are about the same people.
fn draw_user(random: &mut Random, tenant: &'static Tenant) -> u64 {
    let people = f64::from(tenant.users + 1);
    let rank = exp(random.uniform() * ln(people)) as u64;
    let number = tenant.id.bytes().fold(rank, |hash, byte| mix(hash ^ u64::from(byte)));
    mix(number)
}

/// Half of the people are treated, always the same ones per experiment.
fn is_treated(experiment: &Experiment, user: u64) -> bool {
    let hash = experiment.id.bytes().fold(user, |hash, byte| mix(hash ^ u64::from(byte)));
    hash & 1 == 1
}

fn draw_failure(random: &mut Random, step: &Step, prompt_tokens: u32) -> Option<Failure> {
    let window = step.model.window_tokens;
    if prompt_tokens > window {
        return Some(Failure::ContextLength { requested_tokens: prompt_tokens });
    }
    let probability = if step.attempt == 0 { FAILURE } else { FAILURE_AGAIN };
    if !random.chance(probability) {
        return None;
    }
    Some(match random.pick(&FAILURES) {
        Failure::ContextLength { .. } => {
            let requested = f64::from(window) * random.between(1.001, 1.2);
            Failure::ContextLength { requested_tokens: requested as u32 }
        }
        Failure::Tool if step.agent.tools.is_empty() => Failure::Provider,
        failure => failure,
    })
}

fn draw_guardrail(random: &mut Random, effects: Effects) -> Guardrail {
    let blocked = if effects.attacked { BLOCKED_UNDER_ATTACK } else { BLOCKED };
    let draw = random.uniform();
    if draw > blocked + ESCALATED {
        return Guardrail::Passed;
    }
    let injections = if effects.attacked { 600 } else { 30 };
    let reason = random.pick(&[
        (Reason::PromptInjection, injections),
        (Reason::Pii, 28),
        (Reason::OffTopic, 30),
        (Reason::Toxicity, 12),
    ]);
    if draw < blocked { Guardrail::Blocked(reason) } else { Guardrail::Escalated(reason) }
}

fn draw_tools(random: &mut Random, agent: &'static Agent, last_fails: bool) -> Tools {
    let mut tools = Tools::default();
    if agent.tools.is_empty() {
        return tools;
    }
    let count = random.pick(agent.tool_counts).max(u8::from(last_fails));
    for _ in 0..count {
        let tool = random.pick(agent.tools);
        let latency_ms = random.log_normal(tool.latency_ms, 0.45).round().max(1.0) as u32;
        tools.push(ToolCall { tool, latency_ms, failed: random.chance(0.01) });
    }
    if last_fails {
        tools.fail_last();
    }
    tools
}

fn draw_retrieval(random: &mut Random) -> Retrieval {
    Retrieval {
        chunks: 3 + random.below(6),
        similarity: Share::new(1.0 - 0.1 * random.gamma(1.5)),
        latency_ms: random.log_normal(130.0, 0.4).round() as u32,
    }
}

fn draw_timing(
    random: &mut Random,
    model: &'static Model,
    (prompt_tokens, completion_tokens): (u32, u32),
    effects: Effects,
) -> Timing {
    let slowness = if effects.slow { 4.0 } else { 1.0 };
    let (ttft_factor, speed_factor) = if effects.replaced { (0.45, 2.4) } else { (1.0, 1.0) };
    let queue_wait_ms = random.log_normal(12.0, 0.7) * slowness;
    let reading = 1.0 + f64::from(prompt_tokens) / 40_000.0;
    let ttft_ms = random.log_normal(model.ttft_ms, 0.35) * reading * ttft_factor * slowness;
    let tokens_per_s = random.log_normal(model.tokens_per_s, 0.22) * speed_factor / slowness;
    let writing_ms = f64::from(completion_tokens) / tokens_per_s * 1000.0;
    Timing {
        queue_wait_ms: queue_wait_ms.round() as u32,
        ttft_ms: Some(ttft_ms.round() as u32),
        latency_ms: (queue_wait_ms + ttft_ms + writing_ms).round() as u32,
    }
}

fn draw_failed_timing(random: &mut Random, failure: Failure) -> Timing {
    let queue_wait_ms = random.log_normal(12.0, 0.7);
    let waited_ms = match failure {
        Failure::Timeout => 30_000.0 + random.between(0.0, 40.0),
        Failure::RateLimit => random.log_normal(60.0, 0.3),
        Failure::ContextLength { .. } => random.log_normal(140.0, 0.3),
        Failure::Tool | Failure::Provider => random.log_normal(900.0, 0.8),
    };
    Timing {
        queue_wait_ms: queue_wait_ms.round() as u32,
        ttft_ms: None,
        latency_ms: (queue_wait_ms + waited_ms).round() as u32,
    }
}

/// The scores of an answer, and how much people like such an answer on average.
fn draw_quality(random: &mut Random, agent: &'static Agent, effects: Effects, improved: bool) -> (Quality, f64) {
    let mut shapes = agent.quality;
    if effects.replaced {
        shapes.hallucination *= 2.2;
        shapes.miss *= 1.7;
    }
    if effects.hallucinating {
        shapes.hallucination *= 4.5;
        shapes.miss *= 2.2;
    }
    if improved {
        shapes.relevance *= 1.3;
    }
    let invented = random.gamma(shapes.hallucination);
    let support = random.gamma(shapes.support);
    let miss = random.gamma(shapes.miss);
    let relevant = random.gamma(shapes.relevance);
    let hallucination = invented / (invented + support);
    let groundedness = support / (support + miss);
    let relevance = relevant / (relevant + miss);
    let quality = Quality {
        groundedness: Share::new(groundedness),
        hallucination: Share::new(hallucination),
        relevance: Share::new(relevance),
    };
    (quality, 0.15 + 0.45 * relevance + 0.3 * groundedness - 0.5 * hallucination)
}
