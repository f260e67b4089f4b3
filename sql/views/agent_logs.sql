-- question: What did every model or agent call do, cost and end in?
-- grain: call
-- column: timestamp time -- when the call happened, UTC
-- column: received_at time -- when the record reached us, UTC
-- column: tenant_id text -- customer the call was made for
-- column: agent_id text -- agent that made the call
-- column: model text -- model that answered
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of call, such as chat or embeddings
-- column: environment text -- deployment, such as production or staging
-- column: service text -- service that sent the record
-- column: version text -- version of that service
-- column: level text -- log level
-- column: request_id text -- the call's own id
-- column: session_id text -- conversation the call belongs to
-- column: trace_id text -- trace the call belongs to
-- column: span_id text -- the call's span within its trace
-- column: parent_span_id text -- span that caused the call
-- column: correlation_id text -- id shared with other systems
-- column: user_id text -- person the agent worked for
-- column: model_version text -- exact version of the model
-- column: prompt_version text -- version of the prompt
-- column: experiment_id text -- experiment the call takes part in
-- column: variant text -- arm of that experiment
-- column: task_type text -- kind of task the agent worked on
-- column: prompt_tokens tokens -- tokens sent, cached ones included
-- column: completion_tokens tokens -- tokens answered, reasoning included
-- column: total_tokens tokens -- tokens sent and answered
-- column: cache_read_tokens tokens -- part of prompt_tokens read from the provider's cache
-- column: cache_write_tokens tokens -- part of prompt_tokens written to the provider's cache
-- column: reasoning_tokens tokens -- part of completion_tokens spent on reasoning
-- column: cost_usd USD -- cost as the client reported it
-- column: cost_computed_usd USD -- cost by the price list
-- column: price_id text -- row of the price list that gave cost_computed_usd
-- column: latency_ms ms -- time from request to the full answer
-- column: ttft_ms ms -- time from request to the first token
-- column: queue_wait_ms ms -- time spent waiting before the request was sent
-- column: guardrail_status text -- passed, blocked or escalated, whichever of the known words for it was sent; else the word itself
-- column: guardrail_reason text -- why the guardrail decided so
-- column: guardrail_checks map -- check name to outcome
-- column: tool_calls list -- tools called, each with name, latency_ms and status
-- column: rag_context struct -- chunks_retrieved, top_similarity_score, retrieval_latency_ms
-- column: hallucination_probability ratio -- 0 to 1
-- column: groundedness ratio -- 0 to 1
-- column: relevance ratio -- 0 to 1
-- column: user_satisfaction ratio -- the client's own scale, 0 to 1 advised
-- column: task_completed flag -- the task was done
-- column: escalated flag -- the task was handed to a person
-- column: finish_reason text -- why the model stopped
-- column: error text -- error message
-- column: error_type text -- class of the error
-- column: http_status code -- HTTP status of the provider's answer
-- column: retry_count count -- tries before this one
-- column: circuit_breaker_state text -- closed, open or half_open
-- column: attributes json -- every field not named above; read it with json_get(attributes, 'key')
-- column: ingest_seq count -- batch that brought the record
-- column: date date -- UTC day of timestamp
-- column: cost USD -- reported cost, else computed by the price list; null where neither is known
-- column: is_error flag -- the call failed: it carries an error, an error_type or an HTTP status of 400 or more
-- column: is_timeout flag -- the call ran out of time, by its error_type or HTTP status 408 or 504
-- column: is_rate_limited flag -- the call was refused because there were too many, by its error_type or HTTP status 429
-- column: is_context_overflow flag -- the call did not fit into the model's context, by its error_type or finish_reason
-- column: is_unavailable flag -- the model did not answer through no fault of the call: a timeout, a 5xx, or an error_type that says so; not where a tool failed

-- Providers and their client libraries have many words for one thing; these are those that are known. The words
-- of a full context and of guardrails' decisions, and what an error is, are also those of the families that /metrics
-- counts: tests hold them together. Clients
-- that ask too much (4xx, 429 included) are answered, so that is no outage.
select
  * replace (
    case
      when lower(guardrail_status) in ('passed', 'pass', 'allowed', 'allow') then 'passed'
      when lower(guardrail_status) in ('blocked', 'block') then 'blocked'
      when lower(guardrail_status) in ('escalated', 'escalate') then 'escalated'
      else guardrail_status
    end as guardrail_status
  ),
  coalesce(cost_usd, cost_computed_usd) as cost,
  coalesce(error is not null or error_type is not null or http_status >= 400, false) as is_error,
  coalesce(
    http_status in (408, 504)
    or lower(error_type) like '%timeout%'
    or lower(error_type) in ('timed_out', 'deadline_exceeded', 'deadlineexceeded'),
    false
  ) as is_timeout,
  coalesce(
    http_status = 429
    or lower(error_type) in (
      'rate_limit', 'rate_limited', 'rate_limit_error', 'rate_limit_exceeded', 'ratelimiterror', 'too_many_requests',
      'throttled', 'throttlingexception', 'resource_exhausted'
    ),
    false
  ) as is_rate_limited,
  coalesce(
    lower(error_type) in (
      'context_length_exceeded', 'context_window_exceeded', 'context_overflow', 'model_context_window_exceeded',
      'contextwindowexceedederror', 'prompt_too_long'
    )
    or lower(finish_reason) = 'model_context_window_exceeded',
    false
  ) as is_context_overflow,
  coalesce(
    coalesce(lower(error_type), '') not like '%tool%'
    and (
      http_status = 408
      or http_status >= 500
      or lower(error_type) like '%timeout%'
      or lower(error_type) in (
        'timed_out', 'deadline_exceeded', 'deadlineexceeded', 'provider_error', 'overloaded', 'overloaded_error',
        'server_error', 'internal_server_error', 'internalservererror', 'api_error', 'apiconnectionerror',
        'connection_error', 'bad_gateway', 'service_unavailable', 'serviceunavailableerror', 'unavailable'
      )
    ),
    false
  ) as is_unavailable
from stored.agent_logs
