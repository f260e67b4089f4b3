-- question: What share of the tasks of the past hour were handed to a person?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- tasks handed over / calls that say whether theirs was, 0 to 1

select
  agent_id,
  cast(count(*) filter (where escalated) as double) / nullif(count(escalated), 0) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
