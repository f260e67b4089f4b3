-- question: Which answers are most likely made up?
-- grain: call
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: min_probability float = 0.5 -- only calls with at least this hallucination probability
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 50 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: hallucination_probability ratio -- 0 to 1
-- column: groundedness ratio -- 0 to 1
-- column: relevance ratio -- 0 to 1
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: prompt_version text -- version of the prompt
-- column: task_type text -- kind of task the agent worked on
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: user_id text -- person the agent worked for
-- column: chunks_retrieved count -- passages the answer could lean on
-- column: top_similarity_score ratio -- similarity of the best passage
-- column: guardrail_status text -- passed, blocked or escalated

-- A field of a null struct may read as zero, hence the cases.
select
  timestamp,
  hallucination_probability,
  groundedness,
  relevance,
  tenant_id,
  agent_id,
  model,
  prompt_version,
  task_type,
  request_id,
  session_id,
  trace_id,
  user_id,
  case when rag_context is not null then rag_context['chunks_retrieved'] end as chunks_retrieved,
  case when rag_context is not null then rag_context['top_similarity_score'] end as top_similarity_score,
  guardrail_status
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and hallucination_probability >= $min_probability
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
order by hallucination_probability desc, timestamp, request_id
limit $limit
