-- question: Which tools did each hour and each day see called, in figures that can be added up?
-- grain: hour, day
-- param: grain text -- each of these in turn
-- column: starts_at time -- start of the hour or the day, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that called the tool
-- column: model text -- model that asked for it
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of the surrounding call
-- column: environment text -- deployment, such as production or staging
-- column: variant text -- arm of an experiment
-- column: tool text -- name of the tool
-- column: tool_calls_made count -- calls of the tool
-- column: tool_calls_with_status count -- those that report a status, the base of a failure rate
-- column: tool_failures count -- those whose status is neither a success nor work not finished
-- column: tool_latency_sum ms -- time the tool took, added up
-- column: tool_latency_samples count -- calls that report it
-- column: tool_latency_max ms -- the longest
-- column: tool_latency_quantiles sketch -- the tool's time, for quantile_of
-- column: tool_latency_histogram sketch -- the tool's time, for histogram_of
-- column: sessions sketch -- session_id, for distinct_of
-- column: first_call time -- the first call, UTC
-- column: last_call time -- the last call, UTC
-- column: last_failure time -- the last failed call, UTC

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
  tool,
  count(*) as tool_calls_made,
  count(failed) as tool_calls_with_status,
  count(*) filter (where failed) as tool_failures,
  sum(latency_ms) as tool_latency_sum,
  count(latency_ms) as tool_latency_samples,
  max(latency_ms) as tool_latency_max,
  quantile_sketch(latency_ms) as tool_latency_quantiles,
  histogram_sketch(latency_ms, 'latency_ms') as tool_latency_histogram,
  distinct_sketch(session_id) as sessions,
  min(timestamp) as first_call,
  max(timestamp) as last_call,
  max(timestamp) filter (where failed) as last_failure
from tool_calls
group by 1, date, tenant_id, agent_id, model, provider, operation, environment, variant, tool
