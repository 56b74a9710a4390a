-- Deletes the rows of minutes in [$1, $2) that were there before, up to the place $3.
delete from csp_analytics.ad_impressions_hourly
where impression_minute >= $1 and impression_minute < $2 and rowid <= $3;
