-- The first minute of which the policy alone judged every click.
alter table csp_analytics.stream_progress
add column if not exists policy_from_millis Int64 default 0;
