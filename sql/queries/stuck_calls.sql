-- question: Which calls took far longer than their tokens explain?
-- grain: call
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: deviations_min float = 8 -- only calls so many usual deviations beyond the usual
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the oddest first
-- column: timestamp time -- when the call happened, UTC
-- column: latency_ms ms -- time to the full answer
-- column: usual_ms ms -- median of the model's answers of about as many tokens
-- column: deviations ratio -- how far beyond, in logarithms and in units of their usual deviation
-- column: usual_calls count -- calls that say what is usual
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: completion_tokens tokens -- tokens answered
-- column: reasoning_tokens tokens -- those spent on reasoning
-- column: ttft_ms ms -- time to the first token
-- column: queue_wait_ms ms -- time spent waiting before the request was sent
-- column: finish_reason text -- why the model stopped

-- What is usual is told by the answers of two weeks before the range and of the range itself, for each model and each
-- doubling of the tokens answered. Medians carry it: up to half of the calls may be odd themselves. Fewer than 50 calls
-- say nothing. Failed calls are left out, as they took what their time limit says.
with answers as (
  select
    timestamp,
    tenant_id,
    agent_id,
    model,
    request_id,
    session_id,
    trace_id,
    latency_ms,
    completion_tokens,
    reasoning_tokens,
    ttft_ms,
    queue_wait_ms,
    finish_reason,
    ln(latency_ms) as size,
    floor(log2(cast(completion_tokens + 1 as double))) as class
  from agent_logs
  where timestamp >= $from - interval '14 days'
    and timestamp < $to
    and latency_ms > 0
    and completion_tokens >= 0
    and model is not null
    and not is_error
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
),
middles as (
  select model, class, median(size) as middle, count(*) as usual_calls
  from answers
  group by model, class
  having count(*) >= 50
),
-- The deviation is at least a tenth: answers that all take the same time say nothing about their noise.
usual as (
  select
    answers.model,
    answers.class,
    min(middle) as middle,
    min(usual_calls) as usual_calls,
    greatest(1.4826 * median(abs(size - middle)), 0.1) as deviation
  from middles
  inner join answers on answers.model = middles.model and answers.class = middles.class
  group by answers.model, answers.class
)
select
  timestamp,
  latency_ms,
  exp(middle) as usual_ms,
  (size - middle) / deviation as deviations,
  usual_calls,
  tenant_id,
  agent_id,
  answers.model as model,
  request_id,
  session_id,
  trace_id,
  completion_tokens,
  reasoning_tokens,
  ttft_ms,
  queue_wait_ms,
  finish_reason
from usual
inner join answers on answers.model = usual.model and answers.class = usual.class
where timestamp >= $from
  and (size - middle) / deviation >= $deviations_min
order by deviations desc, timestamp, request_id
limit $limit
