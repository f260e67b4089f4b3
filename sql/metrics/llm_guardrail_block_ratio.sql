-- question: What share of the guardrail decisions of the past hour were blocks?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- blocked calls / calls with a decision, 0 to 1

select
  agent_id,
  cast(count(*) filter (where guardrail_status = 'blocked') as double) / nullif(count(guardrail_status), 0) as value
from agent_logs
where timestamp >= $from
  and timestamp < $to
group by agent_id
