-- question: q
-- param: a int
select 1
