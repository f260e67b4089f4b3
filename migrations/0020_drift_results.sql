-- What the runs of the drift job found, so that it is there after a restart. Bounded by number: the newest stay.

create table drift_results (
    id     integer not null primary key, -- rising
    run_at integer not null,             -- when the run ended, µs since the epoch, UTC
    result text    not null              -- JSON: one verdict
) strict;
