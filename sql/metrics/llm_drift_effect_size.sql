-- question: How large is the change of each column that drifts, of each agent, model and tenant, as the last run found it?
-- grain: column, slice
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: column_name text -- the column, or silent_model_change, whose size is 1
-- column: slice_by text -- what makes the slice: all, agent_id, model or tenant_id
-- column: slice text -- the agent, model or tenant, empty for all calls
-- column: value ratio -- a Kolmogorov-Smirnov distance or a Cramér's V, 0 to 1

select
  column_name,
  slice_by,
  coalesce(slice, '') as slice,
  coalesce(effect, 1.0) as value
from drift_results
where run_at = (select max(run_at) from drift_results where run_at <= $until)
  and verdict = 'drifting'
order by value desc
limit 500
