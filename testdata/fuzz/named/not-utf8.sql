-- question: ÿþ
select Ã(
