select max(version)
from csp_analytics.minutes_provisional;
