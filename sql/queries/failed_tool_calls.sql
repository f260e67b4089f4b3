-- question: Which tools fail, for which agent, and how slow are they?
-- grain: agent and tool
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows
-- column: agent_id text -- agent, null where the calls name none
-- column: tool text -- name of the tool
-- column: calls count -- calls of the tool
-- column: calls_with_status count -- calls that report a status, the base of failure_rate
-- column: failures count -- calls whose status is neither a success nor work not finished
-- column: failure_rate ratio -- failures / calls_with_status, 0 to 1; null where no call reports a status
-- column: latency_samples count -- calls that report their time
-- column: latency_p95_ms ms -- 95th percentile of the tool's time, to within 1 %
-- column: last_failure time -- last failed call in the range, UTC

select
  agent_id,
  tool,
  count(*) as calls,
  count(failed) as calls_with_status,
  count(*) filter (where failed) as failures,
  cast(count(*) filter (where failed) as double) / nullif(count(failed), 0) as failure_rate,
  count(latency_ms) as latency_samples,
  approx_percentile(latency_ms, 0.95) as latency_p95_ms,
  max(timestamp) filter (where failed) as last_failure
from tool_calls
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by agent_id, tool
order by failures desc, calls desc, agent_id, tool
limit $limit
