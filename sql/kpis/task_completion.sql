-- question: What share of the tasks gets done?
-- grain: window
-- group: quality
-- unit: ratio
-- target: > 0.9
-- alert: < 0.75
-- tiers: > 0.8, > 0.9, > 0.95
-- needs: task_completed
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
-- column: samples count -- calls that say whether it was
-- column: numerator count -- calls whose task was done
-- column: denominator count -- calls that say whether it was

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  cast(count(*) filter (where task_completed) as double) / nullif(count(task_completed), 0) as value,
  count(task_completed) as samples,
  count(*) filter (where task_completed) as numerator,
  count(task_completed) as denominator
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
