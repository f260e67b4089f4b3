-- question: How likely are all but 10 % of the answers made up, at most, by their scores?
-- grain: window
-- group: quality
-- unit: ratio
-- target: < 0.1
-- alert: > 0.1
-- needs: hallucination_probability
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
-- column: value ratio -- 90th percentile of hallucination_probability, within 1 %
-- column: samples count -- calls that report hallucination_probability
-- column: outside count -- those of them that are below 0 or above 1

select
  date_trunc($grain, timestamp) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  quantile_of(quantile_sketch(hallucination_probability), 0.9) as value,
  count(hallucination_probability) as samples,
  count(*) filter (where hallucination_probability not between 0 and 1) as outside
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
