-- Whether the store counts impressions: 1 or 0.
select count(*)::bigint as tables
from information_schema.tables
where table_schema = 'csp_analytics' and table_name = 'ad_impressions_hourly';
