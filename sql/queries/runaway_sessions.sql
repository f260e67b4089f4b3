-- question: Which sessions use far more tokens than their agent's sessions do?
-- grain: agent and session
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: false_max float = 0.01 -- how many of an agent's sessions in the range may be here where nothing is wrong
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 100 -- most rows, the least probable first
-- column: began time -- first call of the session, UTC
-- column: ended time -- last call, UTC
-- column: tenant_id text -- customer the session belongs to
-- column: agent_id text -- agent that used the tokens
-- column: session_id text -- conversation
-- column: calls count -- the agent's calls in it
-- column: total_tokens tokens -- what they sent and were answered
-- column: threshold_tokens tokens -- nine in ten of the agent's sessions use less
-- column: p_value ratio -- about how probable so many tokens are for a session of the agent, by the tail above the threshold
-- column: usual_sessions count -- sessions that say what is usual
-- column: cost_usd USD -- cost of the calls, reported or computed
-- column: request_ids list -- the 5 largest calls

-- Peaks over threshold: above the ninth decile of an agent's sessions, of two weeks before the range and of the range
-- itself, the excess has a generalised Pareto tail. Its scale comes from the median excess, so that up to half of the
-- peaks may be runaways themselves; its index is 0.2, which is heavier than sessions of which nothing is wrong. Fewer
-- than 50 sessions say nothing.
with sessions as (
  select
    tenant_id,
    agent_id,
    session_id,
    max(timestamp) as ended,
    cast(sum(total_tokens) as double) as tokens
  from agent_logs
  where timestamp >= $from - interval '14 days'
    and timestamp < $to
    and session_id is not null
    and agent_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by tenant_id, agent_id, session_id
),
thresholds as (
  select
    agent_id,
    percentile(tokens, 0.9) as threshold,
    count(*) as usual_sessions,
    count(*) filter (where ended >= $from) as judged_sessions
  from sessions
  where tokens > 0
  group by agent_id
  having count(*) >= 50
),
-- The excess whose probability is a half is scale · (2^index − 1) / index.
tails as (
  select
    sessions.agent_id,
    min(threshold) as threshold,
    min(usual_sessions) as usual_sessions,
    min(judged_sessions) as judged_sessions,
    greatest(median(tokens - threshold), 0.1 * min(threshold)) * 0.2 / (power(2, 0.2) - 1) as scale
  from thresholds
  inner join sessions on sessions.agent_id = thresholds.agent_id
  where tokens > threshold
  group by sessions.agent_id
),
judged as (
  select
    sessions.*,
    threshold,
    usual_sessions,
    judged_sessions,
    0.1 * power(1 + 0.2 * (tokens - threshold) / scale, -1 / 0.2) as p_value
  from tails
  inner join sessions on sessions.agent_id = tails.agent_id
  where ended >= $from
    and tokens > threshold
),
runaways as (
  select *
  from judged
  where p_value * judged_sessions <= $false_max
  order by p_value, session_id
  limit $limit
),
-- The calls of those sessions alone are read again for what else there is to say.
largest as (
  select
    tenant_id,
    agent_id,
    session_id,
    timestamp,
    request_id,
    cost,
    row_number() over (
      partition by tenant_id, agent_id, session_id
      order by total_tokens desc nulls last, timestamp, request_id
    ) as place
  from agent_logs
  where timestamp >= $from - interval '14 days'
    and timestamp < $to
    -- Copied, so that a few ids do not hold the texts of all sessions.
    and session_id in (select session_id || '' from runaways)
    and ($model is null or model = $model)
),
told as (
  select
    tenant_id,
    agent_id,
    session_id,
    min(timestamp) as began,
    count(*) as calls,
    sum(cost) as cost,
    array_agg(request_id order by place) filter (where place <= 5) as request_ids
  from largest
  group by tenant_id, agent_id, session_id
)
select
  began,
  ended,
  runaways.tenant_id as tenant_id,
  runaways.agent_id as agent_id,
  runaways.session_id as session_id,
  calls,
  cast(tokens as bigint) as total_tokens,
  threshold as threshold_tokens,
  p_value,
  usual_sessions,
  cost as cost_usd,
  request_ids
from runaways
left join told
  on runaways.session_id = told.session_id
  and runaways.agent_id = told.agent_id
  and runaways.tenant_id is not distinct from told.tenant_id
order by p_value, began, session_id
