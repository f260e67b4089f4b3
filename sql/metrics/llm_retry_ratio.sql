-- question: What share of the calls of the past hour were tries after the first?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- calls that were tried before / calls that say so, 0 to 1

select
  agent_id,
  cast(count(*) filter (where retry_count > 0) as double) / nullif(count(retry_count), 0) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
