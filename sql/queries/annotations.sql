-- question: Which anomalies and which drift did the jobs find in the range?
-- grain: anomaly, drifting column of a slice
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: agent_id text = null -- only this agent's, and those of the others that are named
-- param: tenant_id text = null -- only this tenant's, likewise
-- param: model text = null -- only this model's, likewise
-- param: score_min float = 0.5 -- odd hours that score less are left out
-- param: limit int = 1000 -- most rows, the latest ones
-- column: began time -- start of the odd hour, of that of an odd session's last call, or of that in which a drift began, UTC
-- column: ended time -- end of that hour, or of the last windows in which the drift was found, UTC
-- column: title text -- what is odd, and where
-- column: text text -- how much it is so
-- column: tags text -- anomaly or drift

-- A drift that one run after the other finds is one row.
with found as (
  select
    window_start as began,
    window_start + interval '1 hour' as ended,
    kpi as subject,
    slice_by,
    slice,
    concat(
      round(value, 4), ' ', unit, ', expected ', coalesce(cast(round(expected, 4) as text), 'unknown'),
      coalesce(', score ' || cast(round(score, 2) as text), ''), coalesce(', session ' || session_id, ''),
      coalesce(', from ' || part_by || ' ' || part, '')
    ) as text,
    'anomaly' as tags
  from anomalies
  where window_start >= $from
    and window_start < $to
    and (score is null or score >= $score_min)
  union all
  select
    coalesce(began_at, min(window_end)) as began,
    max(window_end) as ended,
    column_name as subject,
    slice_by,
    slice,
    concat('effect ', coalesce(cast(round(max(effect), 2) as text), 'unknown'), coalesce(concat(', ', max(moved)), '')) as text,
    'drift' as tags
  from drift_results
  where verdict = 'drifting'
  group by column_name, slice_by, slice, began_at
  having coalesce(began_at, min(window_end)) < $to
    and max(window_end) >= $from
)
select
  began,
  ended,
  concat(subject, case when slice_by = 'all' then '' else concat(' of ', coalesce(slice, '(none)')) end) as title,
  text,
  tags
from found
where coalesce($agent_id, $tenant_id, $model) is null
  or (slice_by = 'agent_id' and slice = $agent_id)
  or (slice_by = 'tenant_id' and slice = $tenant_id)
  or (slice_by = 'model' and slice = $model)
order by began desc, title
limit $limit
