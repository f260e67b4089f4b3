-- question: q
-- question: r
select 1
