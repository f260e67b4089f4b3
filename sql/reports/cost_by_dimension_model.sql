-- question: Which models did the reported day's cost go to, and what were they the day before?
-- grain: model
-- param: day_start timestamp = yesterday -- start of the reported day, UTC
-- param: day_end timestamp = today -- end of the reported day, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: limit int = 20 -- most rows
-- column: name text -- model, null where the calls name none
-- column: calls count -- calls the figures are made of
-- column: sessions count -- different session ids
-- column: total_tokens tokens -- tokens sent and answered
-- column: cost USD -- reported cost, else computed by the price list
-- column: calls_without_cost count -- calls of which no cost is known, absent from cost
-- column: cost_per_call USD -- cost / calls of which a cost is known; null where there is none
-- column: share ratio -- cost / cost of the whole day, 0 to 1; null where the day cost nothing
-- column: previous_calls count -- calls of the day before
-- column: previous_cost USD -- cost of the day before

-- Grouped by session first: one pass counts the sessions of any number of models without a hash
-- table for each.
with sessions as (
  select
    model as name,
    session_id,
    count(*) filter (where timestamp >= $day_start) as calls,
    sum(total_tokens) filter (where timestamp >= $day_start) as total_tokens,
    sum(cost) filter (where timestamp >= $day_start) as cost,
    count(cost) filter (where timestamp >= $day_start) as calls_with_cost,
    count(*) filter (where timestamp < $day_start) as previous_calls,
    sum(cost) filter (where timestamp < $day_start) as previous_cost
  from agent_logs
  where timestamp >= $day_start - interval '1 day'
    and timestamp < $day_end
    and ($tenant_id is null or tenant_id = $tenant_id)
  group by model, session_id
),
names as (
  select
    name,
    sum(calls) as calls,
    count(session_id) filter (where calls > 0) as sessions,
    coalesce(sum(total_tokens), 0) as total_tokens,
    coalesce(sum(cost), 0) as cost,
    sum(calls_with_cost) as calls_with_cost,
    sum(previous_calls) as previous_calls,
    coalesce(sum(previous_cost), 0) as previous_cost
  from sessions
  group by name
)
select
  name,
  calls,
  sessions,
  total_tokens,
  cost,
  calls - calls_with_cost as calls_without_cost,
  cost / nullif(calls_with_cost, 0) as cost_per_call,
  cost / nullif(sum(cost) over (), 0) as share,
  previous_calls,
  previous_cost
from names
where calls > 0
order by cost desc, calls desc, name
limit $limit
