-- question: Which calls report a cost that their tokens contradict?
-- grain: call
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: factor_min float = 3 -- only costs so many times too high or too low
-- param: difference_min_usd float = 0.001 -- only costs that are off by so much
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the largest differences first
-- column: timestamp time -- when the call happened, UTC
-- column: reported_cost_usd USD -- what the client reported
-- column: expected_cost_usd USD -- what the basis says
-- column: difference_usd USD -- reported less expected
-- column: basis text -- price_list, or usual_price: the median price that the model's other calls report for a token
-- column: deviations ratio -- with usual_price: how far off, in logarithms and usual deviations; null for a cost of 0
-- column: usual_calls count -- with usual_price: calls that say what is usual
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: cache_read_tokens tokens -- tokens sent that came from the provider's cache

-- Where no price list knows a call, its model's own price does: the median over two weeks before the range and the
-- range itself, for a token sent. A token answered counts as four sent and one from the cache as a quarter, about as
-- price lists have it, so that calls of different make-up can be compared; what is left of their differences is in the
-- deviation. A cost of 0 is odd where nine in ten of the model's calls cost something. Fewer than 30 calls say nothing.
with calls as (
  select
    timestamp,
    tenant_id,
    agent_id,
    model,
    request_id,
    session_id,
    prompt_tokens,
    completion_tokens,
    cache_read_tokens,
    cost_usd,
    cost_computed_usd,
    prompt_tokens - 0.75 * coalesce(cache_read_tokens, 0) + 4 * coalesce(completion_tokens, 0) as weight
  from agent_logs
  where timestamp >= $from - interval '14 days'
    and timestamp < $to
    and cost_usd >= 0
    and prompt_tokens > 0
    and model is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
),
middles as (
  select
    model,
    median(ln(cost_usd / weight)) filter (where cost_usd > 0) as middle,
    count(*) filter (where cost_usd > 0) as usual_calls,
    count(*) filter (where cost_usd > 0) >= 0.9 * count(*) as is_never_free
  from calls
  where weight > 0
  group by model
  having count(*) filter (where cost_usd > 0) >= 30
),
usual as (
  select
    calls.model,
    min(middle) as middle,
    min(usual_calls) as usual_calls,
    bool_and(is_never_free) as is_never_free,
    greatest(1.4826 * median(abs(ln(cost_usd / weight) - middle)), 0.1) as deviation
  from middles
  inner join calls on calls.model = middles.model
  where cost_usd > 0
    and weight > 0
  group by calls.model
),
compared as (
  select
    calls.*,
    case
      when cost_computed_usd is not null then cost_computed_usd
      when weight > 0 then exp(middle) * weight
    end as expected,
    case when cost_computed_usd is not null then 'price_list' else 'usual_price' end as basis,
    case
      when cost_computed_usd is null and cost_usd > 0 and weight > 0 then (ln(cost_usd / weight) - middle) / deviation
    end as deviations,
    case when cost_computed_usd is null then usual_calls end as usual_calls,
    cost_computed_usd is not null or (cost_usd > 0 or is_never_free) as is_judged
  from usual
  right join calls on calls.model = usual.model
  where timestamp >= $from
)
select
  timestamp,
  cost_usd as reported_cost_usd,
  expected as expected_cost_usd,
  cost_usd - expected as difference_usd,
  basis,
  deviations,
  usual_calls,
  tenant_id,
  agent_id,
  model,
  request_id,
  session_id,
  prompt_tokens,
  completion_tokens,
  cache_read_tokens
from compared
where expected is not null
  and is_judged
  and abs(cost_usd - expected) >= $difference_min_usd
  and (cost_usd >= $factor_min * expected or cost_usd * $factor_min <= expected)
  and (deviations is null or abs(deviations) >= 8)
order by abs(cost_usd - expected) desc, timestamp, request_id
limit $limit
