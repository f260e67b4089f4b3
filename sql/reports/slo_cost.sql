-- question: What did the calls cost?
-- grain: slot
-- param: grain text(minute|hour) -- length of a slot, UTC
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: start_us µs -- start of the minute or the hour, UTC; those without calls are left out
-- column: calls count -- all calls
-- column: samples count -- those whose cost is known
-- column: bad USD -- what they cost

select
  cast(date_trunc($grain, timestamp) as bigint) as start_us,
  count(*) as calls,
  count(cost) as samples,
  cast(coalesce(sum(cost), 0) as double) as bad
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by date_trunc($grain, timestamp)
order by 1
