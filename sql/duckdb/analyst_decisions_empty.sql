create temporary view decisions as
select
    null::integer as log_partition, null::bigint as log_offset, null::integer as "partition",
    null::bigint as "offset", null::varchar as click_id, null::timestamptz as event_time,
    null::varchar as verdict, null::varchar as rules, null::boolean as is_late,
    null::integer as winner_partition, null::bigint as winner_offset, null::boolean as is_conflict,
    null::varchar as policy_hash, null::date as dt, null::varchar as hr, null::varchar as p
where false;
