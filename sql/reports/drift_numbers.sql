-- question: How were the numbers of calls distributed in each window, per agent, model or tenant?
-- grain: window
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive, and of its last window
-- param: interval text -- length of a window, as time_bucket takes it
-- param: by text(all|agent_id|model|tenant_id) = all -- what has distributions of its own
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: tenant_id text = null -- only this tenant
-- column: slice text -- agent, model or tenant, null where the calls name none; all for `by` = all
-- column: starts_at time -- start of the window, UTC
-- column: calls count -- all calls
-- column: prompt_tokens sketch -- for histogram_of, as all below
-- column: completion_tokens sketch -- tokens answered
-- column: cost sketch -- of micro-USD
-- column: latency_ms sketch -- time to the full answer
-- column: ttft_ms sketch -- time to the first token
-- column: hallucination_probability sketch -- as reported
-- column: groundedness sketch -- as reported
-- column: relevance sketch -- as reported
-- column: user_satisfaction sketch -- as reported

select
  case $by when 'agent_id' then agent_id when 'model' then model when 'tenant_id' then tenant_id else 'all' end as slice,
  time_bucket($interval, timestamp, $to) as starts_at,
  count(*) as calls,
  histogram_sketch(prompt_tokens, 'logarithmic') as prompt_tokens,
  histogram_sketch(completion_tokens, 'logarithmic') as completion_tokens,
  histogram_sketch(cost * 1000000, 'logarithmic') as cost,
  histogram_sketch(latency_ms, 'logarithmic') as latency_ms,
  histogram_sketch(ttft_ms, 'logarithmic') as ttft_ms,
  histogram_sketch(hallucination_probability, 'score') as hallucination_probability,
  histogram_sketch(groundedness, 'score') as groundedness,
  histogram_sketch(relevance, 'score') as relevance,
  histogram_sketch(user_satisfaction, 'score') as user_satisfaction
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
  and ($tenant_id is null or tenant_id = $tenant_id)
group by 1, 2
order by slice, starts_at
