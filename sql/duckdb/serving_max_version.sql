select coalesce(max(version), 0)::ubigint from csp_analytics.minutes_provisional;
