-- The place of the newest row; what a transaction writes has a higher one.
select coalesce(max(rowid), -1) as row_id from csp_analytics.ad_impressions_hourly;
