-- question: What share of the answers of the past hour is made up, by their scores?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- mean hallucination_probability, which is the expected share; none where one of them is below 0 or above 1

select
  agent_id,
  case
    when count(*) filter (where hallucination_probability not between 0 and 1) = 0 then avg(hallucination_probability)
  end as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
