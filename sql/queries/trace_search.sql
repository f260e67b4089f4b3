-- question: Which traces have a call like this?
-- grain: trace
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: operation text = null -- only calls of this kind
-- param: min_ms float = null -- only calls that took at least this long
-- param: max_ms float = null -- only calls that took at most this long
-- param: is_error bool = null -- only calls that failed, or only those that did not
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 20 -- most rows, the latest ones
-- column: trace_id text -- the trace's id
-- column: last_seen time -- last such call, UTC
-- column: calls count -- such calls

select
  trace_id,
  max(timestamp) as last_seen,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and trace_id is not null
  and ($operation is null or operation = $operation)
  and ($min_ms is null or latency_ms >= $min_ms)
  and ($max_ms is null or latency_ms <= $max_ms)
  and ($is_error is null or is_error = $is_error)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by trace_id
order by last_seen desc, trace_id
limit $limit
