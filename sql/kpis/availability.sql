-- question: What share of the calls does the model answer, or refuse for a fault of the call?
-- grain: window
-- group: reliability
-- unit: ratio
-- tiers: >= 0.99, >= 0.995, >= 0.999
-- needs: error_type|http_status
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value ratio -- answered / all
-- column: samples count -- all calls
-- column: numerator count -- calls that were answered
-- column: denominator count -- all calls

-- Uptime as the calls met it, not by the clock: an hour without calls says nothing, and an outage at noon weighs
-- more than one at night. What the client could have mended (4xx, rate limits, tools) is no outage.
select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  cast(count(*) - count(*) filter (where is_unavailable) as double) / count(*) as value,
  count(*) as samples,
  count(*) - count(*) filter (where is_unavailable) as numerator,
  count(*) as denominator
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
