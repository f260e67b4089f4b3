-- question: How odd was the last judged hour of each KPI that its past does not explain, of each agent, tenant and model?
-- grain: kpi, slice
-- param: from timestamp = now-4h -- an hour that began before is not shown
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: kpi text -- the KPI, or traffic
-- column: slice_by text -- what makes the slice: all, agent_id, tenant_id or model
-- column: slice text -- the agent, tenant or model, empty for all calls
-- column: value ratio -- the score, 0.5 to below 1; hours that fit have no series, and none has where nothing is judged

select
  kpi,
  slice_by,
  coalesce(slice, '') as slice,
  max(score) as value
from anomalies
where subject = 'hour'
  and window_start = (select max(judged_to) from anomaly_runs where run_at <= $until) - interval '1 hour'
  and window_start >= $from
group by 1, 2, 3
order by value desc
limit 500
