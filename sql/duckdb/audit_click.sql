-- Every archived click with what section 1 of the design derives from the fields as sent, the
-- revision that judges it, and the reason for which that revision makes it a dead letter, if any.
create temporary view audit_click as
with derived as (
    select
        *,
        epoch_us(received_at) as received_micros,
        case
            when "timestamp" < 100_000_000_000 then "timestamp" * 1000
            when "timestamp" < 100_000_000_000_000 then "timestamp"
            else "timestamp" // 1000
        end as event_millis,
        round_even(cost_per_click * 1e6, 0)::bigint as micros
    from audit_archived
)
select
    d."partition" as partition_id,
    d."offset" as record_offset,
    d.click_id, d.ad_id, d.advertiser_id, d.campaign_id, d.user_id, d.ip_address, d.user_agent,
    d.device_type, d.country_code, d.received_micros, d.event_millis, d.micros,
    r.revision, r.lookback_micros, r.window_millis, r.clicks_max, r.cooling_millis,
    case
        when d.micros > r.cost_micros_max then 'bad_cost'
        when d.event_millis * 1000 - d.received_micros > r.ahead_micros then 'future'
        when d.received_micros - d.event_millis * 1000 > r.age_micros then 'stale'
    end as reason
from derived as d
join audit_revision as r on d.event_millis >= r.from_millis and d.event_millis < r.to_millis;

create temporary view audit_valid as
select * exclude (reason) from audit_click where reason is null;
