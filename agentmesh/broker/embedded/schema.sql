-- The file of an embedded mesh, version 2. Times are milliseconds UTC.

create table topic (
    name text primary key,
    delivery blob not null                 -- Delivery, MessagePack
) without rowid;

create table card (
    topic text not null,
    version text not null,
    digest text not null,
    card blob not null,                    -- A2A AgentCard, JSON
    registered integer not null,
    primary key (topic, version)
) without rowid;

-- Which share of a topic's new messages each version gets.
create table route (
    topic text not null,
    version text not null,
    weight integer not null,
    primary key (topic, version)
) without rowid;

-- A task that is not acknowledged. A token that is not empty is held by a worker.
create table task (
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

create table dead (
    position integer primary key,
    topic text not null,
    died integer not null,
    attempts integer not null,
    reason text not null,
    message blob not null
);
create index dead_topic on dead (topic, position);

-- A LiteTopic. Its next offset is that of its last entry + 1; its last entry's time is when it was touched.
create table lite_topic (
    name text primary key,
    id integer not null,
    title text not null,
    created integer not null,
    deadline integer not null,
    expires integer not null               -- in hours, so that it seldom changes
) without rowid;
create index lite_topic_expires on lite_topic (expires);

create table entry (
    lite_topic integer not null,
    offset integer not null,
    time integer not null,
    id text,                               -- null: none was given, readers see "@offset"
    content blob not null,                 -- type, attempt, token, data: MessagePack
    primary key (lite_topic, offset)
) without rowid;
create unique index entry_id on entry (lite_topic, id) where id is not null;

create table probe (written integer not null);
insert into probe values (0);

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
