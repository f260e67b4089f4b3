-- question: Which errors did each hour and each day bring, in figures that can be added up?
-- grain: hour, day
-- param: grain text -- each of these in turn
-- column: starts_at time -- start of the hour or the day, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that was asked
-- column: provider text -- company or service that runs the model
-- column: operation text -- kind of call, such as chat or embeddings
-- column: environment text -- deployment, such as production or staging
-- column: variant text -- arm of an experiment
-- column: error_type text -- class of the error
-- column: http_status code -- HTTP status of the provider's answer
-- column: errors count -- calls that failed
-- column: retried count -- those that were tries after the first
-- column: retries count -- tries before them
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_with_cost count -- those whose cost is known
-- column: latency_sum ms -- time to the error, added up
-- column: latency_samples count -- those that report it
-- column: users sketch -- user_id, for distinct_of
-- column: sessions sketch -- session_id, for distinct_of
-- column: first_error time -- the first, UTC
-- column: last_error time -- the last, UTC
-- column: latest struct -- at, when the last error with a message was, and message, what it says

-- Error types are the clients' own words: kept apart from the calls' rollup, so that however many there are,
-- what is asked of all calls stays small.
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
  error_type,
  http_status,
  count(*) as errors,
  count(*) filter (where retry_count > 0) as retried,
  sum(retry_count) as retries,
  sum(cost) as cost,
  count(cost) as calls_with_cost,
  sum(latency_ms) as latency_sum,
  count(latency_ms) as latency_samples,
  distinct_sketch(user_id) as users,
  distinct_sketch(session_id) as sessions,
  min(timestamp) as first_error,
  max(timestamp) as last_error,
  max(named_struct('at', timestamp, 'message', error)) filter (where error is not null) as latest
from agent_logs
where is_error
group by 1, date, tenant_id, agent_id, model, provider, operation, environment, variant, error_type, http_status
