-- The copies of every click that one layer alone took for a duplicate, in order of recording.
create temporary table rc_copy as
select a.partition_id, a.record_offset, a.click_id,
    a.received_micros - lag(a.received_micros) over copies as gap_micros
from rc_archived as a
semi join (
    select click_id from rc_click
    where effect != 0 and (batch_verdict = 'duplicate' or stream_verdict = 'duplicate')
) as s on a.click_id = s.click_id
window copies as (partition by a.click_id order by a.received_micros, a.partition_id, a.record_offset);

-- Causes that a click shows by itself.
create temporary table rc_cause as
select c.*,
    case
        when c.effect = 0 then null
        when c.stream_verdict = 'not_seen' then 'not_seen_by_stream'
        when c.stream_policy != getvariable('rc_batch_policy') then 'policy_changed'
        when c.batch_verdict = 'dead_letter' then 'unexplained'
        when c.stream_verdict = 'late' then 'late_in_stream'
        when c.stream_verdict = 'duplicate' then if(n.copies > 1, 'duplicate_order', 'unexplained')
        when c.batch_verdict = 'duplicate' then
            case
                when w.verdict = 'duplicate' then 'duplicate_order'
                when p.gap_micros > getvariable('rc_ttl_micros') then 'duplicate_beyond_ttl'
                else 'unexplained'
            end
    end as cause
from rc_click as c
left join rc_copy as p on c.partition_id = p.partition_id and c.record_offset = p.record_offset
left join (select click_id, count(*) as copies from rc_copy group by click_id) as n on c.click_id = n.click_id
left join rc_decision as w on c.winner_partition = w.partition_id and c.winner_offset = w.record_offset;

-- Clicks that the two layers did not count at the same time: late ones, and copies that only one
-- of them took for unique. They are the evidence for differing velocity verdicts.
create temporary table rc_disturbance as
select a.ip_address, a.user_id, a.ad_id, a.event_millis
from rc_archived as a
semi join (
    select partition_id, record_offset from rc_decision where is_late or verdict = 'late'
    union all
    select partition_id, record_offset from rc_cause
    where cause in ('not_seen_by_stream', 'duplicate_beyond_ttl', 'duplicate_order', 'policy_changed')
) as d on a.partition_id = d.partition_id and a.record_offset = d.record_offset;

-- Velocity verdicts that differ need a disturbance of the same identity, so near that it counts.
create temporary table rc_flagged as
select c.partition_id, c.record_offset,
    c.is_late or exists (
        select 1 from rc_disturbance as d
        where d.ad_id = c.ad_id
            and ((d.ip_address = c.ip_address and c.ip_address != '') or (d.user_id = c.user_id and c.user_id != ''))
            and d.event_millis <= c.event_millis
            and d.event_millis > c.event_millis - getvariable('rc_history_millis')
    ) as is_evident
from rc_cause as c
where c.effect != 0 and c.cause is null;

create temporary table rc_effect as
select c.partition_id, c.record_offset, c.click_id, c.batch_verdict, c.stream_verdict,
    c.minute_millis, c.advertiser_id, c.campaign_id, c.ad_id, c.device_type, c.country_code,
    case
        when c.cause is not null then c.cause
        when not coalesce(f.is_evident, false) then 'unexplained'
        when c.stream_verdict = 'invalid' then 'flagged_by_stream_only'
        else 'flagged_by_batch_only'
    end as cause,
    c.effect as clicks, c.effect * c.cost_micros as micros
from rc_cause as c
left join rc_flagged as f on c.partition_id = f.partition_id and c.record_offset = f.record_offset
where c.effect != 0;
