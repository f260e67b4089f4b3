-- question: q
-- param: a timestamp = null
-- param: b float = null
-- param: c bool = null
-- param: d text = ""
select $a, $b, $c, $d
