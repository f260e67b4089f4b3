-- question: What happened in one conversation, call by call?
-- grain: call
-- param: session_id text -- the conversation to show
-- param: from timestamp = today-30d -- start of the range, inclusive
-- param: to timestamp = tomorrow -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: limit int = 1000 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: operation text -- kind of call, such as chat or embeddings
-- column: model text -- model that answered
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: span_id text -- the call's span within its trace
-- column: parent_span_id text -- span that caused the call
-- column: latency_ms ms -- time to the full answer
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: retry_count count -- tries before this one
-- column: guardrail_status text -- passed, blocked or escalated
-- column: finish_reason text -- why the model stopped
-- column: error_type text -- class of the error, null where the call went well
-- column: error text -- error message, null where the call went well

select
  timestamp,
  tenant_id,
  agent_id,
  operation,
  model,
  request_id,
  session_id,
  trace_id,
  span_id,
  parent_span_id,
  latency_ms,
  total_tokens,
  cost as cost_usd,
  retry_count,
  guardrail_status,
  finish_reason,
  error_type,
  error
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and session_id = $session_id
  and ($tenant_id is null or tenant_id = $tenant_id)
order by timestamp, request_id, span_id
limit $limit
