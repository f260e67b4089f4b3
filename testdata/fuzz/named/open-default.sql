-- question: q
-- param: a text = 'never closed
select $a
