-- question: When did the last anomaly run end, in seconds since the epoch?
-- grain: all
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: value seconds -- absent before the first run

select
  cast(cast(max(run_at) as bigint) as double) / 1000000.0 as value
from anomaly_runs
where run_at <= $until
