-- question: How many calls took longer than a threshold, whatever it is?
-- grain: slot
-- param: grain text(minute|hour) -- length of a slot, UTC
-- param: threshold_ms float -- the longest that is good, ms
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: start_us µs -- start of the minute or the hour, UTC; those without calls are left out
-- column: samples count -- calls that say how long they took
-- column: bad count -- calls that took longer

-- Reads the calls: rollups know only how many are within their own boundaries, for which there is slo_latency_bucket.
select
  cast(date_trunc($grain, timestamp) as bigint) as start_us,
  count(latency_ms) as samples,
  cast(count(*) filter (where latency_ms > $threshold_ms) as double) as bad
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by date_trunc($grain, timestamp)
order by 1
