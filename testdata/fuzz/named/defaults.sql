-- question: q
-- param: a timestamp = today/d-1d
-- param: b float = 1e400
-- param: c int = 9223372036854775808
select $a, $b, $c
