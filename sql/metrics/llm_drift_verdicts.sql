-- question: How many verdicts of the last drift run say what?
-- grain: verdict
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: verdict text -- drifting, stable or insufficient
-- column: value count -- verdicts

select
  verdict,
  count(*) as value
from drift_results
where run_at = (select max(run_at) from drift_results where run_at <= $until)
group by verdict
