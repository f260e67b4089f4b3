-- question: How many tokens are read and written, over time?
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
-- column: prompt_tokens tokens -- tokens sent, cached ones included
-- column: completion_tokens tokens -- tokens answered, reasoning included
-- column: total_tokens tokens -- tokens sent and answered
-- column: cache_read_tokens tokens -- part of prompt_tokens read from the provider's cache
-- column: reasoning_tokens tokens -- part of completion_tokens spent on reasoning
-- column: prompt_tokens_mean tokens -- prompt_tokens of a call
-- column: completion_tokens_mean tokens -- completion_tokens of a call

select
  time_bucket($interval, timestamp) as time,
  case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cache_read_tokens) as cache_read_tokens,
  sum(reasoning_tokens) as reasoning_tokens,
  avg(prompt_tokens) as prompt_tokens_mean,
  avg(completion_tokens) as completion_tokens_mean
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, 2
order by time, key
