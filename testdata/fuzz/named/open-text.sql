-- question: q
select 'never closed $a
