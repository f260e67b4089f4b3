-- question: When did which agent get no answers, and for how long?
-- grain: outage
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- param: limit int = 1000 -- most rows, the latest ones
-- column: began time -- minute with which it began, UTC
-- column: ended time -- minute with which it ended, UTC; null where it has not ended within the range
-- column: agent_id text -- agent that was down
-- column: length min -- from the one to the other; null where it has not ended
-- column: calls count -- calls of its minutes
-- column: unanswered count -- calls of its minutes that the model did not answer

-- As the KPI time_to_recover counts incidents: an outage begins with a minute of at least 5 calls of which the model
-- does not answer half or more, and ends with the next minute in which it answers more than half, however few.
with agents as (
  select agent_id, minute_sketch(timestamp, is_unavailable) as minutes
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and agent_id is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by agent_id
),
outages as (
  select agent_id, unnest(outages_of(minutes, 5)) as outage
  from agents
)
select
  outage['began'] as began,
  outage['ended'] as ended,
  agent_id,
  (date_part('epoch', outage['ended']) - date_part('epoch', outage['began'])) / 60 as length,
  outage['calls'] as calls,
  outage['unanswered'] as unanswered
from outages
order by began desc, agent_id
limit $limit
