-- question: How many calls are made, and how many of them fail, over time?
-- grain: bucket
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: interval text = '1 hour' -- length of a bucket, as time_bucket takes it
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: time time -- start of the bucket, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: calls count -- all calls
-- column: errors count -- calls that failed
-- column: error_rate ratio -- errors / calls
-- column: timeouts count -- calls that ran out of time
-- column: rate_limited count -- calls that were refused because there were too many
-- column: retries count -- calls that were tries after the first
-- column: sessions count -- different conversations, an estimate within 2 % where there are many
-- column: users count -- different people, an estimate within 2 % where there are many

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  cast(count(*) filter (where is_error) as double) / nullif(count(*), 0) as error_rate,
  count(*) filter (where is_timeout) as timeouts,
  count(*) filter (where is_rate_limited) as rate_limited,
  count(*) filter (where retry_count > 0) as retries,
  distinct_of(distinct_sketch(session_id)) as sessions,
  distinct_of(distinct_sketch(user_id)) as users
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
