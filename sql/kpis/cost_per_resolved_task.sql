-- question: What does it cost to get a task done?
-- grain: window
-- group: usage
-- unit: USD
-- target: < 0.1
-- alert: > 0.5
-- needs: cost task_completed
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value USD -- numerator / denominator
-- column: samples count -- calls that say whether their task was done
-- column: numerator USD -- cost of all calls of agents that say whether tasks are done, calls of tasks that were not done included
-- column: denominator count -- tasks that were done

-- Agents of which no call of the window says whether its task was done are left out: their cost would count, and their
-- tasks would not.
with of_agents as (
  select
    date_trunc($grain, timestamp) as window_start,
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    agent_id as worker,
    sum(cost) as cost,
    count(*) filter (where task_completed) as done,
    count(task_completed) as told
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2, 3
)
select
  window_start,
  key,
  sum(cost) filter (where told > 0) / nullif(sum(done), 0) as value,
  sum(told) as samples,
  sum(cost) filter (where told > 0) as numerator,
  sum(done) as denominator
from of_agents
group by 1, 2
order by window_start, key
