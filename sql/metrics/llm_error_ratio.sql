-- question: What share of the calls of the past hour failed?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- failed calls / calls, 0 to 1

select
  agent_id,
  cast(count(*) filter (where is_error) as double) / count(*) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
