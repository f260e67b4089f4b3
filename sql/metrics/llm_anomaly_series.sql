-- question: Of how many series did the last anomaly run judge an hour, and of how many is too little known?
-- grain: slice_by, state
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: slice_by text -- what makes the slices: all, agent_id, tenant_id or model
-- column: state text -- judged or insufficient
-- column: value count -- series

select slice_by, 'judged' as state, series_judged as value
from anomaly_runs
where run_at = (select max(run_at) from anomaly_runs where run_at <= $until)
union all
select slice_by, 'insufficient' as state, series_insufficient as value
from anomaly_runs
where run_at = (select max(run_at) from anomaly_runs where run_at <= $until)
