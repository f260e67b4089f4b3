-- question: What does each tenant cost, per day?
-- grain: day
-- param: from timestamp = now-7d -- start of the range, inclusive
-- param: tenant_id text = null -- only this tenant
-- param: region text = 'it''s "eu" -- west' -- a quoted text
-- param: trace_id text -- required
-- param: limit int = 100
-- param: share float = 0.5
-- param: deep bool = false
-- column: cost_usd USD -- reported cost, else computed by the price list
-- for: 5m

select $from, $tenant_id, $region, $trace_id, $limit, $share, $deep as cost_usd
