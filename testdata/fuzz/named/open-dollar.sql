-- question: q
select $t$ $a $
