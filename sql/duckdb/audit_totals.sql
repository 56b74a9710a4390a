-- The day's clicks by advertiser.
select
    advertiser_id,
    count(*) as clicks,
    count(*) filter (where verdict = 'billable') as billable_clicks,
    count(*) filter (where verdict = 'duplicate') as duplicate_clicks,
    count(*) filter (where verdict = 'duplicate' and is_conflict) as conflict_clicks,
    count(*) filter (where verdict = 'invalid') as invalid_clicks,
    count(*) filter (where verdict = 'invalid' and is_velocity_ip_ad) as velocity_ip_ad,
    count(*) filter (where verdict = 'invalid' and is_velocity_user_ad) as velocity_user_ad,
    count(*) filter (where verdict = 'invalid' and is_bot_user_agent) as bot_user_agent,
    count(*) filter (where verdict = 'invalid' and is_listed_ip) as listed_ip,
    coalesce(sum(micros) filter (where verdict = 'billable'), 0)::bigint as spend_micros
from audit_verdict
group by advertiser_id
order by advertiser_id;
