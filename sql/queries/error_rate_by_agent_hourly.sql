-- question: What share of each agent's calls fails, per hour?
-- grain: hour
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: hour time -- start of the hour, UTC
-- column: agent_id text -- agent, null where the calls name none
-- column: calls count -- calls the rate is made of
-- column: errors count -- calls that failed
-- column: error_rate ratio -- errors / calls, 0 to 1

select
  date_trunc('hour', timestamp) as hour,
  agent_id,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  cast(count(*) filter (where is_error) as double) / count(*) as error_rate
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, agent_id
order by hour, agent_id
