-- question: What did everything cost, and does the reported cost agree with the price list?
-- grain: range
-- param: from timestamp = today -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: calls count -- all calls
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost_usd
-- column: reported_cost_usd USD -- sum of what clients reported
-- column: calls_reported count -- calls with a reported cost
-- column: computed_cost_usd USD -- sum of what the price list computes
-- column: calls_computed count -- calls the price list knows
-- column: difference_usd USD -- computed less reported, over the calls that have both
-- column: calls_compared count -- calls that have both
-- column: total_tokens tokens -- tokens sent and answered
-- column: errors count -- calls that failed
-- column: error_cost_usd USD -- spent on calls that failed

select
  count(*) as calls,
  sum(cost) as cost_usd,
  count(*) filter (where cost is null) as calls_without_cost,
  sum(cost_usd) as reported_cost_usd,
  count(cost_usd) as calls_reported,
  sum(cost_computed_usd) as computed_cost_usd,
  count(cost_computed_usd) as calls_computed,
  sum(cost_computed_usd - cost_usd) as difference_usd,
  count(cost_computed_usd - cost_usd) as calls_compared,
  sum(total_tokens) as total_tokens,
  count(*) filter (where is_error) as errors,
  sum(cost) filter (where is_error) as error_cost_usd
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
