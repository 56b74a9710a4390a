-- The discrepancies to list: the first of those that were asked for, in the order of the file.
select "partition", "offset", coalesce(click_id, ''), epoch_ms(click_minute), advertiser_id, ad_id, cause,
    delta_clicks, delta_micros, coalesce(stream_verdict, ''), coalesce(batch_verdict, '')
from read_parquet(getvariable('rc_discrepancies_written'), file_row_number = true)
where epoch_ms(click_minute) >= getvariable('rc_list_since')
    and (getvariable('rc_list_advertiser') = '' or advertiser_id = getvariable('rc_list_advertiser'))
order by file_row_number
limit (getvariable('rc_list_limit'));
