-- question: How long does it take until an agent that is down answers again?
-- grain: window
-- group: reliability
-- unit: min
-- tiers: <= 240, <= 120, <= 30
-- needs: error_type|http_status agent_id
-- samples_min: 1
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value min -- mean length of the incidents that ended
-- column: samples count -- incidents that ended
-- column: numerator min -- their lengths added up
-- column: denominator count -- incidents that ended

-- An incident of priority 1 begins with a minute in which an agent is down: at least 5 calls, and the model does not
-- answer half of them or more. It ends with the next minute in which it answers more than half, however few, and
-- belongs to the window in which it began, also where it ends in the next one. One that has not
-- ended when the UTC day of the range's end does has no length yet.
with agents as (
  select
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    agent_id,
    minute_sketch(timestamp, is_unavailable) as minutes
  from agent_logs
  where timestamp >= $from
    and timestamp < date_trunc('day', $to) + interval '1 day'
    and agent_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2
),
incidents as (
  select key, unnest(outages_of(minutes, 5)) as incident
  from agents
),
lengths as (
  select
    incident['began'] as began,
    key,
    (date_part('epoch', incident['ended']) - date_part('epoch', incident['began'])) / 60 as length
  from incidents
  where incident['ended'] is not null
    and incident['began'] < $to
)
select
  date_trunc($grain, began) as window_start,
  key,
  avg(length) as value,
  count(*) as samples,
  sum(length) as numerator,
  count(*) as denominator
from lengths
group by 1, 2
order by window_start, key
