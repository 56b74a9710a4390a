-- The serving store. Provisional rows (from the stream) and final rows (from the batch layer) are
-- kept apart, so that a reconciliation can be repeated on the same provisional figures after
-- final rows were published. ad_clicks_hourly is the table of the lesson: what a reader sees.
create schema if not exists csp_analytics;

create table if not exists csp_analytics.store_format (format integer not null);

create table if not exists csp_analytics.minutes_provisional (
    click_minute timestamp not null,
    advertiser_id varchar not null,
    campaign_id varchar not null,
    ad_id varchar not null,
    device_type varchar not null,
    country_code varchar not null,
    raw_clicks uinteger not null,
    duplicate_clicks uinteger not null,
    invalid_clicks uinteger not null,
    unique_clicks uinteger not null,
    spend_micros bigint not null,
    version ubigint not null
);

create table if not exists csp_analytics.minutes_final (
    click_minute timestamp not null,
    advertiser_id varchar not null,
    campaign_id varchar not null,
    ad_id varchar not null,
    device_type varchar not null,
    country_code varchar not null,
    raw_clicks uinteger not null,
    duplicate_clicks uinteger not null,
    invalid_clicks uinteger not null,
    unique_clicks uinteger not null,
    spend_micros bigint not null,
    version ubigint not null
);

-- The part of a day that is final: [day_start, cut_at).
create table if not exists csp_analytics.final_days (
    day_start timestamp not null,
    cut_at timestamp not null
);

-- How far the stream has published; one row, written in the transaction of the rows.
create table if not exists csp_analytics.stream_progress (
    watermark_millis bigint not null,
    is_drained boolean not null,
    policy_hash varchar not null
);

alter table csp_analytics.stream_progress add column if not exists policy_from_millis bigint default 0;
alter table csp_analytics.stream_progress add column if not exists stored_at_millis bigint default 0;

create table if not exists csp_analytics.stream_offset (
    partition_id integer not null,
    next_offset bigint not null
);

-- Impressions: what was displayed, and what counts of it. Only their stream writes it.
create table if not exists csp_analytics.ad_impressions_hourly (
    impression_minute timestamp not null,
    ad_id varchar not null,
    advertiser_id varchar not null,
    campaign_id varchar not null,
    device_type varchar not null,
    country_code varchar not null,
    raw_impressions uinteger not null,
    unique_impressions uinteger not null,
    version ubigint not null
);

create table if not exists csp_analytics.impression_progress (
    watermark_millis bigint not null,
    is_drained boolean not null,
    policy_hash varchar not null
);

alter table csp_analytics.impression_progress add column if not exists policy_from_millis bigint default 0;
alter table csp_analytics.impression_progress add column if not exists stored_at_millis bigint default 0;

create table if not exists csp_analytics.impression_offset (
    partition_id integer not null,
    next_offset bigint not null
);

-- Up to which minute a table's rows are laid out by advertiser, so many at a time. It says how fast they are
-- read, and nothing else: readers do not look at it.
create table if not exists csp_analytics.clustered (
    table_name varchar not null,
    rows_at_once bigint not null,
    until_minute timestamp not null,
    row_count bigint not null
);

-- Micros as DECIMAL(18,4), rounded half to even, in integers throughout.
create or replace macro csp_analytics.spend_decimal(micros) as (
    cast(micros // 100 + case
        when micros % 100 > 50 or (micros % 100 = 50 and (micros // 100) % 2 = 1) then 1
        else 0
    end as decimal(18, 0)) * cast('0.0001' as decimal(4, 4))
)::decimal(18, 4);

-- Below a day's cut only the final rows count: a provisional row whose key the batch layer does
-- not have is no longer there. From the cut on, and on other days, the provisional rows count.
create or replace view csp_analytics.minutes_now as
select f.*, true as is_final
from csp_analytics.minutes_final as f
union all
select p.*, false as is_final
from csp_analytics.minutes_provisional as p
left join csp_analytics.final_days as d on d.day_start = date_trunc('day', p.click_minute)
where d.cut_at is null or p.click_minute >= d.cut_at;

create or replace view csp_analytics.ad_clicks_hourly as
select
    click_minute,
    ad_id,
    advertiser_id,
    campaign_id,
    device_type,
    country_code,
    raw_clicks,
    unique_clicks,
    csp_analytics.spend_decimal(spend_micros) as total_spend,
    version,
    duplicate_clicks,
    invalid_clicks,
    spend_micros,
    is_final
from csp_analytics.minutes_now;
