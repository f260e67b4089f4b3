-- question: What does it cost to get a task done?
-- grain: window
-- group: usage
-- unit: USD
-- target: < 0.1
-- alert: > 0.5
-- needs: cost task_completed
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value USD -- numerator / denominator
-- column: samples count -- tasks that were done
-- column: numerator USD -- cost of all calls, those of tasks that were not done included
-- column: denominator count -- tasks that were done

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  sum(cost) / nullif(count(*) filter (where task_completed), 0) as value,
  count(*) filter (where task_completed) as samples,
  sum(cost) as numerator,
  count(*) filter (where task_completed) as denominator
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
