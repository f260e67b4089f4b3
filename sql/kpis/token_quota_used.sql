-- question: What part of their tenants' daily quotas of tokens do the calls use?
-- grain: window
-- group: cost
-- unit: ratio
-- target: < 0.8
-- alert: > 0.8
-- needs: tenant_id prompt_tokens|completion_tokens token_daily_quota
-- judged_at: day
-- windows: whole
-- samples_min: 1
-- param: from timestamp = today-6d -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- param: grain text(hour|day|month) = day -- length of a window, UTC
-- param: by text(all|agent|tenant|model) = all -- what has figures of its own
-- param: tenant_id text = null -- only this tenant
-- param: agent_id text = null -- only this agent
-- param: model text = null -- only this model
-- column: window_start time -- start of the hour, day or month, UTC
-- column: key text -- agent, tenant or model, null where the calls name none; all for `by` = all
-- column: value ratio -- numerator / denominator
-- column: samples count -- calls of tenants that have a quota
-- column: numerator tokens -- tokens that these calls read and wrote
-- column: denominator tokens -- a day's quotas of the tenants that these calls were made for

-- Quotas are settings, metrics.tenants.TENANT.token_daily_quota, which the table token_quotas holds.
with tokens as (
  select
    date_trunc($grain, timestamp) as window_start,
    case $by when 'agent' then agent_id when 'tenant' then tenant_id when 'model' then model else 'all' end as key,
    tenant_id as customer,
    count(*) as calls,
    sum(prompt_tokens) as prompt_tokens,
    sum(completion_tokens) as completion_tokens
  from agent_logs
  where timestamp >= $from
    and timestamp < $to
    and ($tenant_id is null or tenant_id = $tenant_id)
    and ($agent_id is null or agent_id = $agent_id)
    and ($model is null or model = $model)
  group by 1, 2, 3
),
quotas as (
  select
    window_start,
    key,
    sum(calls) as calls,
    sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) as tokens,
    sum(cast(token_daily_quota as double)) as quota
  from tokens
  inner join token_quotas on token_quotas.tenant_id = tokens.customer
  group by 1, 2
)
select
  window_start,
  key,
  tokens / nullif(quota, 0) as value,
  calls as samples,
  tokens as numerator,
  quota as denominator
from quotas
order by window_start, key
