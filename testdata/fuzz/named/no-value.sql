-- question:
select 1
