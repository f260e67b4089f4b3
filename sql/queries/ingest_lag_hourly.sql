-- question: How long after a call does its record arrive, per hour of the call?
-- grain: hour
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- column: hour time -- start of the hour, UTC
-- column: calls count -- calls the figures are made of
-- column: lag_avg_ms ms -- mean of received_at less timestamp; below zero where a client's clock is ahead
-- column: lag_p50_ms ms -- median
-- column: lag_p95_ms ms -- 95th percentile
-- column: lag_max_ms ms -- longest
-- column: calls_late count -- calls that arrived more than an hour after they happened

with lags as (
  select
    date_trunc('hour', timestamp) as hour,
    (cast(received_at as bigint) - cast(timestamp as bigint)) / 1000.0 as lag_ms
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
)
select
  hour,
  count(*) as calls,
  avg(lag_ms) as lag_avg_ms,
  percentile_cont(0.5) within group (order by lag_ms) as lag_p50_ms,
  percentile_cont(0.95) within group (order by lag_ms) as lag_p95_ms,
  max(lag_ms) as lag_max_ms,
  count(*) filter (where lag_ms > 3600000) as calls_late
from lags
group by hour
order by hour
