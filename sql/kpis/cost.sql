-- question: What do the calls cost?
-- grain: window
-- group: cost
-- unit: USD
-- needs: cost
-- windows: whole
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value USD -- reported cost, else computed by the price list
-- column: samples count -- calls whose cost is known
-- column: unknown count -- calls of which no cost is known

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  sum(cost) as value,
  count(cost) as samples,
  count(*) - count(cost) as unknown
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
