-- question: How many verdicts of the last drift run say what?
-- grain: verdict
-- column: verdict text -- drifting, stable or insufficient
-- column: value count -- verdicts

select
  verdict,
  count(*) as value
from drift_results
where run_at = (select max(run_at) from drift_results)
group by verdict
