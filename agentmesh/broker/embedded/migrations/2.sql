-- From version 1 to 2: several processes, tenants, large bodies.

-- The process of each worker, before the message: what comes after a long one is slow to read.
create table new_task (
    position integer primary key,          -- grows with age
    topic text not null,
    attempt integer not null,
    token text not null,
    holder text not null,                  -- the process of that worker
    lost integer not null,
    raised integer not null,
    not_before integer not null,
    cancelled integer not null,            -- 1: the call was cancelled while a worker held it
    message blob not null                  -- the envelope
);
insert into new_task
    select position, topic, attempt, token, '', lost, raised, not_before, cancelled, message from task;
drop table task;
alter table new_task rename to task;

-- Who hosts the store. Every commit checks that the epoch is its own.
create table host (
    epoch integer not null,
    process text not null,                 -- whose leases end with it; empty after an orderly end
    pid integer not null
);
insert into host values (0, '', 0);

-- The last answers to each client of another process, stored with what they are the answers to, so that a request
-- that is sent again after a broken connection is done once.
create table client (
    name text primary key,
    replies blob not null,
    seen integer not null
) without rowid;

create table tenant (
    name text primary key,
    policy blob not null                   -- Tenant, MessagePack
) without rowid;

-- Large bodies in the blob store. `released`: when the last reference went; 0: it has one.
create table blob (
    digest text primary key,
    size integer not null,
    released integer not null
) without rowid;
create index blob_released on blob (released) where released > 0;

-- LiteTopics that are gone, by number, while their entries are removed a slice at a time.
create table ended (lite_topic integer primary key);

create table blob_reference (
    lite_topic integer not null,
    digest text not null,
    primary key (lite_topic, digest)
) without rowid;
create index blob_reference_digest on blob_reference (digest);
