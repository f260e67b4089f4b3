-- question: What did the reported day cost, and the seven days before it?
-- grain: day
-- param: day_start timestamp = yesterday -- start of the reported day, UTC
-- param: day_end timestamp = today -- end of the reported day, exclusive
-- param: tenant_id text = null -- only this tenant
-- column: date date -- UTC day; eight rows, a day without calls included
-- column: calls count -- calls the figures are made of
-- column: sessions count -- different session ids
-- column: prompt_tokens tokens -- tokens sent
-- column: completion_tokens tokens -- tokens answered
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost
-- column: errors count -- calls that failed
-- column: error_cost USD -- part of cost spent on calls that failed
-- column: retries count -- calls that were a retry
-- column: retry_cost USD -- part of cost spent on calls that were a retry

with days as (
  select unnest(generate_series(
    cast($day_start as date) - interval '7 days',
    cast($day_start as date),
    interval '1 day'
  )) as day
),
totals as (
  select
    date_trunc('day', timestamp) as day,
    count(*) as calls,
    count(distinct session_id) as sessions,
    sum(prompt_tokens) as prompt_tokens,
    sum(completion_tokens) as completion_tokens,
    sum(total_tokens) as total_tokens,
    sum(cost) as cost,
    count(*) filter (where cost is null) as calls_without_cost,
    count(*) filter (where is_error) as errors,
    sum(cost) filter (where is_error) as error_cost,
    count(*) filter (where retry_count > 0) as retries,
    sum(cost) filter (where retry_count > 0) as retry_cost
  from agent_logs
  where timestamp >= $day_start - interval '7 days'
    and timestamp < $day_end
    and ($tenant_id is null or tenant_id = $tenant_id)
  group by 1
)
select
  cast(days.day as date) as date,
  coalesce(calls, 0) as calls,
  coalesce(sessions, 0) as sessions,
  coalesce(prompt_tokens, 0) as prompt_tokens,
  coalesce(completion_tokens, 0) as completion_tokens,
  coalesce(total_tokens, 0) as total_tokens,
  coalesce(cost, 0) as cost,
  coalesce(calls_without_cost, 0) as calls_without_cost,
  coalesce(errors, 0) as errors,
  coalesce(error_cost, 0) as error_cost,
  coalesce(retries, 0) as retries,
  coalesce(retry_cost, 0) as retry_cost
from days
left join totals on totals.day = days.day
order by date
