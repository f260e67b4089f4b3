-- question: Which models are slowest?
-- grain: model
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 20 -- most rows
-- column: model text -- model, null where the calls name none
-- column: provider text -- who runs the model
-- column: calls count -- all calls
-- column: latency_samples count -- calls that report latency_ms
-- column: latency_avg_ms ms -- mean time to the full answer
-- column: latency_p50_ms ms -- median, within 1 %
-- column: latency_p95_ms ms -- 95th percentile, within 1 %
-- column: latency_max_ms ms -- longest
-- column: ttft_samples count -- calls that report ttft_ms
-- column: ttft_p95_ms ms -- 95th percentile of the time to the first token, within 1 %
-- column: completion_tokens_per_second tokens/s -- tokens answered / time, over the calls that report both

select
  model,
  provider,
  count(*) as calls,
  count(latency_ms) as latency_samples,
  avg(latency_ms) as latency_avg_ms,
  quantile_of(quantile_sketch(latency_ms), 0.5) as latency_p50_ms,
  quantile_of(quantile_sketch(latency_ms), 0.95) as latency_p95_ms,
  max(latency_ms) as latency_max_ms,
  count(ttft_ms) as ttft_samples,
  quantile_of(quantile_sketch(ttft_ms), 0.95) as ttft_p95_ms,
  1000.0 * sum(completion_tokens) filter (where latency_ms is not null)
    / nullif(sum(latency_ms) filter (where completion_tokens is not null), 0) as completion_tokens_per_second
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by model, provider
order by latency_p95_ms desc nulls last, model, provider
limit $limit
