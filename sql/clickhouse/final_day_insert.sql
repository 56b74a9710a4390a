insert into csp_analytics.final_days (day_start, cut_at)
