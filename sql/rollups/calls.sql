-- question: What did each hour and each day bring, per agent, model and tenant, in figures that can be added up?
-- grain: hour, day
-- param: grain text -- each of these in turn
-- column: starts_at time -- start of the hour or the day, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that answered
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of call, such as chat or embeddings
-- column: environment text -- deployment, such as production or staging
-- column: variant text -- arm of an experiment
-- column: calls count -- all calls
-- column: errors count -- calls that failed
-- column: timeouts count -- calls that ran out of time
-- column: rate_limited count -- calls refused because there were too many
-- column: context_overflows count -- calls that did not fit into the model's context
-- column: unavailable count -- calls that the model did not answer through no fault of theirs
-- column: breaker_open count -- calls that met an open circuit breaker
-- column: breaker_samples count -- calls that tell their circuit breaker's state
-- column: retried count -- calls that were tries after the first
-- column: retries count -- tries before the calls
-- column: guardrail_decided count -- calls with a guardrail's decision
-- column: guardrail_passed count -- calls that a guardrail let pass
-- column: guardrail_blocked count -- calls that a guardrail blocked
-- column: guardrail_escalated count -- calls that a guardrail escalated
-- column: retry_samples count -- calls that say how often they were tried before
-- column: error_samples count -- calls that carry an error's message
-- column: error_type_samples count -- calls that carry an error's class
-- column: http_status_samples count -- calls that carry the status of the provider's answer
-- column: finish_samples count -- calls that say why the model stopped
-- column: user_samples count -- calls that name a user
-- column: session_samples count -- calls that name a conversation
-- column: trace_samples count -- calls that name a trace
-- column: model_version_samples count -- calls that report model_version
-- column: prompt_version_samples count -- calls that report prompt_version
-- column: experiment_id_samples count -- calls that report experiment_id
-- column: task_type_samples count -- calls that report task_type
-- column: calls_with_tools count -- calls that called tools
-- column: prompt_tokens_samples count -- calls that report the tokens sent
-- column: completion_tokens_samples count -- calls that report the tokens answered
-- column: total_tokens_samples count -- calls that report total_tokens
-- column: cache_read_tokens_samples count -- calls that report cache_read_tokens
-- column: cache_write_tokens_samples count -- calls that report cache_write_tokens
-- column: reasoning_tokens_samples count -- calls that report reasoning_tokens
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cache_read_tokens tokens -- part of prompt_tokens read from the provider's cache
-- column: cache_write_tokens tokens -- part of prompt_tokens written to the provider's cache
-- column: reasoning_tokens tokens -- part of completion_tokens spent on reasoning
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_with_cost count -- calls whose cost is known
-- column: calls_without_cost count -- calls whose cost is not known
-- column: error_cost USD -- cost of calls that failed
-- column: retry_cost USD -- cost of calls that were tries after the first
-- column: reported_cost USD -- cost as the client reported it
-- column: calls_reported count -- calls with a reported cost
-- column: computed_cost USD -- cost by the price list
-- column: calls_computed count -- calls with a computed cost
-- column: cost_difference USD -- computed less reported, of calls that have both
-- column: calls_compared count -- calls that have both
-- column: compared_reported_cost USD -- reported cost of calls that have both
-- column: compared_computed_cost USD -- computed cost of calls that have both
-- column: latency_sum ms -- time to the full answer, added up
-- column: latency_samples count -- calls that report it
-- column: latency_max ms -- the longest
-- column: timed_tokens tokens -- tokens answered by calls that report latency_ms
-- column: timed_tokens_latency ms -- the latency_ms of calls that report tokens answered, added up
-- column: ttft_max ms -- the longest
-- column: ttft_sum ms -- time to the first token, added up
-- column: ttft_samples count -- calls that report it
-- column: queue_wait_max ms -- the longest
-- column: queue_wait_sum ms -- time spent waiting, added up
-- column: queue_wait_samples count -- calls that report it
-- column: hallucination_sum ratio -- hallucination_probability, added up
-- column: hallucination_samples count -- calls that report it
-- column: hallucination_outside count -- those of them that are below 0 or above 1
-- column: groundedness_sum ratio -- groundedness, added up
-- column: groundedness_samples count -- calls that report it
-- column: groundedness_outside count -- those of them that are below 0 or above 1
-- column: relevance_sum ratio -- relevance, added up
-- column: relevance_samples count -- calls that report it
-- column: satisfaction_sum ratio -- user_satisfaction, added up
-- column: satisfaction_samples count -- calls that report it
-- column: satisfaction_outside count -- those of them that are below 0 or above 1
-- column: tasks_completed count -- calls whose task was done
-- column: completion_samples count -- calls that say whether it was
-- column: tasks_escalated count -- calls whose task was handed to a person
-- column: escalation_samples count -- calls that say whether it was
-- column: latency_quantiles sketch -- latency_ms, for quantile_of
-- column: latency_histogram sketch -- latency_ms, for histogram_of
-- column: ttft_quantiles sketch -- ttft_ms, for quantile_of
-- column: ttft_histogram sketch -- ttft_ms, for histogram_of
-- column: queue_wait_quantiles sketch -- queue_wait_ms, for quantile_of
-- column: queue_wait_histogram sketch -- queue_wait_ms, for histogram_of
-- column: hallucination_quantiles sketch -- hallucination_probability, for quantile_of
-- column: users sketch -- user_id, for distinct_of
-- column: sessions sketch -- session_id, for distinct_of
-- column: minutes sketch -- calls by the minute, and how many of them is_unavailable, for outages_of
-- column: first_call time -- the first call, UTC
-- column: last_call time -- the last call, UTC

