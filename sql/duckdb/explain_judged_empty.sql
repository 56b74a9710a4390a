create or replace temporary view explain_judged as
select
    null::integer as partition_id, null::bigint as record_offset, null::varchar as verdict,
    null::varchar as rules, null::varchar as reason
where false;
