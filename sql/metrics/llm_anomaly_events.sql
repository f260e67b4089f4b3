-- question: How many sessions and calls of each agent's last judged hour are odd by themselves, by kind?
-- grain: kpi, slice
-- param: from timestamp = now-4h -- an hour that began before is not shown
-- param: until timestamp = now -- later runs are not shown: the clock was ahead when they ran
-- column: kpi text -- the named query that finds them, such as retry_loops or mispriced_calls
-- column: slice text -- the agent, empty for calls that name none
-- column: value count -- sessions or calls, at most 20 of a kind in all that a run judges

select
  kpi,
  coalesce(slice, '') as slice,
  count(*) as value
from anomalies
where subject <> 'hour'
  and window_start = (select max(judged_to) from anomaly_runs where run_at <= $until) - interval '1 hour'
  and window_start >= $from
group by 1, 2
order by value desc
limit 500
