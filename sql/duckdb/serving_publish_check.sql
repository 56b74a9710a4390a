-- What would make the staged rows wrong to publish for minutes in [$1, $2).
select
    count(*) filter (where click_minute < $1 or click_minute >= $2) as outside,
    (select count(*) from (
        select 1
        from stage
        group by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code
        having count(*) > 1
    )) as repeated
from stage;
