-- question: Which experiments run, with which variants, since when?
-- grain: experiment and variant
-- param: from timestamp = now-90d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: limit int = 1000 -- most rows
-- column: experiment_id text -- the experiment
-- column: variant text -- arm of it, null where its calls name none
-- column: first_call time -- first call in the range, UTC
-- column: last_call time -- last call in the range, UTC
-- column: calls count -- calls
-- column: users count -- different users; exact for a few hundred, above with a standard error of 1.6 %
-- column: sessions count -- different sessions; exact for a few hundred, above with a standard error of 1.6 %

select
  experiment_id,
  variant,
  min(timestamp) as first_call,
  max(timestamp) as last_call,
  count(*) as calls,
  coalesce(distinct_of(distinct_sketch(user_id)), 0) as users,
  coalesce(distinct_of(distinct_sketch(session_id)), 0) as sessions
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and experiment_id is not null
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
group by experiment_id, variant
order by experiment_id, variant
limit $limit
