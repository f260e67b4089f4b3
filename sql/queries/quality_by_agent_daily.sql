-- question: How good are each agent's answers, per day?
-- grain: day
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: day time -- start of the day, UTC
-- column: agent_id text -- agent, null where the calls name none
-- column: calls count -- all calls
-- column: hallucination_probability_avg ratio -- mean, 0 to 1
-- column: hallucination_samples count -- calls that report hallucination_probability
-- column: groundedness_avg ratio -- mean, 0 to 1
-- column: groundedness_samples count -- calls that report groundedness
-- column: relevance_avg ratio -- mean, 0 to 1
-- column: relevance_samples count -- calls that report relevance
-- column: user_satisfaction_avg ratio -- mean, on the client's own scale
-- column: satisfaction_samples count -- calls that report user_satisfaction
-- column: task_completion_rate ratio -- completed tasks / completion_samples, 0 to 1
-- column: completion_samples count -- calls that report task_completed
-- column: escalation_rate ratio -- tasks handed to a person / escalation_samples, 0 to 1
-- column: escalation_samples count -- calls that report escalated

select
  date_trunc('day', timestamp) as day,
  agent_id,
  count(*) as calls,
  avg(hallucination_probability) as hallucination_probability_avg,
  count(hallucination_probability) as hallucination_samples,
  avg(groundedness) as groundedness_avg,
  count(groundedness) as groundedness_samples,
  avg(relevance) as relevance_avg,
  count(relevance) as relevance_samples,
  avg(user_satisfaction) as user_satisfaction_avg,
  count(user_satisfaction) as satisfaction_samples,
  cast(count(*) filter (where task_completed) as double) / nullif(count(task_completed), 0) as task_completion_rate,
  count(task_completed) as completion_samples,
  cast(count(*) filter (where escalated) as double) / nullif(count(escalated), 0) as escalation_rate,
  count(escalated) as escalation_samples
from agent_logs
where timestamp >= $from
  and timestamp < $to
  and ($tenant_id is null or tenant_id = $tenant_id)
  and ($agent_id is null or agent_id = $agent_id)
  and ($model is null or model = $model)
group by 1, agent_id
order by day, agent_id
