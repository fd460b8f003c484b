-- The file of an embedded mesh, version 1. Times are milliseconds UTC.

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
