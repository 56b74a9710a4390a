-- $1: a revision, $2: an RE2 expression that its bot list asks for.
insert into audit_list_hit
select partition_id, record_offset, 'bot_user_agent'
from audit_valid
where revision = $1
    and event_millis >= getvariable('audit_start') and event_millis < getvariable('audit_end')
    and regexp_matches(user_agent, $2);
