delete from csp_analytics.minutes_final where click_minute >= $1 and click_minute < $2;
