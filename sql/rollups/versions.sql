-- question: Which versions of models and prompts, and which tasks, did each hour's calls have, in figures that can be added up?
-- grain: hour
-- param: grain text -- the hour
-- column: starts_at time -- start of the hour, UTC
-- column: date date -- UTC day
-- column: tenant_id text -- customer the calls were made for
-- column: agent_id text -- agent that made them
-- column: model text -- model that answered
-- column: model_version text -- exact version of the model
-- column: prompt_version text -- version of the prompt
-- column: task_type text -- kind of task the agent worked on
-- column: calls count -- all calls

select
  date_trunc($grain, timestamp) as starts_at,
  date,
  tenant_id,
  agent_id,
  model,
  model_version,
  prompt_version,
  task_type,
  count(*) as calls
from agent_logs
group by 1, date, tenant_id, agent_id, model, model_version, prompt_version, task_type
