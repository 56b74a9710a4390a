-- What was acknowledged survives a power cut; without this ClickHouse leaves it to the system when
-- a new part reaches the disk. A setting, so that the lesson's definition above stays as it is.
alter table csp_analytics.ad_clicks_hourly
    modify setting fsync_after_insert = 1, fsync_part_directory = 1;
