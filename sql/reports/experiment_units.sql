-- question: What do an experiment's variants come to, unit by unit?
-- grain: variant
-- param: experiment_id text -- the experiment
-- param: unit text(user|session|call) -- what was randomised
-- param: from timestamp -- start of the range, inclusive
-- param: to timestamp -- end of the range, exclusive
-- param: before_from timestamp = null -- start of the time before the experiment, inclusive
-- param: before_to timestamp = null -- end of it, exclusive; null for none
-- param: slow_ms float = null -- calls above this latency are slow
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- column: variant text -- arm, null for units that met several
-- column: units count -- users, sessions or calls
-- column: units_before count -- of them, those with calls in the time before
-- column: calls count -- their calls in the range
-- column: latency_p95 moments -- of slow calls and calls that report a latency
-- column: groundedness moments -- of the sum and the number of the values, here and below during and before
-- column: relevance moments -- as above
-- column: hallucination_rate moments -- as above
-- column: user_satisfaction moments -- as above
-- column: task_completion moments -- of tasks done and calls that say whether they were
-- column: escalation_rate moments -- of tasks handed to a person and calls that say whether they were
-- column: guardrail_block_rate moments -- of blocks and decisions
-- column: error_rate moments -- of failed calls and all calls
-- column: cost_per_call moments -- of the cost and the number of calls that have one
-- column: cost_per_resolved_task moments -- of the cost of all calls and tasks done

-- One row a unit, in one aggregate that can spill; then one a variant. What a unit did before stands beside what it
-- does during, told apart by is_before. Before, only the agents count that take part in the experiment.
-- A column that is never null on either side of a union is one that the engine cannot plan here, so `failed` is null for no.
with calls as (
  select
    tenant_id,
    case $unit
      when 'user' then user_id
      when 'session' then session_id
      -- Calls that nothing tells apart are taken for one unit.
      else concat_ws(' ', cast(ingest_seq as varchar), cast(timestamp as varchar), request_id, span_id)
    end as unit_id,
    variant,
    false as is_before,
    cast(latency_ms > $slow_ms as double) as slow,
    groundedness,
    relevance,
    hallucination_probability as hallucination,
    user_satisfaction as satisfaction,
    cast(task_completed as double) as done,
    cast(escalated as double) as escalated,
    cast(guardrail_status = 'blocked' as double) as blocked,
    nullif(is_error, false) as failed,
    cost
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and experiment_id = $experiment_id
    and variant is not null
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
  union all
  select
    tenant_id,
    user_id as unit_id,
    null as variant,
    true as is_before,
    cast(latency_ms > $slow_ms as double) as slow,
    groundedness,
    relevance,
    hallucination_probability as hallucination,
    user_satisfaction as satisfaction,
    cast(task_completed as double) as done,
    cast(escalated as double) as escalated,
    cast(guardrail_status = 'blocked' as double) as blocked,
    nullif(is_error, false) as failed,
    cost
  from agent_logs
  where timestamp >= $before_from
    and timestamp < $before_to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and agent_id in (
      select agent_id
      from agent_logs
      where timestamp >= $from
        and timestamp < $to
        and experiment_id = $experiment_id
    )
),
units as (
  select
    min(variant) as variant,
    max(variant) as last_variant,
    count(*) filter (where not is_before) as calls,
    count(*) filter (where is_before) as calls_before,
    sum(slow) filter (where not is_before) as slow,
    count(slow) filter (where not is_before) as slow_count,
    sum(groundedness) filter (where not is_before) as groundedness,
    count(groundedness) filter (where not is_before) as groundedness_count,
    sum(groundedness) filter (where is_before) as groundedness_before,
    count(groundedness) filter (where is_before) as groundedness_count_before,
    sum(relevance) filter (where not is_before) as relevance,
    count(relevance) filter (where not is_before) as relevance_count,
    sum(relevance) filter (where is_before) as relevance_before,
    count(relevance) filter (where is_before) as relevance_count_before,
    sum(hallucination) filter (where not is_before) as hallucination,
    count(hallucination) filter (where not is_before) as hallucination_count,
    sum(hallucination) filter (where is_before) as hallucination_before,
    count(hallucination) filter (where is_before) as hallucination_count_before,
    sum(satisfaction) filter (where not is_before) as satisfaction,
    count(satisfaction) filter (where not is_before) as satisfaction_count,
    sum(satisfaction) filter (where is_before) as satisfaction_before,
    count(satisfaction) filter (where is_before) as satisfaction_count_before,
    sum(done) filter (where not is_before) as done,
    count(done) filter (where not is_before) as done_count,
    sum(done) filter (where is_before) as done_before,
    count(done) filter (where is_before) as done_count_before,
    sum(escalated) filter (where not is_before) as escalated,
    count(escalated) filter (where not is_before) as escalated_count,
    sum(escalated) filter (where is_before) as escalated_before,
    count(escalated) filter (where is_before) as escalated_count_before,
    sum(blocked) filter (where not is_before) as blocked,
    count(blocked) filter (where not is_before) as blocked_count,
    sum(blocked) filter (where is_before) as blocked_before,
    count(blocked) filter (where is_before) as blocked_count_before,
    sum(cost) filter (where not is_before) as cost,
    count(cost) filter (where not is_before) as cost_count,
    sum(cost) filter (where is_before) as cost_before,
    count(cost) filter (where is_before) as cost_count_before,
    count(*) filter (where not is_before and failed) as failed,
    count(*) filter (where is_before and failed) as failed_before
  from calls
  where unit_id is not null
  group by tenant_id, unit_id
  having count(variant) > 0
)
select
  case when variant = last_variant then variant end as variant,
  count(*) as units,
  count(*) filter (where calls_before > 0) as units_before,
  sum(calls) as calls,
  comoments(slow, slow_count, 0, 0) as latency_p95,
  comoments(groundedness, groundedness_count, groundedness_before, groundedness_count_before) as groundedness,
  comoments(relevance, relevance_count, relevance_before, relevance_count_before) as relevance,
  comoments(hallucination, hallucination_count, hallucination_before, hallucination_count_before) as hallucination_rate,
  comoments(satisfaction, satisfaction_count, satisfaction_before, satisfaction_count_before) as user_satisfaction,
  comoments(done, done_count, done_before, done_count_before) as task_completion,
  comoments(escalated, escalated_count, escalated_before, escalated_count_before) as escalation_rate,
  comoments(blocked, blocked_count, blocked_before, blocked_count_before) as guardrail_block_rate,
  comoments(failed, calls, failed_before, calls_before) as error_rate,
  comoments(cost, cost_count, cost_before, cost_count_before) as cost_per_call,
  comoments(cost, done, cost_before, done_before) as cost_per_resolved_task
from units
group by 1
order by 1
