--
---- question: q
-- -- question: q
--question: q
select 1 -- 
