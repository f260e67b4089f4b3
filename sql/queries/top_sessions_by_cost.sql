-- question: Which conversations cost the most today?
-- grain: session
-- param: from timestamp = today -- start of the range, inclusive
-- param: to timestamp = tomorrow -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 20 -- most rows
-- column: session_id text -- the conversation's id, unique within its tenant
-- column: tenant_id text -- customer the conversation belongs to
-- column: agent_id text -- one agent of the conversation, the first by name
-- column: user_id text -- one user of the conversation, the first by name
-- column: started_at time -- first call in the range, UTC
-- column: ended_at time -- last call in the range, UTC
-- column: calls count -- calls in the range
-- column: errors count -- calls that failed
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost_usd USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost_usd

-- The costliest sessions are found first, on few columns; the other columns are then read for their
-- calls only. An id that two tenants share brings a session more, which the limit leaves out again. The ids are copied
-- (|| ''): else twenty of them would hold the texts of all sessions, and the join would count those as its own.
with costliest as (
  select session_id, sum(cost) as cost_usd
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and session_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by tenant_id, session_id
  order by cost_usd desc nulls last, session_id, tenant_id
  limit $limit
)
select
  session_id,
  tenant_id,
  min(agent_id) as agent_id,
  min(user_id) as user_id,
  min(timestamp) as started_at,
  max(timestamp) as ended_at,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  sum(total_tokens) as total_tokens,
  sum(cost) as cost_usd,
  count(*) filter (where cost is null) as calls_without_cost
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and session_id in (select session_id || '' from costliest)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by tenant_id, session_id
order by cost_usd desc nulls last, session_id, tenant_id
limit $limit
