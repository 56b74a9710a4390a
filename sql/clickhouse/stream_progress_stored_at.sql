-- When the stream stored the row, by its clock.
alter table csp_analytics.stream_progress
add column if not exists stored_at_millis Int64 default 0;
