-- question: Which categories did the calls of each window have, per agent, model or tenant?
-- grain: column, window, category
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive, and of its last window
-- param: interval text -- length of a window, as time_bucket takes it
-- param: by text(all|agent_id|model|tenant_id) = all -- what has counts of its own
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: tenant_id text = null -- only this tenant
-- column: column_name text -- which column the category is of
-- column: slice text -- agent, model or tenant, null where the calls name none; all for `by` = all
-- column: starts_at time -- start of the window, UTC
-- column: category text -- its value
-- column: calls count -- calls that have it; of tools, how often they were called

-- One part for each column, so that each comes from the rollup that has it. Calls without an error are those of
-- drift_numbers less those here.
select
  'agent_id' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  agent_id as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and $by <> 'agent_id'
  and agent_id is not null
group by 2, 3, 4
union all
select
  'model' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  model as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and $by <> 'model'
  and model is not null
group by 2, 3, 4
union all
select
  'tenant_id' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  tenant_id as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and $by <> 'tenant_id'
  and tenant_id is not null
group by 2, 3, 4
union all
select
  'model_version' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  model_version as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and model_version is not null
group by 2, 3, 4
union all
select
  'prompt_version' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  prompt_version as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and prompt_version is not null
group by 2, 3, 4
union all
select
  'task_type' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  task_type as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and task_type is not null
group by 2, 3, 4
union all
select
  'finish_reason' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  finish_reason as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and finish_reason is not null
group by 2, 3, 4
union all
select
  'task_completed' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  cast(task_completed as varchar) as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and task_completed is not null
group by 2, 3, 4
union all
select
  'escalated' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  cast(escalated as varchar) as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and escalated is not null
group by 2, 3, 4
union all
select
  'guardrail_status' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  guardrail_status as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and guardrail_status is not null
group by 2, 3, 4
union all
select
  'error_type' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  coalesce(error_type, 'without a type') as category,
  count(*) as calls
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and is_error
group by 2, 3, 4
union all
select
  'tool' as column_name,
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  tool as category,
  count(*) as calls
from tool_calls
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
  and tool is not null
group by 2, 3, 4
order by slice, starts_at
