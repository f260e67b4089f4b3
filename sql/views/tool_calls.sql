-- question: Which tools did the agents call, how long did each take and did it fail?
-- grain: tool call
-- column: timestamp time -- when the surrounding call happened, UTC
-- column: date date -- UTC day of timestamp
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that called the tool
-- column: model text -- model that asked for the tool
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of the surrounding call
-- column: environment text -- deployment, such as production or staging
-- column: variant text -- arm of an experiment
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: request_id text -- id of the surrounding call
-- column: tool text -- name of the tool
-- column: latency_ms ms -- time the tool took
-- column: status text -- status as the client reported it
-- column: failed flag -- true unless the status is a word for success or for work not finished; null where no status was reported

-- Clients invent words for failure freely and words for success hardly at all, so the list below
-- names the latter: an unknown status counts as a failure and gets looked at.
select
  timestamp,
  date,
  tenant_id,
  agent_id,
  model,
  provider,
  operation,
  environment,
  variant,
  session_id,
  trace_id,
  request_id,
  call['name'] as tool,
  call['latency_ms'] as latency_ms,
  call['status'] as status,
  lower(call['status']) not in (
    'ok', 'success', 'successful', 'succeeded', 'complete', 'completed', 'done', 'passed', 'true',
    '200', '201', '202', '204', 'cached', 'skipped', 'pending', 'queued', 'started', 'running', 'unset'
  ) as failed
from (
  select
    timestamp,
    date,
    tenant_id,
    agent_id,
    model,
    provider,
    operation,
    environment,
    variant,
    session_id,
    trace_id,
    request_id,
    unnest(tool_calls) as call
  from agent_logs
)
where call is not null
