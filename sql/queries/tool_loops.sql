-- question: Which agents call the same tool with the same arguments again and again?
-- grain: run of equal tool calls in one session
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: calls_min int = 5 -- only runs of at least so many equal calls
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the longest runs first
-- column: began time -- call with the first of them, UTC
-- column: ended time -- call with the last of them, UTC
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: session_id text -- conversation they belong to
-- column: tool text -- name of the tool
-- column: arguments text -- what it was called with each time, as it was sent
-- column: tool_calls count -- length of the run
-- column: calls count -- model or agent calls that they were part of
-- column: request_ids list -- first 5 of those calls

-- Arguments have no column: they are in the original of tool_calls, which attributes keep. Without them nothing is
-- said, because an agent may well need one tool all day.
with entries as (
  select
    timestamp,
    tenant_id,
    agent_id,
    session_id,
    request_id,
    unnest(range(0, cardinality(tool_calls))) as position,
    unnest(tool_calls) as call,
    unnest(json_get_array(attributes, 'tool_calls')) as original
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and session_id is not null
    and json_contains(attributes, 'tool_calls')
    and cardinality(tool_calls) > 0
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
),
called as (
  select
    timestamp,
    tenant_id,
    agent_id,
    session_id,
    request_id,
    position,
    call['name'] as tool,
    coalesce(
      json_get_json(original, 'arguments'),
      json_get_json(original, 'function', 'arguments'),
      json_get_json(original, 'args'),
      json_get_json(original, 'input'),
      json_get_json(original, 'parameters')
    ) as arguments
  from entries
),
-- Equal calls that follow each other have the same difference of their numbers among all and among their equals.
numbered as (
  select
    *,
    row_number() over (partition by tenant_id, agent_id, session_id order by timestamp, request_id, position)
    - row_number() over (
      partition by tenant_id, agent_id, session_id, tool, arguments
      order by timestamp, request_id, position
    ) as run
  from called
)
select
  min(timestamp) as began,
  max(timestamp) as ended,
  tenant_id,
  agent_id,
  session_id,
  tool,
  arguments,
  count(*) as tool_calls,
  count(distinct request_id) as calls,
  array_slice(array_agg(distinct request_id order by request_id), 1, 5) as request_ids
from numbered
where tool is not null
  and arguments is not null
group by tenant_id, agent_id, session_id, tool, arguments, run
having count(*) >= $calls_min
order by tool_calls desc, began, session_id
limit $limit
