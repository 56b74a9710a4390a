select max(version)
from csp_analytics.schema_migrations;
