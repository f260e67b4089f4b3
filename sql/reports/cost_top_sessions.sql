-- question: Which conversations of the reported day cost the most?
-- grain: session
-- param: day_start timestamp = yesterday -- start of the reported day, UTC
-- param: day_end timestamp = today -- end of the reported day, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: limit int = 10 -- most rows
-- column: session_id text -- the conversation's id, unique within its tenant
-- column: tenant_id text -- customer the conversation belongs to
-- column: agent_id text -- one agent of the conversation, the first by name
-- column: calls count -- calls on the day
-- column: errors count -- calls that failed
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost
-- column: started_at time -- first call on the day, UTC
-- column: ended_at time -- last call on the day, UTC

select
  session_id,
  tenant_id,
  min(agent_id) as agent_id,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  coalesce(sum(total_tokens), 0) as total_tokens,
  sum(cost) as cost,
  count(*) filter (where cost is null) as calls_without_cost,
  min(timestamp) as started_at,
  max(timestamp) as ended_at
from agent_logs
where timestamp >= $day_start
  and timestamp < $day_end
  and session_id is not null
  and ($tenant_id is null or tenant_id = $tenant_id)
group by tenant_id, session_id
having sum(cost) is not null
order by cost desc, session_id, tenant_id
limit $limit
