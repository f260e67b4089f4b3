-- question: How much value did the tasks done in the past 24 hours bring for each dollar that was spent?
-- grain: agent
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent whose tasks have a value in the settings
-- column: value ratio -- worth of the tasks that were done / cost of all calls; none of agents that do not say what was done

with tasks as (
  select agent_id, count(*) filter (where task_completed) as done, sum(cost) as cost
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
  group by agent_id
  having count(task_completed) > 0
)
select
  tasks.agent_id as agent_id,
  done * task_value_usd / nullif(cost, 0) as value
from tasks
inner join task_values on task_values.agent_id = tasks.agent_id
