-- question: What do the calls cost, over time?
-- grain: bucket
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: interval text = '1 hour' -- length of a bucket, as time_bucket takes it
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: time time -- start of the bucket, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: calls count -- all calls
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: cost_per_call_usd USD -- cost_usd / calls whose cost is known
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost_usd

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  count(*) as calls,
  sum(cost) as cost_usd,
  avg(cost) as cost_per_call_usd,
  count(*) filter (where cost is null) as calls_without_cost
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
