select coalesce(max(version), 0)::ubigint from csp_analytics.ad_impressions_hourly;
