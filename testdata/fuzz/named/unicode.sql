-- question: Wie viel kostet „das“? 💰
-- param: a text = 'ü💰' -- ä
-- column: x ‰ -- ö
select $a as x, ü$b, '💰$c', $💰
