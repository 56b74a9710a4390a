-- The staged rows were appended in key order.
insert into csp_analytics.minutes_provisional
select * from stage;
