-- question: How did each hour's calls end, in figures that can be added up?
-- grain: hour
-- param: grain text -- the hour
-- column: starts_at time -- start of the hour, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that answered
-- column: finish_reason text -- why the model stopped
-- column: task_completed flag -- the task was done
-- column: escalated flag -- the task was handed to a person
-- column: calls count -- all calls

select
  date_trunc($grain, timestamp) as starts_at,
  date,
  tenant_id,
  agent_id,
  model,
  finish_reason,
  task_completed,
  escalated,
  count(*) as calls
from agent_logs
group by 1, date, tenant_id, agent_id, model, finish_reason, task_completed, escalated
