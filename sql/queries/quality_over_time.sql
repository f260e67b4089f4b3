-- question: How good are the answers, over time?
-- grain: bucket
-- param: from timestamp = now-24h/h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: interval text = '1 hour' -- length of a bucket, as time_bucket takes it
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: time time -- start of the bucket, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: calls count -- all calls
-- column: hallucination_rate ratio -- mean hallucination_probability, which is the expected share
-- column: groundedness ratio -- mean, 0 to 1
-- column: relevance ratio -- mean, 0 to 1
-- column: user_satisfaction ratio -- mean, on the client's own scale
-- column: task_completion ratio -- tasks done / calls that say whether theirs was
-- column: escalation_rate ratio -- tasks handed to a person / calls that say whether theirs was
-- column: guardrail_block_rate ratio -- blocked calls / calls with a decision
-- column: guardrail_blocks count -- calls that a guardrail blocked

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  count(*) as calls,
  avg(hallucination_probability) as hallucination_rate,
  avg(groundedness) as groundedness,
  avg(relevance) as relevance,
  avg(user_satisfaction) as user_satisfaction,
  cast(count(*) filter (where task_completed) as double) / nullif(count(task_completed), 0) as task_completion,
  cast(count(*) filter (where escalated) as double) / nullif(count(escalated), 0) as escalation_rate,
  cast(count(*) filter (where guardrail_status = 'blocked') as double) / nullif(count(guardrail_status), 0) as guardrail_block_rate,
  count(*) filter (where guardrail_status = 'blocked') as guardrail_blocks
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
