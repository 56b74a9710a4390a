create temporary view audit_dead_letter as
select 0::bigint as received_micros, '' as reason
where false;
