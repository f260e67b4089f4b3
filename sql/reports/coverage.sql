-- question: Which fields do each agent's calls carry?
-- grain: agent
-- param: from timestamp = now-7d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: with_tools bool = true -- look into tool_calls as well
-- column: agent text -- agent, null where the calls name none
-- column: calls count -- all calls
-- column: tool_entries count -- entries of their tool_calls
-- column: tenant_id count -- calls that carry it, as for every field below
-- column: agent_id count -- calls
-- column: model count -- calls
-- column: provider count -- calls
-- column: operation count -- calls
-- column: environment count -- calls
-- column: user_id count -- calls
-- column: session_id count -- calls
-- column: trace_id count -- calls
-- column: model_version count -- calls
-- column: prompt_version count -- calls
-- column: experiment_id count -- calls
-- column: variant count -- calls
-- column: task_type count -- calls
-- column: prompt_tokens count -- calls
-- column: completion_tokens count -- calls
-- column: total_tokens count -- calls
-- column: cache_read_tokens count -- calls
-- column: cache_write_tokens count -- calls
-- column: reasoning_tokens count -- calls
-- column: cost count -- calls whose cost is known
-- column: cost_computed_usd count -- calls with a cost by the price list
-- column: latency_ms count -- calls
-- column: ttft_ms count -- calls
-- column: queue_wait_ms count -- calls
-- column: guardrail_status count -- calls
-- column: hallucination_probability count -- calls
-- column: groundedness count -- calls
-- column: relevance count -- calls
-- column: user_satisfaction count -- calls
-- column: task_completed count -- calls
-- column: escalated count -- calls
-- column: finish_reason count -- calls
-- column: error count -- calls
-- column: error_type count -- calls
-- column: http_status count -- calls
-- column: retry_count count -- calls
-- column: circuit_breaker_state count -- calls
-- column: tool_calls count -- calls that called tools
-- column: tool_latency_ms count -- entries of tool_calls with a latency
-- column: tool_status count -- entries of tool_calls with a status
-- column: task_value_usd count -- calls of agents whose tasks have a value in the settings

with calls as (
  select
    agent_id as agent,
    count(*) as calls,
    count(*) filter (where tenant_id is not null) as tenant_id,
    count(*) filter (where agent_id is not null) as agent_id,
    count(*) filter (where model is not null) as model,
    count(*) filter (where provider is not null) as provider,
    count(*) filter (where operation is not null) as operation,
    count(*) filter (where environment is not null) as environment,
    count(user_id) as user_id,
    count(session_id) as session_id,
    count(trace_id) as trace_id,
    count(model_version) as model_version,
    count(prompt_version) as prompt_version,
    count(experiment_id) as experiment_id,
    count(*) filter (where variant is not null) as variant,
    count(task_type) as task_type,
    count(prompt_tokens) as prompt_tokens,
    count(completion_tokens) as completion_tokens,
    count(total_tokens) as total_tokens,
    count(cache_read_tokens) as cache_read_tokens,
    count(cache_write_tokens) as cache_write_tokens,
    count(reasoning_tokens) as reasoning_tokens,
    count(cost) as cost,
    count(cost_computed_usd) as cost_computed_usd,
    count(latency_ms) as latency_ms,
    count(ttft_ms) as ttft_ms,
    count(queue_wait_ms) as queue_wait_ms,
    count(guardrail_status) as guardrail_status,
    count(hallucination_probability) as hallucination_probability,
    count(groundedness) as groundedness,
    count(relevance) as relevance,
    count(user_satisfaction) as user_satisfaction,
    count(task_completed) as task_completed,
    count(escalated) as escalated,
    count(finish_reason) as finish_reason,
    count(error) as error,
    count(error_type) as error_type,
    count(http_status) as http_status,
    count(retry_count) as retry_count,
    count(circuit_breaker_state) as circuit_breaker_state,
    count(*) filter (where array_length(tool_calls) > 0) as tool_calls
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1
),
-- `failed` is null just where `status` is, and rollups have its count.
tools as (
  select
    agent_id as agent,
    count(*) as tool_entries,
    count(latency_ms) as tool_latency_ms,
    count(failed) as tool_status
  from tool_calls
  where $with_tools
    and timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1
)
select
  calls.agent,
  calls.calls,
  coalesce(tools.tool_entries, 0) as tool_entries,
  calls.tenant_id,
  calls.agent_id,
  calls.model,
  calls.provider,
  calls.operation,
  calls.environment,
  calls.user_id,
  calls.session_id,
  calls.trace_id,
  calls.model_version,
  calls.prompt_version,
  calls.experiment_id,
  calls.variant,
  calls.task_type,
  calls.prompt_tokens,
  calls.completion_tokens,
  calls.total_tokens,
  calls.cache_read_tokens,
  calls.cache_write_tokens,
  calls.reasoning_tokens,
  calls.cost,
  calls.cost_computed_usd,
  calls.latency_ms,
  calls.ttft_ms,
  calls.queue_wait_ms,
  calls.guardrail_status,
  calls.hallucination_probability,
  calls.groundedness,
  calls.relevance,
  calls.user_satisfaction,
  calls.task_completed,
  calls.escalated,
  calls.finish_reason,
  calls.error,
  calls.error_type,
  calls.http_status,
  calls.retry_count,
  calls.circuit_breaker_state,
  calls.tool_calls,
  coalesce(tools.tool_latency_ms, 0) as tool_latency_ms,
  coalesce(tools.tool_status, 0) as tool_status,
  case when task_values.task_value_usd is null then 0 else calls.calls end as task_value_usd
from calls
left join tools on calls.agent is not distinct from tools.agent
left join task_values on task_values.agent_id = calls.agent
order by calls.calls desc, calls.agent
