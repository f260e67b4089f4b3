-- question: What share of the calls of the past hour ran out of time?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- calls that ran out of time / calls, 0 to 1

select
  agent_id,
  cast(count(*) filter (where is_timeout) as double) / count(*) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
