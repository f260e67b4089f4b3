-- question: What did the calls of one trace do, with their tools?
-- grain: call
-- param: trace_id text = null -- only this trace
-- param: from timestamp = today-30d -- start of the range, inclusive
-- param: to timestamp = tomorrow -- end of the range, exclusive
-- param: limit int = 1000 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: provider text -- who runs the model
-- column: operation text -- kind of call, such as chat or embeddings
-- column: environment text -- deployment, such as production or staging
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: span_id text -- the call's span within its trace
-- column: parent_span_id text -- span that caused the call
-- column: user_id text -- person the agent worked for
-- column: prompt_version text -- version of the prompt
-- column: variant text -- arm of an experiment
-- column: latency_ms ms -- time to the full answer
-- column: ttft_ms ms -- time to the first token
-- column: queue_wait_ms ms -- time spent waiting before the request was sent
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: retry_count count -- tries before this one
-- column: guardrail_status text -- passed, blocked or escalated
-- column: finish_reason text -- why the model stopped
-- column: hallucination_probability ratio -- 0 to 1
-- column: is_error flag -- the call failed
-- column: error_type text -- class of the error, null where the call went well
-- column: error text -- error message, null where the call went well
-- column: http_status code -- HTTP status of the provider's answer
-- column: tool_calls list -- tools called, each with name, latency_ms and status

select
  timestamp,
  tenant_id,
  agent_id,
  model,
  provider,
  operation,
  environment,
  request_id,
  session_id,
  trace_id,
  span_id,
  parent_span_id,
  user_id,
  prompt_version,
  variant,
  latency_ms,
  ttft_ms,
  queue_wait_ms,
  prompt_tokens,
  completion_tokens,
  cost as cost_usd,
  retry_count,
  guardrail_status,
  finish_reason,
  hallucination_probability,
  is_error,
  error_type,
  error,
  http_status,
  tool_calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and trace_id is not null
  and ($trace_id is null or trace_id = $trace_id)
order by timestamp, request_id, span_id
limit $limit
