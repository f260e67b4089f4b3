-- question: What share of the calls fails?
-- grain: window
-- group: reliability
-- unit: ratio
-- target: < 0.01
-- alert: > 0.05
-- tiers: < 0.05, < 0.01, < 0.005
-- needs: error|error_type|http_status
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value ratio -- numerator / denominator
-- column: samples count -- all calls
-- column: numerator count -- calls that failed
-- column: denominator count -- all calls

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  cast(count(*) filter (where is_error) as double) / nullif(count(*), 0) as value,
  count(*) as samples,
  count(*) filter (where is_error) as numerator,
  count(*) as denominator
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
