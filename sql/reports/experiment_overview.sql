-- question: How large are an experiment's variants, and which ids do their calls carry?
-- grain: variant
-- param: experiment_id text -- the experiment
-- param: look_from timestamp -- where to look for earlier calls of it, inclusive
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- column: variant text -- arm, null where calls name none
-- column: calls count -- calls in the range
-- column: first_us µs -- first call, those before the range included
-- column: last_us µs -- last call
-- column: calls_with_user count -- calls in the range that carry user_id
-- column: calls_with_session count -- calls in the range that carry session_id

select
  variant,
  count(*) filter (where timestamp >= $from) as calls,
  cast(min(timestamp) as bigint) as first_us,
  cast(max(timestamp) as bigint) as last_us,
  count(user_id) filter (where timestamp >= $from) as calls_with_user,
  count(session_id) filter (where timestamp >= $from) as calls_with_session
from agent_logs
where timestamp >= $look_from
  and timestamp < $to
  and experiment_id = $experiment_id
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
group by variant
order by variant
