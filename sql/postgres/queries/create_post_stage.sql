-- What a posting run brings: absolute totals of one day, and who is held back.
create temporary table charge_stage (
    advertiser_id varchar(64) not null,
    spend_micros bigint not null,
    clicks bigint not null,
    invalid_clicks bigint
) on commit drop;

create temporary table held_stage (
    advertiser_id varchar(64) not null
) on commit drop;
