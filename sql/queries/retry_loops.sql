-- question: Which sessions try the same again and again without getting anywhere?
-- grain: run of retries and failures in one session
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: calls_min int = 6 -- only runs of at least so many calls
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the longest runs first
-- column: began time -- first call of the run, UTC
-- column: ended time -- last call of the run, UTC
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: session_id text -- conversation they belong to
-- column: calls count -- length of the run: calls one after the other that are retries or failed
-- column: errors count -- those that failed
-- column: retry_count_max count -- most tries before one of them
-- column: total_tokens tokens -- tokens sent and answered by the run
-- column: cost_usd USD -- cost of the run, reported or computed
-- column: error_type text -- class of the run's last error, null without one
-- column: request_ids list -- first 5 calls

with marked as (
  select
    timestamp,
    tenant_id,
    agent_id,
    session_id,
    request_id,
    total_tokens,
    cost,
    retry_count,
    is_error,
    error_type,
    coalesce(retry_count > 0, false) or is_error as is_again
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and session_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
),
-- Calls of a kind that follow each other have the same difference of their numbers among all and among their kind.
numbered as (
  select
    *,
    row_number() over (partition by tenant_id, agent_id, session_id order by timestamp, request_id)
    - row_number() over (partition by tenant_id, agent_id, session_id, is_again order by timestamp, request_id) as run
  from marked
)
select
  min(timestamp) as began,
  max(timestamp) as ended,
  tenant_id,
  agent_id,
  session_id,
  count(*) as calls,
  count(*) filter (where is_error) as errors,
  max(retry_count) as retry_count_max,
  sum(total_tokens) as total_tokens,
  sum(cost) as cost_usd,
  last(error_type, timestamp) as error_type,
  array_slice(array_agg(request_id order by timestamp, request_id), 1, 5) as request_ids
from numbered
where is_again
group by tenant_id, agent_id, session_id, run
having count(*) >= $calls_min
order by calls desc, began, session_id
limit $limit
