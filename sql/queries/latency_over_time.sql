-- question: How long do the calls take, over time?
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
-- column: latency_mean_ms ms -- mean time to the full answer
-- column: latency_p50_ms ms -- median time to the full answer, within 1 %
-- column: latency_p95_ms ms -- 95th percentile, within 1 %
-- column: latency_p99_ms ms -- 99th percentile, within 1 %
-- column: ttft_p50_ms ms -- median time to the first token, within 1 %
-- column: ttft_p95_ms ms -- 95th percentile, within 1 %
-- column: ttft_p99_ms ms -- 99th percentile, within 1 %
-- column: queue_wait_p95_ms ms -- 95th percentile of the time spent waiting before the request was sent, within 1 %

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  count(*) as calls,
  avg(latency_ms) as latency_mean_ms,
  quantile_of(quantile_sketch(latency_ms), 0.5) as latency_p50_ms,
  quantile_of(quantile_sketch(latency_ms), 0.95) as latency_p95_ms,
  quantile_of(quantile_sketch(latency_ms), 0.99) as latency_p99_ms,
  quantile_of(quantile_sketch(ttft_ms), 0.5) as ttft_p50_ms,
  quantile_of(quantile_sketch(ttft_ms), 0.95) as ttft_p95_ms,
  quantile_of(quantile_sketch(ttft_ms), 0.99) as ttft_p99_ms,
  quantile_of(quantile_sketch(queue_wait_ms), 0.95) as queue_wait_p95_ms
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
