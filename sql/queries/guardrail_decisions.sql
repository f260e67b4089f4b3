-- question: What do the guardrails decide for each agent, and why?
-- grain: agent, status and reason
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: agent_id text -- agent, null where the calls name none
-- column: guardrail_status text -- passed, blocked or escalated
-- column: guardrail_reason text -- why, null where none was reported
-- column: calls count -- calls so decided
-- column: share ratio -- calls / agent_calls, 0 to 1
-- column: agent_calls count -- calls of the agent that carry a decision

with decisions as (
  select agent_id, guardrail_status, guardrail_reason, count(*) as calls
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and guardrail_status is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by agent_id, guardrail_status, guardrail_reason
)
select
  agent_id,
  guardrail_status,
  guardrail_reason,
  calls,
  cast(calls as double) / sum(calls) over (partition by agent_id) as share,
  sum(calls) over (partition by agent_id) as agent_calls
from decisions
order by agent_id, calls desc, guardrail_status, guardrail_reason
