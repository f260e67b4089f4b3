-- question: How satisfied are the users?
-- grain: window
-- group: quality
-- unit: ratio
-- target: > 0.8
-- alert: < 0.6
-- tiers: > 0.7, > 0.8, > 0.9
-- needs: user_satisfaction
-- scale: 0 to 1
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value ratio -- mean user_satisfaction
-- column: samples count -- calls that report user_satisfaction
-- column: outside count -- those of them that are below 0 or above 1

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  avg(user_satisfaction) as value,
  count(user_satisfaction) as samples,
  count(*) filter (where user_satisfaction not between 0 and 1) as outside
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
