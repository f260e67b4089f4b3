-- question: How many calls have a worse score than a bound?
-- grain: slot
-- param: grain text(minute|hour) -- length of a slot, UTC
-- param: score text(groundedness|relevance|user_satisfaction|hallucination_probability) -- which score
-- param: bound float -- the worst that is good
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: start_us µs -- start of the minute or the hour, UTC; those without calls are left out
-- column: samples count -- calls that have the score
-- column: bad count -- calls whose score is worse; a smaller probability of a hallucination is better

-- Reads the calls: rollups have the scores' sums only.
select
  cast(date_trunc($grain, timestamp) as bigint) as start_us,
  count(
    case $score
      when 'groundedness' then groundedness
      when 'relevance' then relevance
      when 'user_satisfaction' then user_satisfaction
      else hallucination_probability
    end
  ) as samples,
  cast(
    count(*) filter (
      where
        case $score
          when 'groundedness' then groundedness < $bound
          when 'relevance' then relevance < $bound
          when 'user_satisfaction' then user_satisfaction < $bound
          else hallucination_probability > $bound
        end
    ) as double
  ) as bad
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by date_trunc($grain, timestamp)
order by 1
