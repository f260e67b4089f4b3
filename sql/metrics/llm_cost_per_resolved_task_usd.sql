-- question: What did it cost in the past 24 hours to get a task done?
-- grain: agent
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value USD -- cost of all calls, those of tasks that were not done included / tasks that were done

select
  agent_id,
  sum(cost) / nullif(count(*) filter (where task_completed), 0) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
