delete from csp_analytics.ad_clicks_hourly in partition id {partition:String}
where click_minute >= toDateTime({from:UInt32})
    and click_minute < toDateTime({to:UInt32})
    and version < {below:UInt64};
