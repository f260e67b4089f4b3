-- question: How long does each agent take to answer, and to begin answering, per hour?
-- grain: hour
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: hour time -- start of the hour, UTC
-- column: agent_id text -- agent, null where the calls name none
-- column: calls count -- all calls
-- column: latency_samples count -- calls that report latency_ms
-- column: latency_p50_ms ms -- median time to the full answer, within 1 %
-- column: latency_p95_ms ms -- 95th percentile, within 1 %
-- column: latency_p99_ms ms -- 99th percentile, within 1 %
-- column: ttft_samples count -- calls that report ttft_ms
-- column: ttft_p50_ms ms -- median time to the first token, within 1 %
-- column: ttft_p95_ms ms -- 95th percentile, within 1 %
-- column: ttft_p99_ms ms -- 99th percentile, within 1 %

select
  date_trunc('hour', timestamp) as hour,
  agent_id,
  count(*) as calls,
  count(latency_ms) as latency_samples,
  quantile_of(quantile_sketch(latency_ms), 0.5) as latency_p50_ms,
  quantile_of(quantile_sketch(latency_ms), 0.95) as latency_p95_ms,
  quantile_of(quantile_sketch(latency_ms), 0.99) as latency_p99_ms,
  count(ttft_ms) as ttft_samples,
  quantile_of(quantile_sketch(ttft_ms), 0.5) as ttft_p50_ms,
  quantile_of(quantile_sketch(ttft_ms), 0.95) as ttft_p95_ms,
  quantile_of(quantile_sketch(ttft_ms), 0.99) as ttft_p99_ms
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, agent_id
order by hour, agent_id
