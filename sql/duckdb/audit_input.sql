-- What the caller fills in before the audit runs; see internal/auditduck.
create temporary table audit_click_file (path varchar);
create temporary table audit_dead_letter_file (path varchar);

-- A revision judges the clicks with an event time in [from_millis, to_millis).
create temporary table audit_revision (
    revision integer,
    from_millis bigint,
    to_millis bigint,
    ahead_micros bigint,
    age_micros bigint,
    cost_micros_max bigint,
    lookback_micros bigint,
    window_millis bigint,
    clicks_max integer,
    cooling_millis bigint
);

create temporary table audit_cidr (revision integer, cidr varchar);

-- Clicks by position that a list hit; audit_bot.sql and audit_listed.sql fill it.
create temporary table audit_list_hit (partition_id integer, record_offset bigint, rule varchar);
