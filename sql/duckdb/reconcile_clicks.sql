-- Every archived click of the rows that differ, with its verdict in both layers. A click that the
-- stream has no decision on was billed on time, if the stream has come that far.
create temporary table rc_click as
with suspect as (
    select a.*, a.event_millis - a.event_millis % 60000 as minute_millis,
        a.event_millis >= getvariable('rc_stream_policy_from') as is_of_policy
    from rc_archived as a
    where a.event_millis >= getvariable('rc_start') and a.event_millis < getvariable('rc_cut')
),
judged as (
    select c.*,
        case
            when x.reason is not null then 'dead_letter'
            else coalesce(b.verdict, 'billable')
        end as batch_verdict,
        case
            when d.verdict is not null then d.verdict
            -- Dead letters have no decision, but by one policy they are the same in both layers.
            when x.reason is not null and c.is_of_policy and getvariable('rc_stream_policy') = getvariable('rc_batch_policy')
                then 'dead_letter'
            when c.record_offset < coalesce(f.next_offset, 0) then 'billable'
            else 'not_seen'
        end as stream_verdict,
        coalesce(d.is_late, false) as is_late,
        coalesce(d.policy_hash, if(c.is_of_policy, getvariable('rc_stream_policy'), '')) as stream_policy,
        b.winner_partition, b.winner_offset
    from suspect as c
    semi join rc_diff as r
        on c.minute_millis = r.minute_millis and c.advertiser_id = r.advertiser_id and c.campaign_id = r.campaign_id
        and c.ad_id = r.ad_id and c.device_type = r.device_type and c.country_code = r.country_code
    left join read_parquet(getvariable('rc_batch_decisions')) as b
        on c.partition_id = b."partition" and c.record_offset = b."offset"
    left join read_parquet(getvariable('rc_batch_dead_letters')) as x
        on c.partition_id = x."partition" and c.record_offset = x."offset"
    left join rc_decision as d
        on c.partition_id = d.partition_id and c.record_offset = d.record_offset
    left join rc_frontier as f
        on c.partition_id = f.partition_id
)
select *, (batch_verdict = 'billable')::integer - (stream_verdict = 'billable')::integer as effect,
    -- So long after its event a click is late, unless the watermark was behind: there should be a decision.
    stream_verdict = 'billable' and not is_late
        and received_micros // 1000 - event_millis > getvariable('rc_lateness_millis') as is_doubtful
from judged;
