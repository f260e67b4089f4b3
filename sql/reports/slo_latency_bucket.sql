-- question: How many calls took longer than one of the boundaries that rollups count by?
-- grain: slot
-- param: grain text(minute|hour) -- length of a slot, UTC
-- param: threshold_ms float -- the boundary, ms
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: start_us µs -- start of the minute or the hour, UTC; those without calls are left out
-- column: samples count -- calls that say how long they took
-- column: bad count -- calls that took longer

-- Exact, and from rollups: a bucket counts what is above the boundary before its own, up to its own.
select
  cast(starts_at as bigint) as start_us,
  coalesce(sum(bucket['count']), 0) as samples,
  cast(
    coalesce(
      sum(bucket['count']) filter (where bucket['upper_bound'] is null or bucket['upper_bound'] > $threshold_ms), 0
    ) as double
  ) as bad
from (
  select starts_at, unnest(buckets) as bucket
  from (
    select
      date_trunc($grain, timestamp) as starts_at,
      histogram_of(histogram_sketch(latency_ms, 'latency_ms')) as buckets
    from agent_logs
    where timestamp >= $from
      and timestamp < $to
      and ($tenant_id is null or tenant_id = $tenant_id)
      and ($agent_id is null or agent_id = $agent_id)
      and ($model is null or model = $model)
    group by date_trunc($grain, timestamp)
  )
)
group by starts_at
order by 1
