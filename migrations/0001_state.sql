-- State that ingest needs across restarts: which batches were stored, and the totals at a WAL seq.

create table receipts (
    key         blob    not null primary key, -- 16 bytes: the batch's identity
    seq         integer not null,             -- the WAL seq that stored it
    accepted    integer not null,
    rejected    integer not null,
    received_at integer not null              -- µs since the epoch, UTC
) strict, without rowid;

create index receipts_by_age on receipts (received_at);

create table totals (
    id        integer not null primary key check (id = 1),
    seq       integer not null, -- every WAL frame up to this one is counted below and committed
    received  integer not null, -- records and lines
    accepted  integer not null,
    rejected  integer not null,
    duplicate integer not null,
    metrics   text    not null  -- JSON: cumulative Prometheus totals
) strict;