select
  date_trunc($grain, timestamp) as starts_at,
  date,
  tenant_id,
  agent_id,
  model,
  provider,
  operation,
  environment,
  variant,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  count(*) filter (where is_timeout) as timeouts,
  count(*) filter (where is_rate_limited) as rate_limited,
  count(*) filter (where is_context_overflow) as context_overflows,
  count(*) filter (where is_unavailable) as unavailable,
  count(*) filter (where lower(circuit_breaker_state) = 'open') as breaker_open,
  count(circuit_breaker_state) as breaker_samples,
  count(*) filter (where retry_count > 0) as retried,
  sum(retry_count) as retries,
  count(guardrail_status) as guardrail_decided,
  count(*) filter (where guardrail_status = 'passed') as guardrail_passed,
  count(*) filter (where guardrail_status = 'blocked') as guardrail_blocked,
  count(*) filter (where guardrail_status = 'escalated') as guardrail_escalated,
  count(retry_count) as retry_samples,
  count(error) as error_samples,
  count(error_type) as error_type_samples,
  count(http_status) as http_status_samples,
  count(finish_reason) as finish_samples,
  count(user_id) as user_samples,
  count(session_id) as session_samples,
  count(trace_id) as trace_samples,
  count(model_version) as model_version_samples,
  count(prompt_version) as prompt_version_samples,
  count(experiment_id) as experiment_id_samples,
  count(task_type) as task_type_samples,
  count(*) filter (where array_length(tool_calls) > 0) as calls_with_tools,
  count(prompt_tokens) as prompt_tokens_samples,
  count(completion_tokens) as completion_tokens_samples,
  count(total_tokens) as total_tokens_samples,
  count(cache_read_tokens) as cache_read_tokens_samples,
  count(cache_write_tokens) as cache_write_tokens_samples,
  count(reasoning_tokens) as reasoning_tokens_samples,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cache_read_tokens) as cache_read_tokens,
  sum(cache_write_tokens) as cache_write_tokens,
  sum(reasoning_tokens) as reasoning_tokens,
  sum(cost) as cost,
  count(cost) as calls_with_cost,
  count(*) filter (where cost is null) as calls_without_cost,
  sum(cost) filter (where is_error) as error_cost,
  sum(cost) filter (where retry_count > 0) as retry_cost,
  sum(cost_usd) as reported_cost,
  count(cost_usd) as calls_reported,
  sum(cost_computed_usd) as computed_cost,
  count(cost_computed_usd) as calls_computed,
  sum(cost_computed_usd - cost_usd) as cost_difference,
  count(cost_computed_usd - cost_usd) as calls_compared,
  sum(cost_usd) filter (where cost_computed_usd is not null) as compared_reported_cost,
  sum(cost_computed_usd) filter (where cost_usd is not null) as compared_computed_cost,
  sum(latency_ms) as latency_sum,
  count(latency_ms) as latency_samples,
  max(latency_ms) as latency_max,
  sum(completion_tokens) filter (where latency_ms is not null) as timed_tokens,
  sum(latency_ms) filter (where completion_tokens is not null) as timed_tokens_latency,
  max(ttft_ms) as ttft_max,
  sum(ttft_ms) as ttft_sum,
  count(ttft_ms) as ttft_samples,
  max(queue_wait_ms) as queue_wait_max,
  sum(queue_wait_ms) as queue_wait_sum,
  count(queue_wait_ms) as queue_wait_samples,
  sum(hallucination_probability) as hallucination_sum,
  count(hallucination_probability) as hallucination_samples,
  count(*) filter (where hallucination_probability not between 0 and 1) as hallucination_outside,
  sum(groundedness) as groundedness_sum,
  count(groundedness) as groundedness_samples,
  count(*) filter (where groundedness not between 0 and 1) as groundedness_outside,
  sum(relevance) as relevance_sum,
  count(relevance) as relevance_samples,
  sum(user_satisfaction) as satisfaction_sum,
  count(user_satisfaction) as satisfaction_samples,
  count(*) filter (where user_satisfaction not between 0 and 1) as satisfaction_outside,
  count(*) filter (where task_completed) as tasks_completed,
  count(task_completed) as completion_samples,
  count(*) filter (where escalated) as tasks_escalated,
  count(escalated) as escalation_samples,
  quantile_sketch(latency_ms) as latency_quantiles,
  histogram_sketch(latency_ms, 'latency_ms') as latency_histogram,
  quantile_sketch(ttft_ms) as ttft_quantiles,
  histogram_sketch(ttft_ms, 'latency_ms') as ttft_histogram,
  quantile_sketch(queue_wait_ms) as queue_wait_quantiles,
  histogram_sketch(queue_wait_ms, 'latency_ms') as queue_wait_histogram,
  quantile_sketch(hallucination_probability) as hallucination_quantiles,
  distinct_sketch(user_id) as users,
  distinct_sketch(session_id) as sessions,
  minute_sketch(timestamp, is_unavailable) as minutes,
  min(timestamp) as first_call,
  max(timestamp) as last_call
from agent_logs
group by 1, date, tenant_id, agent_id, model, provider, operation, environment, variant
