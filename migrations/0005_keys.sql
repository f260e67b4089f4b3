-- Who may call: keys, of which only a hash is kept.

create table keys (
    id         text    not null primary key, -- the public part of the key
    hash       blob    not null,             -- 32 bytes: BLAKE3 of the whole key
    name       text    not null,             -- what it is for, for people
    scopes     text    not null,             -- some of ingest, query, admin, with commas
    tenants    text    not null,             -- JSON array; empty: not bound to any
    created_at integer not null,             -- µs since the epoch, UTC, as all times here
    expires_at integer,
    used_at    integer,                      -- give or take some minutes
    revoked_at integer                       -- a revoked key stays: that there was one keeps the door shut
) strict, without rowid;
