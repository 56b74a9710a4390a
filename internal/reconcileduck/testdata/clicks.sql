-- The clicks of a test, each with its verdict in both layers.
create temporary table click (
    "partition" integer, "offset" bigint, click_id varchar, event_millis bigint, received_millis bigint,
    cost_micros bigint, ip_address varchar, advertiser_id varchar, ad_id varchar,
    stream_verdict varchar, batch_verdict varchar, is_late boolean, winner_offset bigint, is_archived boolean
);
