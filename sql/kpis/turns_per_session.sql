-- question: How many turns does a conversation have on average?
-- grain: window
-- group: usage
-- unit: count
-- target: 3 to 8
-- alert: > 15
-- needs: session_id
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value count -- mean turns of a session: different traces, exact for a few hundred; a call without a trace is a turn of its own
-- column: samples count -- sessions
-- column: numerator count -- turns
-- column: denominator count -- sessions

-- A session is counted once for each UTC day on which it has calls, with that day's calls; it belongs to the window of
-- the first of them, and to the agent and the model of the first that names one. So what a day had stays what it is,
-- however long sessions go on, and is kept. Days are read whole, so that a session is told whole at the ends of the range.
with found as (
  select
    date,
    tenant_id,
    session_id,
    min(timestamp) as started_at,
    first_value(agent_id order by timestamp) filter (where agent_id is not null) as agent_id,
    first_value(model order by timestamp) filter (where model is not null) as model,
    coalesce(distinct_of(distinct_sketch(trace_id)), 0) + count(*) filter (where trace_id is null) as turns
  from agent_logs
  where timestamp >= date_trunc('day', $from)
    and timestamp < date_trunc('day', $to) + interval '1 day'
    and session_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
  group by date, tenant_id, session_id
  having min(timestamp) >= $from
    and min(timestamp) < $to
)
select
  date_trunc($grain, started_at) as window_start,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  avg(cast(turns as double)) as value,
  count(*) as samples,
  sum(turns) as numerator,
  count(*) as denominator
from found
where ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by window_start, key
