-- name: insert_lite_topic
insert into lite_topic (name, id, title, created, deadline, expires) values (?, ?, ?, ?, ?, ?);
-- name: insert_task
insert into task (position, topic, attempt, token, holder, lost, raised, not_before, cancelled, message)
values (?, ?, 0, '', '', 0, 0, ?, 0, ?);
-- name: update_task
update task set attempt = ?, token = ?, holder = ?, lost = ?, raised = ?, not_before = ? where position = ?;
-- name: cancel_task
update task set cancelled = 1 where position = ?;
-- name: insert_entry
insert into entry (lite_topic, offset, time, id, content) values (?, ?, ?, ?, ?);
-- name: update_expires
update lite_topic set expires = ? where name = ?;
-- name: delete_task
delete from task where position = ?;
-- name: insert_dead
insert into dead (position, topic, died, attempts, reason, message) values (?, ?, ?, ?, ?, ?);
-- name: upsert_topic
insert into topic (name, delivery) values (?, ?) on conflict (name) do update set delivery = excluded.delivery;
-- name: delete_topic
delete from topic where name = ?;
-- name: insert_card
insert into card (topic, version, digest, card, registered) values (?, ?, ?, ?, ?);
-- name: delete_card
delete from card where topic = ?;
-- name: delete_route
delete from route where topic = ?;
-- name: insert_route
insert into route (topic, version, weight) values (?, ?, ?);
-- name: upsert_client
insert into client (name, replies, seen) values (?, ?, ?)
    on conflict (name) do update set replies = excluded.replies, seen = excluded.seen;
-- name: delete_client
delete from client where name = ?;
-- name: upsert_tenant
insert into tenant (name, policy) values (?, ?) on conflict (name) do update set policy = excluded.policy;
-- name: delete_dead
delete from dead where position = ?;
-- name: delete_entries
delete from entry where lite_topic = ? and offset < ?;
-- name: insert_ended
insert into ended (lite_topic) values (?);
-- name: delete_ended
delete from ended where lite_topic = ?;
-- name: delete_lite_topic
delete from lite_topic where name = ?;
-- name: delete_blob
delete from blob where digest = ?;
-- name: insert_blob
insert into blob (digest, size, released) values (?, ?, 0) on conflict (digest) do update set released = 0;
-- name: insert_blob_reference
insert or ignore into blob_reference (lite_topic, digest) values (?, ?);
-- name: delete_blob_reference
delete from blob_reference where lite_topic = ? and digest = ?;
-- name: release_blob
update blob set released = ?
 where digest = ? and not exists (select 1 from blob_reference r where r.digest = blob.digest);

-- name: topics
select name, delivery from topic;
-- name: tasks
select position, attempt, token, holder, lost, raised, not_before, cancelled, message from task order by position;
-- name: task_message
select message from task where position = ?;
-- name: last_position
select max(coalesce((select max(position) from task), 0), coalesce((select max(position) from dead), 0));
-- name: last_lite_topic
select coalesce(max(lite_topic), 0) from entry;
-- name: newest_call
select coalesce(max(name), '') from lite_topic where name >= 'call-0' and name < 'call-2';
-- name: cards
select topic, version, card, registered from card order by topic, version;
-- name: routes
select topic, version, weight from route order by topic, version;
-- name: card_digest
select digest from card where topic = ? and version = ?;
-- name: find_lite_topic
select l.id, l.deadline, l.expires, coalesce(e.offset + 1, 0), coalesce(e.time, 0)
  from lite_topic l left join entry e on e.lite_topic = l.id
 where l.name = ? order by e.offset desc limit 1;
-- name: heads
select l.name, l.id, coalesce((select max(offset) from entry where lite_topic = l.id), -1)
  from json_each(?) j cross join lite_topic l on l.name = j.value;
-- name: entry_time
select time from entry where lite_topic = ? and offset = ?;
-- name: find_entry
select offset from entry where lite_topic = ? and id = ?;
-- name: read_entries
select offset, id, time, content from entry
 where lite_topic = ? and offset > ? order by offset limit ?;
-- name: list_lite_topics
select l.name, l.title, (select max(offset) + 1 from entry where lite_topic = l.id), l.created,
       (select time from entry where lite_topic = l.id order by offset desc limit 1)
  from lite_topic l where l.name >= ? and l.name < ? order by l.name limit ?;
-- name: expired_lite_topics
select name, id from lite_topic where expires < ? order by expires limit ?;
-- name: entry_sizes
select offset, length(content) from entry where lite_topic = ? order by offset;
-- name: oldest_lite_topics
select l.expires, l.name, l.id, e.time
  from lite_topic l join entry e
    on e.lite_topic = l.id and e.offset = (select max(offset) from entry where lite_topic = l.id)
 where (l.expires, l.name) > (?, ?) order by l.expires, l.name limit ?;
-- name: ended
select lite_topic from ended order by lite_topic limit 1;
-- name: room
select page_count * page_size, freelist_count * page_size
  from pragma_page_count, pragma_freelist_count, pragma_page_size;
-- name: browse_tasks
select position, attempt, '', message from task where topic = ? and position > ? order by position limit ?;
-- name: browse_dead
select position, attempts, reason, message from dead where topic = ? and position > ? order by position limit ?;
-- name: find_dead
select 1 from dead where position = ? and topic = ?;
-- name: count_dead
select topic, count(*) from dead group by topic;
-- name: epoch
select epoch from host;
-- name: host
select epoch, process, pid from host;
-- name: begin_epoch
update host set epoch = epoch + 1, process = ?, pid = ?;
-- name: end_epoch
update host set process = '' where epoch = ?;
-- name: client_replies
select replies from client where name = ?;
-- name: silent_clients
select name from client where seen < ? limit ?;
-- name: tenants
select policy from tenant order by name;
-- name: blob_references
select digest from blob_reference where lite_topic = ? limit ?;
-- name: released_blobs
select digest from blob where released > 0 and released < ? order by released limit ?;
-- name: first_released
select released from blob where released > 0 order by released limit 1;
-- name: known_blobs
select digest from blob where digest in (select value from json_each(?));
-- name: blobs
select digest, size from blob;
-- name: probe
update probe set written = ?;
