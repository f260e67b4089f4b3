-- question: How are the latencies of an experiment's variants distributed?
-- grain: variant
-- param: experiment_id text -- the experiment
-- param: unit text(user|session|call) -- what was randomised
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- column: variant text -- arm
-- column: sketch sketch -- quantile sketch of latency_ms

-- Units that met several variants belong to none; they are few, so their ids are what is held.
with several as (
  select
    tenant_id,
    case $unit when 'user' then user_id else session_id end as unit_id
  from agent_logs
  where $unit <> 'call'
    and timestamp >= $from
    and timestamp < $to
    and experiment_id = $experiment_id
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
  group by 1, 2
  having min(variant) <> max(variant)
),
calls as (
  select
    coalesce(tenant_id, '') as tenant_key,
    case $unit when 'user' then user_id when 'session' then session_id else '' end as unit_id,
    variant,
    latency_ms
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and experiment_id = $experiment_id
    and variant is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
)
select
  calls.variant,
  quantile_sketch(calls.latency_ms) as sketch
from calls
left anti join several
  on calls.unit_id = several.unit_id
  and calls.tenant_key = coalesce(several.tenant_id, '')
where calls.unit_id is not null
group by calls.variant
order by calls.variant
