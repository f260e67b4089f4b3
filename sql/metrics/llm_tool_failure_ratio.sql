-- question: What share of the tool calls of the past hour failed?
-- grain: agent
-- param: from timestamp = now-1h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: agent_id text -- agent, empty where the calls name none
-- column: value ratio -- failed tool calls / tool calls that report a status, 0 to 1

select
  agent_id,
  cast(count(*) filter (where failed) as double) / nullif(count(failed), 0) as value
from tool_calls
where timestamp >= $from
  and timestamp < $to
group by agent_id
