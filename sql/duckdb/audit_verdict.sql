-- The rules that hit, by position, and every valid click of the day with its verdict.
create temporary table audit_hit as
with hit as (
    select partition_id, record_offset, rule from audit_velocity
    union all
    select partition_id, record_offset, rule from audit_list_hit
)
select
    partition_id,
    record_offset,
    bool_or(rule = 'velocity_ip_ad') as is_velocity_ip_ad,
    bool_or(rule = 'velocity_user_ad') as is_velocity_user_ad,
    bool_or(rule = 'bot_user_agent') as is_bot_user_agent,
    bool_or(rule = 'listed_ip') as is_listed_ip
from hit
group by partition_id, record_offset;

create temporary view audit_verdict as
select
    v.*,
    d.is_conflict,
    h.is_velocity_ip_ad, h.is_velocity_user_ad, h.is_bot_user_agent, h.is_listed_ip,
    case
        when d.record_offset is not null then 'duplicate'
        when h.record_offset is not null then 'invalid'
        else 'billable'
    end as verdict
from audit_valid as v
left join audit_duplicate as d
    on d.partition_id = v.partition_id and d.record_offset = v.record_offset
left join audit_hit as h
    on h.partition_id = v.partition_id and h.record_offset = v.record_offset
where v.event_millis >= getvariable('audit_start') and v.event_millis < getvariable('audit_end');
