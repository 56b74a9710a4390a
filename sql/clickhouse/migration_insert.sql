insert into csp_analytics.schema_migrations (version, name, applied_at)
