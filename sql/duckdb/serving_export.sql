-- The variables are the connection's own. Rows leave in key order.
copy (
    select *
    from csp_analytics.rows_between(
        getvariable('export_layer'), getvariable('export_from'), getvariable('export_to'))
    order by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code
) to (getvariable('export_path')) (format parquet, compression zstd);
