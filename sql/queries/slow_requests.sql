-- question: Which calls took longer than they should?
-- grain: call
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: threshold_ms float = 5000 -- only calls that took longer than this
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: latency_ms ms -- time to the full answer
-- column: ttft_ms ms -- time to the first token
-- column: queue_wait_ms ms -- time spent waiting before the request was sent
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: provider text -- who runs the model
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: retry_count count -- tries before this one
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: error_type text -- class of the error, null where the call went well

-- The least latency that can be among the rows is found first, on few columns; the other columns are
-- then read for those rows only.
with slowest as (
  select latency_ms
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and latency_ms > $threshold_ms
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  order by latency_ms desc
  limit $limit
)
select
  timestamp,
  latency_ms,
  ttft_ms,
  queue_wait_ms,
  tenant_id,
  agent_id,
  model,
  provider,
  request_id,
  session_id,
  trace_id,
  prompt_tokens,
  completion_tokens,
  retry_count,
  cost as cost_usd,
  error_type
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and latency_ms >= (select min(latency_ms) from slowest)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
order by latency_ms desc, timestamp, request_id
limit $limit
