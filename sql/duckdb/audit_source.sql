set variable audit_click_files = (select list(path order by path) from audit_click_file);
create temporary view audit_archived as
select * from read_parquet(getvariable('audit_click_files'), hive_partitioning = false);
