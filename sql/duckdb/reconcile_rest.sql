-- What the clicks of a row do not account for: the stream's row is not what its verdicts add up
-- to, or the batch's is not. That has no position.
insert into rc_effect by name
with clicks as (
    select minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
        count(*) filter (where stream_verdict = 'billable') as stream_clicks,
        coalesce(sum(cost_micros) filter (where stream_verdict = 'billable'), 0)::bigint as stream_micros,
        count(*) filter (where stream_verdict not in ('late', 'not_seen', 'dead_letter')) as stream_raw,
        bool_or(is_doubtful) as is_doubtful,
        count(*) filter (where batch_verdict = 'billable') as batch_clicks,
        coalesce(sum(cost_micros) filter (where batch_verdict = 'billable'), 0)::bigint as batch_micros
    from rc_click
    group by all
),
-- Late clicks that the stream counted, of which the archive has no record yet, by minute.
ahead as (
    select distinct d.event_millis - d.event_millis % 60000 as minute_millis
    from rc_decision as d
    where d.verdict != 'late'
        and not exists (select 1 from rc_archived_end as e
            where e.partition_id = d.partition_id and d.record_offset <= e.last_offset)
),
rest as (
    select r.minute_millis, r.advertiser_id, r.campaign_id, r.ad_id, r.device_type, r.country_code,
        coalesce(c.stream_clicks, 0) - r.stream_clicks as stream_clicks,
        coalesce(c.stream_micros, 0) - r.stream_micros as stream_micros,
        r.batch_clicks - coalesce(c.batch_clicks, 0) as batch_clicks,
        r.batch_micros - coalesce(c.batch_micros, 0) as batch_micros,
        -- A row that lacks clicks is an old one; but one that lacks a late click may lack its decision.
        r.stream_raw < coalesce(c.stream_raw, 0) and not coalesce(c.is_doubtful, false) as is_unpublished,
        a.minute_millis is not null as is_ahead,
        r.minute_millis < getvariable('rc_stream_policy_from')
        or getvariable('rc_stream_policy') != getvariable('rc_batch_policy') as is_of_other_policy
    from rc_diff as r
    left join clicks as c using (minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code)
    left join ahead as a using (minute_millis)
)
select minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
    case
        when is_of_other_policy then 'policy_changed'
        when is_unpublished then 'row_not_published'
        when is_ahead then 'not_in_archive'
        else 'unexplained'
    end as cause,
    stream_clicks as clicks, stream_micros as micros
from rest where stream_clicks != 0 or stream_micros != 0
union all
select minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
    if(is_of_other_policy, 'policy_changed', 'unexplained'),
    batch_clicks, batch_micros
from rest where batch_clicks != 0 or batch_micros != 0;
