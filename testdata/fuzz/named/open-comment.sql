-- question: q
select 1 /* /* */
