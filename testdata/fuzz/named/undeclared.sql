-- question: q
select $a, $1, $ü
