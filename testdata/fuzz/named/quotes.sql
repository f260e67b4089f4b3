-- question: q
-- param: a int
select '$b', 'it''s', "$c", $x$ $d $x$, $$ $e $$, /* $f /* */ */ $a -- $g
