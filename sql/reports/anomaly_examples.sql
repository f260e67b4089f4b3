-- question: Which calls of an odd hour show best what is odd about it?
-- grain: call
-- param: from timestamp -- start of the hour, inclusive
-- param: to timestamp -- its end, exclusive
-- param: kpi text -- the KPI whose figure is odd
-- param: is_high bool -- the figure is higher than expected, not lower
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 5 -- most rows
-- column: timestamp time -- when the call happened, UTC
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: size number -- what the call brings to the figure, in its unit; a flag is 0 or 1

-- What a call brings to a KPI that is not named here is not known, and it has no examples.
with tools as (
  select request_id, cast(count(*) filter (where failed) as double) as failures, max(latency_ms) as slowest_ms
  from tool_calls
  where timestamp >= $from
    and timestamp < $to
    and $kpi in ('tool_failure_rate', 'tool_latency_p95')
  group by request_id
),
calls as (
  select
    timestamp,
    agent_logs.request_id as request_id,
    session_id,
    trace_id,
    case $kpi
      when 'traffic' then 1.0
      when 'cost' then cost
      when 'cost_per_call' then cost
      when 'cost_per_session' then cost
      when 'latency_mean' then latency_ms
      when 'latency_p95' then latency_ms
      when 'queue_wait_p95' then queue_wait_ms
      when 'ttft_p50' then ttft_ms
      when 'ttft_p95' then ttft_ms
      when 'ttft_p99' then ttft_ms
      when 'input_tokens' then cast(prompt_tokens as double)
      when 'output_tokens' then cast(completion_tokens as double)
      when 'token_efficiency' then cast(completion_tokens as double) / nullif(prompt_tokens, 0)
      when 'hallucination_rate' then hallucination_probability
      when 'groundedness' then groundedness
      when 'user_satisfaction' then user_satisfaction
      when 'task_completion' then cast(cast(task_completed as int) as double)
      when 'escalation_rate' then cast(cast(escalated as int) as double)
      when 'guardrail_block_rate' then cast(cast(guardrail_status = 'blocked' as int) as double)
      when 'error_rate' then cast(cast(is_error as int) as double)
      when 'timeout_rate' then cast(cast(is_timeout as int) as double)
      when 'context_overflow_rate' then cast(cast(is_context_overflow as int) as double)
      when 'availability' then cast(cast(not is_unavailable as int) as double)
      when 'retry_rate' then cast(retry_count as double)
      when 'tool_failure_rate' then failures
      when 'tool_latency_p95' then slowest_ms
    end as size
  from agent_logs
  left join tools on agent_logs.request_id = tools.request_id
  where timestamp >= $from
    and timestamp < $to
    and agent_logs.request_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
)
select timestamp, request_id, session_id, trace_id, size
from calls
where size is not null
order by case when $is_high then -size else size end, timestamp, request_id
limit $limit
