-- question: Which calls cost, or use, far more than calls of their model do?
-- grain: call and measure
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: false_max float = 0.01 -- how many of a model's calls in the range may be here where nothing is wrong
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the farthest beyond their threshold first
-- column: timestamp time -- when the call happened, UTC
-- column: measure text -- cost_usd or total_tokens
-- column: size number -- of the call: USD or tokens
-- column: threshold number -- nine in ten of the model's calls are smaller
-- column: excess ratio -- size - threshold, in units of the median excess of the model's large calls
-- column: p_value ratio -- about how probable such a size is for a call of the model, by the tail above the threshold
-- column: usual_calls count -- calls that say what is usual
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to

-- Peaks over threshold, as in runaway_sessions: the tail of a model's calls, of two weeks before the range and of the
-- range itself, is generalised Pareto of index 0.3 with a scale from the median excess. Fewer than 50 calls say nothing.
with calls as (
  select timestamp, tenant_id, agent_id, model, request_id, session_id, trace_id, cost, total_tokens
  from agent_logs
  where timestamp >= $from - interval '14 days'
    and timestamp < $to
    and model is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
),
measured as (
  select *, 'cost_usd' as measure, cost as size from calls where cost > 0
  union all
  select *, 'total_tokens' as measure, cast(total_tokens as double) as size from calls where total_tokens > 0
),
thresholds as (
  select
    model,
    measure,
    percentile(size, 0.9) as threshold,
    count(*) as usual_calls,
    count(*) filter (where timestamp >= $from) as judged_calls
  from measured
  group by model, measure
  having count(*) >= 50
),
-- The excess whose probability is a half is scale · (2^index − 1) / index.
tails as (
  select
    measured.model,
    measured.measure,
    min(threshold) as threshold,
    min(usual_calls) as usual_calls,
    min(judged_calls) as judged_calls,
    greatest(median(size - threshold), 0.1 * min(threshold)) as usual_excess
  from thresholds
  inner join measured on measured.model = thresholds.model and measured.measure = thresholds.measure
  where size > threshold
  group by measured.model, measured.measure
),
judged as (
  select
    measured.*,
    threshold,
    usual_calls,
    judged_calls,
    (size - threshold) / usual_excess as excess,
    0.1 * power(1 + (power(2, 0.3) - 1) * (size - threshold) / usual_excess, -1 / 0.3) as p_value
  from tails
  inner join measured on measured.model = tails.model and measured.measure = tails.measure
  where timestamp >= $from
    and size > threshold
)
select
  timestamp,
  measure,
  size,
  threshold,
  excess,
  p_value,
  usual_calls,
  tenant_id,
  agent_id,
  model,
  request_id,
  session_id,
  trace_id
from judged
where p_value * judged_calls <= $false_max
order by excess desc, timestamp, request_id
limit $limit
