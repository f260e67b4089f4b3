-- question: What did each trace do from its first call to its last, and what did it cost?
-- grain: trace
-- column: trace_id text -- the trace's id
-- column: tenant_id text -- customer the trace belongs to
-- column: agent_id text -- agent of the first call that names one
-- column: session_id text -- conversation of the first call that names one
-- column: date date -- UTC day of the first call
-- column: started_at time -- time of the first call, UTC
-- column: ended_at time -- time of the last call, UTC
-- column: calls count -- model and agent calls
-- column: agents count -- different agents that took part; exact for a few hundred, above with a standard error of 1.6 %
-- column: errors count -- calls that failed
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known
-- column: latency_ms ms -- time of all calls added up

-- The tenant is part of the key so that a filter on it reaches the table. A sketch, because
-- count(distinct …) keeps a hash table per group.
select
  trace_id,
  tenant_id,
  first_value(agent_id order by timestamp) filter (where agent_id is not null) as agent_id,
  first_value(session_id order by timestamp) filter (where session_id is not null) as session_id,
  min(date) as date,
  min(timestamp) as started_at,
  max(timestamp) as ended_at,
  count(*) as calls,
  coalesce(distinct_of(distinct_sketch(agent_id)), 0) as agents,
  count(*) filter (where is_error) as errors,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cost) as cost,
  count(*) filter (where cost is null) as calls_without_cost,
  sum(latency_ms) as latency_ms
from agent_logs
where trace_id is not null
group by tenant_id, trace_id
