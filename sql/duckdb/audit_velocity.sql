-- Clicks by position that a velocity rule hit. Only identities with more clicks than any revision
-- allows can trip; a hash finds those that may.
create temporary table audit_busy as
select hash('ip', coalesce(a.canonical, v.ip_address), v.ad_id) as identity_hash
from audit_valid as v
left join audit_address as a on a.ip_address = v.ip_address
where v.event_millis >= getvariable('audit_horizon') and v.event_millis < getvariable('audit_end')
    and v.ip_address <> ''
group by identity_hash
having count(*) > (select min(clicks_max) from audit_revision)
union all
select hash('user', user_id, ad_id) as identity_hash
from audit_valid
where event_millis >= getvariable('audit_horizon') and event_millis < getvariable('audit_end')
    and user_id <> ''
group by identity_hash
having count(*) > (select min(clicks_max) from audit_revision);

create temporary table audit_velocity as
with seen as (
    select
        'velocity_ip_ad' as rule, coalesce(a.canonical, v.ip_address) as who, v.ad_id,
        v.partition_id, v.record_offset, v.event_millis, v.window_millis, v.clicks_max,
        v.cooling_millis
    from audit_valid as v
    left join audit_address as a on a.ip_address = v.ip_address
    where v.event_millis >= getvariable('audit_horizon')
        and v.event_millis < getvariable('audit_end')
        and v.ip_address <> ''
        and hash('ip', coalesce(a.canonical, v.ip_address), v.ad_id)
            in (select identity_hash from audit_busy)
    union all
    select
        'velocity_user_ad' as rule, user_id as who, ad_id,
        partition_id, record_offset, event_millis, window_millis, clicks_max, cooling_millis
    from audit_valid
    where event_millis >= getvariable('audit_horizon')
        and event_millis < getvariable('audit_end')
        and user_id <> ''
        and hash('user', user_id, ad_id) in (select identity_hash from audit_busy)
), busy as (
    -- Unique clicks only.
    select s.*
    from seen as s
    where not exists (
        select 1
        from audit_duplicate as d
        where d.partition_id = s.partition_id and d.record_offset = s.record_offset
    )
), tripped as (
    -- The click so many before in event order is itself within the window: over the limit.
    select
        rule, who, ad_id, partition_id, record_offset, event_millis, cooling_millis,
        coalesce(lag(event_millis, clicks_max) over identity > event_millis - window_millis, false)
            as is_trip
    from busy
    window identity as (
        partition by rule, who, ad_id order by event_millis, partition_id, record_offset
    )
), cooled as (
    select
        *,
        max(case when is_trip then event_millis end) over (
            partition by rule, who, ad_id order by event_millis, partition_id, record_offset
            rows between unbounded preceding and current row
        ) as tripped_millis
    from tripped
)
select partition_id, record_offset, rule
from cooled
where is_trip or event_millis - tripped_millis < cooling_millis;
