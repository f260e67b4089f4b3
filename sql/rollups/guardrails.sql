-- question: Which decisions of guardrails did each hour and each day bring, and why, in figures that can be added up?
-- grain: hour, day
-- param: grain text -- each of these in turn
-- column: starts_at time -- start of the hour or the day, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that answered
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of call, such as chat or embeddings
-- column: environment text -- deployment, such as production or staging
-- column: variant text -- arm of an experiment
-- column: guardrail_status text -- passed, blocked or escalated
-- column: guardrail_reason text -- why the guardrail decided so
-- column: calls count -- calls that were so decided
-- column: first_call time -- the first, UTC
-- column: last_call time -- the last, UTC

-- Reasons are the clients' own words: kept apart, as error types are.
select
  date_trunc($grain, timestamp) as starts_at,
  date,
  tenant_id,
  agent_id,
  model,
  provider,
  operation,
  environment,
  variant,
  guardrail_status,
  guardrail_reason,
  count(*) as calls,
  min(timestamp) as first_call,
  max(timestamp) as last_call
from agent_logs
where guardrail_status is not null
group by
  1, date, tenant_id, agent_id, model, provider, operation, environment, variant, guardrail_status, guardrail_reason
