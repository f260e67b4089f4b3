-- question: What does the window cost against the mean of the 7 before?
-- grain: window
-- group: cost
-- unit: ratio
-- target: 0.8 to 1.2
-- alert: > 1.5
-- needs: cost
-- samples_min: 3
-- judged_at: day
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
-- column: value ratio -- numerator / denominator
-- column: samples count -- windows of the 7 before whose cost is known: the baseline
-- column: numerator USD -- cost of the window
-- column: denominator USD -- mean cost of those windows

-- A window without calls, or whose cost nobody knows, is none of $0: it is no part of the baseline.
with figures as (
  select
    date_trunc($grain, timestamp) as window_start,
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    sum(cost) as figure
  from agent_logs
  where timestamp >= case $grain
      when 'hour' then date_trunc('hour', $from) - interval '7 hour'
      when 'day' then date_trunc('day', $from) - interval '7 day'
      else date_trunc('month', $from) - interval '7 month'
    end
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2
),
numbered as (
  select
    *,
    case $grain
      when 'hour' then cast(date_part('epoch', window_start) as bigint) / 3600
      when 'day' then cast(date_part('epoch', window_start) as bigint) / 86400
      else cast(date_part('year', window_start) as bigint) * 12 + cast(date_part('month', window_start) as bigint)
    end as number
  from figures
),
compared as (
  select
    *,
    avg(figure) over earlier as baseline,
    count(figure) over earlier as samples
  from numbered
  window earlier as (partition by key order by number range between 7 preceding and 1 preceding)
)
select
  window_start,
  key,
  figure / nullif(baseline, 0) as value,
  samples,
  figure as numerator,
  baseline as denominator
from compared
where window_start >= date_trunc($grain, $from)
order by window_start, key
