-- question: Does the cost that clients report agree with the price list, per model and day?
-- grain: day
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day time -- start of the day, UTC
-- column: model text -- model, null where the calls name none
-- column: calls count -- all calls
-- column: calls_compared count -- calls with a reported and a computed cost, the base of the next four
-- column: reported_cost_usd USD -- what clients reported for them
-- column: computed_cost_usd USD -- what the price list computes for them
-- column: difference_usd USD -- computed less reported
-- column: difference_ratio ratio -- difference_usd / reported_cost_usd
-- column: calls_only_reported count -- calls the price list does not know
-- column: calls_only_computed count -- calls without a reported cost
-- column: calls_without_cost count -- calls with neither

select
  date_trunc('day', timestamp) as day,
  model,
  count(*) as calls,
  count(cost_computed_usd - cost_usd) as calls_compared,
  sum(cost_usd) filter (where cost_computed_usd is not null) as reported_cost_usd,
  sum(cost_computed_usd) filter (where cost_usd is not null) as computed_cost_usd,
  sum(cost_computed_usd - cost_usd) as difference_usd,
  sum(cost_computed_usd - cost_usd)
    / nullif(sum(cost_usd) filter (where cost_computed_usd is not null), 0) as difference_ratio,
  count(cost_usd) - count(cost_computed_usd - cost_usd) as calls_only_reported,
  count(cost_computed_usd) - count(cost_computed_usd - cost_usd) as calls_only_computed,
  count(*) filter (where cost is null) as calls_without_cost
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, model
order by day, model
