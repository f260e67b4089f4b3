-- question: How were the numbers of each hour's calls distributed, per agent, model and tenant, in buckets that can be added up?
-- grain: hour
-- param: grain text -- the hour
-- column: starts_at time -- start of the hour, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that answered
-- column: calls count -- all calls
-- column: prompt_tokens sketch -- for histogram_of, as all below
-- column: completion_tokens sketch -- tokens answered
-- column: cost sketch -- of micro-USD, so that a call's cost is within the buckets
-- column: latency_ms sketch -- time to the full answer
-- column: ttft_ms sketch -- time to the first token
-- column: hallucination_probability sketch -- as reported
-- column: groundedness sketch -- as reported
-- column: relevance sketch -- as reported
-- column: user_satisfaction sketch -- as reported
-- column: prompt_tokens_quantiles sketch -- prompt_tokens, for quantile_of, as all below
-- column: completion_tokens_quantiles sketch -- completion_tokens
-- column: cost_quantiles sketch -- cost
-- column: groundedness_lack_quantiles sketch -- 1 - groundedness

-- What drift is judged by: finer buckets than the calls' rollup has, of more columns, in fewer groups. Two ranges are
-- compared by the quantile sketches, which are finer still; the calls' rollup has those of latency_ms, ttft_ms and
-- hallucination_probability.
select
  date_trunc($grain, timestamp) as starts_at,
  date,
  tenant_id,
  agent_id,
  model,
  count(*) as calls,
  histogram_sketch(prompt_tokens, 'logarithmic') as prompt_tokens,
  histogram_sketch(completion_tokens, 'logarithmic') as completion_tokens,
  histogram_sketch(cost * 1000000, 'logarithmic') as cost,
  histogram_sketch(latency_ms, 'logarithmic') as latency_ms,
  histogram_sketch(ttft_ms, 'logarithmic') as ttft_ms,
  histogram_sketch(hallucination_probability, 'score') as hallucination_probability,
  histogram_sketch(groundedness, 'score') as groundedness,
  histogram_sketch(relevance, 'score') as relevance,
  histogram_sketch(user_satisfaction, 'score') as user_satisfaction,
  quantile_sketch(prompt_tokens) as prompt_tokens_quantiles,
  quantile_sketch(completion_tokens) as completion_tokens_quantiles,
  quantile_sketch(cost) as cost_quantiles,
  quantile_sketch(1 - groundedness) as groundedness_lack_quantiles
from agent_logs
group by 1, date, tenant_id, agent_id, model
