-- question: How much value do the tasks that were done bring for each dollar that was spent?
-- grain: window
-- group: usage
-- unit: ratio
-- target: > 3
-- alert: < 1
-- needs: cost task_completed task_value_usd
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value ratio -- numerator / denominator
-- column: samples count -- calls that say whether their task was done, of agents whose tasks have a value
-- column: numerator USD -- what those tasks are worth
-- column: denominator USD -- what all calls cost of those of these agents that say whether tasks are done

-- What a task is worth is a setting, kpi.agents.AGENT.task_value_usd, which the table task_values holds. Agents without
-- one are left out on both sides, and so are those of which no call of the window says whether its task was done.
with tasks as (
  select
    date_trunc($grain, timestamp) as window_start,
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    agent_id as worker,
    count(*) filter (where task_completed) as done,
    count(task_completed) as told,
    sum(cost) as cost
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2, 3
),
valued as (
  select
    window_start,
    key,
    sum(told) filter (where task_value_usd is not null) as told,
    sum(done * task_value_usd) as worth,
    sum(cost) filter (where task_value_usd is not null and told > 0) as cost
  from tasks
  left join task_values on task_values.agent_id = tasks.worker
  group by 1, 2
)
select
  window_start,
  key,
  worth / nullif(cost, 0) as value,
  coalesce(told, 0) as samples,
  worth as numerator,
  cost as denominator
from valued
order by window_start, key
