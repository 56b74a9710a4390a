select max(version)
from csp_analytics.ad_impressions_hourly;
