-- question: What happened in each conversation, and what did it cost?
-- grain: session
-- column: session_id text -- the conversation's id, unique within its tenant
-- column: tenant_id text -- customer the conversation belongs to
-- column: agent_id text -- agent of the first call that names one
-- column: agents count -- different agents that took part; exact for a few hundred, above with a standard error of 1.6 %
-- column: user_id text -- user of the first call that names one
-- column: date date -- UTC day of the first call
-- column: started_at time -- time of the first call, UTC
-- column: ended_at time -- time of the last call, UTC
-- column: calls count -- model and agent calls
-- column: turns count -- different traces, exact for a few hundred, above with a standard error of 1.6 %; a call without a trace is a turn of its own
-- column: errors count -- calls that failed
-- column: retries count -- calls that were a retry
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known
-- column: latency_ms ms -- time of all calls added up
-- column: hallucination_probability ratio -- highest of the calls
-- column: user_satisfaction ratio -- mean of the calls that report it
-- column: task_completed flag -- some call reports the task done; null where none says either way
-- column: escalated flag -- some call reports the task handed to a person; null where none says either way

-- The tenant is part of the key so that a filter on it reaches the table. A filter on started_at
-- cannot: over a short range of a long history, group agent_logs by session instead. Sketches, because
-- count(distinct …) keeps a hash table per group: gigabytes over a hundred thousand sessions.
select
  session_id,
  tenant_id,
  first_value(agent_id order by timestamp) filter (where agent_id is not null) as agent_id,
  coalesce(distinct_of(distinct_sketch(agent_id)), 0) as agents,
  first_value(user_id order by timestamp) filter (where user_id is not null) as user_id,
  min(date) as date,
  min(timestamp) as started_at,
  max(timestamp) as ended_at,
  count(*) as calls,
  coalesce(distinct_of(distinct_sketch(trace_id)), 0) + count(*) filter (where trace_id is null) as turns,
  count(*) filter (where is_error) as errors,
  count(*) filter (where retry_count > 0) as retries,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cost) as cost,
  count(*) filter (where cost is null) as calls_without_cost,
  sum(latency_ms) as latency_ms,
  max(hallucination_probability) as hallucination_probability,
  avg(user_satisfaction) as user_satisfaction,
  bool_or(task_completed) as task_completed,
  bool_or(escalated) as escalated
from agent_logs
where session_id is not null
group by tenant_id, session_id
