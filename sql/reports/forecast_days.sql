-- question: What did each day bring?
-- grain: day
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day_us µs -- start of the day, UTC; days without calls are left out
-- column: calls count -- all calls
-- column: cost USD -- reported cost, else computed by the price list
-- column: cost_samples count -- calls whose cost is known
-- column: input_tokens tokens -- tokens sent
-- column: input_tokens_samples count -- calls that report them
-- column: output_tokens tokens -- tokens answered
-- column: output_tokens_samples count -- calls that report them

select
  cast(date_trunc('day', timestamp) as bigint) as day_us,
  count(*) as calls,
  cast(coalesce(sum(cost), 0) as double) as cost,
  count(cost) as cost_samples,
  cast(coalesce(sum(prompt_tokens), 0) as double) as input_tokens,
  count(prompt_tokens) as input_tokens_samples,
  cast(coalesce(sum(completion_tokens), 0) as double) as output_tokens,
  count(completion_tokens) as output_tokens_samples
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by date_trunc('day', timestamp)
order by 1
