-- Whether the store counts impressions: 1 or 0.
select count() as tables
from system.tables
where database = 'csp_analytics' and name = 'ad_impressions_hourly';
