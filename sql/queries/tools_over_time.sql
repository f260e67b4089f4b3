-- question: How many tools are called, how slow are they and how many fail, over time?
-- grain: bucket
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: interval text = '1 hour' -- length of a bucket, as time_bucket takes it
-- param: by text(all|agent|tenant|model|tool) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: time time -- start of the bucket, UTC
-- column: key text -- agent, tenant, tool or model, null where the calls name none; all for `by` = all
-- column: tool_calls count -- tools called
-- column: failures count -- tool calls that failed
-- column: failure_rate ratio -- failures / tool calls that report a status
-- column: latency_p50_ms ms -- median time, within 1 %
-- column: latency_p95_ms ms -- 95th percentile, within 1 %

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model when 'tool' then tool else 'all' end as key,
  count(*) as tool_calls,
  count(*) filter (where failed) as failures,
  cast(count(*) filter (where failed) as double) / nullif(count(failed), 0) as failure_rate,
  quantile_of(quantile_sketch(latency_ms), 0.5) as latency_p50_ms,
  quantile_of(quantile_sketch(latency_ms), 0.95) as latency_p95_ms
from tool_calls
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
