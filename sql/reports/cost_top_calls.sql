-- question: Which single calls of the reported day cost the most?
-- grain: call
-- param: day_start timestamp = yesterday -- start of the reported day, UTC
-- param: day_end timestamp = today -- end of the reported day, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: limit int = 10 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: latency_ms ms -- time to the full answer
-- column: retry_count count -- tries before this one
-- column: is_error flag -- the call failed
-- column: finish_reason text -- why the model stopped

select
  timestamp,
  tenant_id,
  agent_id,
  model,
  request_id,
  session_id,
  trace_id,
  prompt_tokens,
  completion_tokens,
  total_tokens,
  cost,
  latency_ms,
  retry_count,
  is_error,
  finish_reason
from agent_logs
where timestamp >= $day_start
  and timestamp < $day_end
  and cost is not null
  and ($tenant_id is null or tenant_id = $tenant_id)
order by cost desc, timestamp, request_id
limit $limit
