-- question: q
-- param: a int = 1

select $a
