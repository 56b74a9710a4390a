-- The partitions with rows of minutes in [from, to) seconds that a publication has left behind.
select distinct _partition_id as partition
from csp_analytics.ad_clicks_hourly
where click_minute >= toDateTime({from:UInt32})
    and click_minute < toDateTime({to:UInt32})
    and version < {below:UInt64}
order by partition;
