-- Deletes the rows of minutes in [$1, $2) that were there before, up to the place $3.
delete from csp_analytics.minutes_provisional
where click_minute >= $1 and click_minute < $2 and rowid <= $3;
