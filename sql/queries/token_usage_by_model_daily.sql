-- question: How many tokens does each model use per day, and how many come from the cache?
-- grain: day
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day time -- start of the day, UTC
-- column: model text -- model, null where the calls name none
-- column: calls count -- calls the figures are made of
-- column: prompt_tokens tokens -- tokens sent, cached ones included
-- column: completion_tokens tokens -- tokens answered, reasoning included
-- column: total_tokens tokens -- tokens sent and answered
-- column: cache_read_tokens tokens -- part of prompt_tokens read from the provider's cache
-- column: cache_write_tokens tokens -- part of prompt_tokens written to the provider's cache
-- column: reasoning_tokens tokens -- part of completion_tokens spent on reasoning
-- column: cache_read_ratio ratio -- cache_read_tokens / prompt_tokens, 0 to 1

select
  date_trunc('day', timestamp) as day,
  model,
  count(*) as calls,
  sum(prompt_tokens) as prompt_tokens,
  sum(completion_tokens) as completion_tokens,
  sum(total_tokens) as total_tokens,
  sum(cache_read_tokens) as cache_read_tokens,
  sum(cache_write_tokens) as cache_write_tokens,
  sum(reasoning_tokens) as reasoning_tokens,
  cast(sum(cache_read_tokens) as double) / nullif(sum(prompt_tokens), 0) as cache_read_ratio
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, model
order by day, total_tokens desc nulls last, model
