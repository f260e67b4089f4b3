-- question: How many more or fewer people use the agents than in the window before?
-- grain: window
-- group: usage
-- unit: ratio
-- alert: < -0.3
-- needs: user_id
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
-- column: value ratio -- numerator / denominator - 1
-- column: samples count -- people in the window before
-- column: numerator count -- people in the window, as active_users says
-- column: denominator count -- people in the window before

-- Read it day by day. Null where the window before has no users. Where nobody calls at all after a window with users, the
-- next window says so: it has no calls to be grouped by.
with figures as (
  select
    date_trunc($grain, timestamp) as window_start,
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    distinct_of(distinct_sketch(user_id)) as figure
  from agent_logs
  where timestamp >= case $grain
      when 'hour' then date_trunc('hour', $from) - interval '1 hour'
      when 'day' then date_trunc('day', $from) - interval '1 day'
      else date_trunc('month', $from) - interval '1 month'
    end
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2
),
seen as (
  select window_start, key, max(figure) as figure
  from (
    select window_start, key, figure from figures
    union all
    select
      case $grain
        when 'hour' then window_start + interval '1 hour'
        when 'day' then window_start + interval '1 day'
        else window_start + interval '1 month'
      end as window_start,
      key,
      0 as figure
    from figures
    where figure > 0
  )
  where window_start < least($to, cast(now() as timestamp))
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
  from seen
),
compared as (
  select
    *,
    max(figure) over earlier as baseline
  from numbered
  window earlier as (partition by key order by number range between 1 preceding and 1 preceding)
)
select
  window_start,
  key,
  cast(figure as double) / nullif(baseline, 0) - 1 as value,
  coalesce(baseline, 0) as samples,
  figure as numerator,
  coalesce(baseline, 0) as denominator
from compared
where window_start >= date_trunc($grain, $from)
order by window_start, key
