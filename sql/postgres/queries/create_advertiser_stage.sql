create temporary table advertiser_stage (
    id varchar(64) not null,
    name varchar(255) not null,
    credit_limit decimal(15, 2)
) on commit drop;
