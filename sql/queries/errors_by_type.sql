-- question: Which errors happen most, where are they from, and what do they cost?
-- grain: error type
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows
-- column: error_type text -- class of the error, null where only a message was reported
-- column: http_status code -- HTTP status of the provider's answer, null where none was reported
-- column: errors count -- calls that failed so
-- column: share ratio -- errors / errors_total, 0 to 1
-- column: errors_total count -- failed calls of all types in the range
-- column: cost_usd USD -- spent on these calls: reported cost, else computed by the price list
-- column: first_seen time -- first such call in the range, UTC
-- column: last_seen time -- last such call in the range, UTC
-- column: latest_error text -- message of the last such call that has one

with errors as (
  select
    error_type,
    http_status,
    count(*) as errors,
    sum(cost) as cost_usd,
    min(timestamp) as first_seen,
    max(timestamp) as last_seen,
    max(named_struct('at', timestamp, 'message', error)) filter (where error is not null) as latest
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and is_error
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by error_type, http_status
)
select
  error_type,
  http_status,
  errors,
  cast(errors as double) / sum(errors) over () as share,
  sum(errors) over () as errors_total,
  cost_usd,
  first_seen,
  last_seen,
  latest['message'] as latest_error
from errors
order by errors desc, error_type, http_status
limit $limit
