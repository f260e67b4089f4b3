-- question: What does each agent cost, per day?
-- grain: day
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day time -- start of the day, UTC
-- column: agent_id text -- agent, null where the calls name none
-- column: calls count -- calls the figures are made of
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost_usd

select
  date_trunc('day', timestamp) as day,
  agent_id,
  count(*) as calls,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cost) as cost_usd,
  count(*) filter (where cost is null) as calls_without_cost
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, agent_id
order by day, cost_usd desc nulls last, agent_id
