-- question: Which received lines are no records, and why?
-- grain: line
-- param: from timestamp = now-24h -- start of the range of arrival, inclusive
-- param: to timestamp = now -- end of the range of arrival, exclusive
-- param: reason text = null -- only lines rejected for this reason
-- param: limit int = 100 -- most rows
-- column: received_at time -- when the line arrived, UTC
-- column: line count -- number of the line in its request, from 1
-- column: reason text -- why it was rejected
-- column: raw text -- the line as it came
-- column: ingest_seq count -- batch that brought the line

select received_at, line, reason, raw, ingest_seq
from rejected_logs
where received_at >= $from
  and received_at < $to
  and ($reason is null or reason = $reason)
order by received_at desc, ingest_seq desc, line
limit $limit
