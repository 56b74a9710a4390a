-- The highest version that readers can see of minutes in [from, to) seconds.
select max(version)
from csp_analytics.ad_clicks_hourly
where click_minute >= toDateTime({from:UInt32})
    and click_minute < toDateTime({to:UInt32});
