set variable rc_click_files = (select list(path order by path) from rc_file where kind = 'click');
create temporary view rc_archived as
select "partition" as partition_id, "offset" as record_offset, epoch_us(received_at) as received_micros,
    epoch_ms(event_time) as event_millis, click_id, ad_id, advertiser_id, campaign_id,
    coalesce(user_id, '') as user_id, coalesce(ip_address, '') as ip_address,
    coalesce(device_type, '') as device_type, coalesce(country_code, '') as country_code, cost_micros
from read_parquet(getvariable('rc_click_files'), hive_partitioning = false);
