-- question: How many people use the agents each day?
-- grain: day
-- param: from timestamp = today-29d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day time -- start of the day, UTC
-- column: active_users count -- different user ids
-- column: calls count -- all calls
-- column: calls_per_user ratio -- calls that name a user / active_users
-- column: calls_without_user count -- calls that name no user

-- Grouping twice spreads over all cores where count(distinct user_id) does not. By date, so that what a whole day had is
-- kept.
with users as (
  select date, date_trunc('day', timestamp) as day, user_id, count(*) as calls
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by date, 2, user_id
)
select
  day,
  count(user_id) as active_users,
  sum(calls) as calls,
  cast(sum(calls) filter (where user_id is not null) as double) / nullif(count(user_id), 0) as calls_per_user,
  coalesce(sum(calls) filter (where user_id is null), 0) as calls_without_user
from users
group by day
order by day
