-- The migrations that were applied. ClickHouse has no transactions: each migration is one statement
-- that can be repeated, and is noted here after it has run.
create table if not exists csp_analytics.schema_migrations (
    version UInt32,
    name String,
    applied_at DateTime
) engine = ReplacingMergeTree(applied_at)
order by version;
