-- The day's clicks by how long after their event they were recorded. A class is named by the
-- smallest delay in it, in milliseconds; those that are ahead of their record are in class -1.
with day as (
    select partition_id, record_offset, received_micros // 1000 - event_millis as delay_millis
    from rc_archived
    where event_millis >= getvariable('rc_start') and event_millis < getvariable('rc_cut')
),
classed as (
    select c.*,
        case
            when delay_millis < 0 then -1
            when delay_millis < 1000 then 0
            when delay_millis < 10000 then 1000
            when delay_millis < 60000 then 10000
            when delay_millis < 300000 then 60000
            when delay_millis < 600000 then 300000
            when delay_millis < 3600000 then 600000
            else 3600000
        end as class_millis
    from day as c
)
select c.class_millis, count(*), count(d.partition_id)
from classed as c
left join (select partition_id, record_offset from rc_decision where verdict = 'late') as d
    on c.partition_id = d.partition_id and c.record_offset = d.record_offset
group by c.class_millis
order by c.class_millis;
