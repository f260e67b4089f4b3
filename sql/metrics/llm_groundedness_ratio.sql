-- question: How well did the sources bear the answers of the past hour out?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- mean groundedness; none where one of them is below 0 or above 1

select
  agent_id,
  case
    when count(*) filter (where groundedness not between 0 and 1) = 0 then avg(groundedness)
  end as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
