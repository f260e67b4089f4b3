-- question: q
-- param: a int
-- param: a text
select $a
