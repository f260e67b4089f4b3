-- What all jobs found is of one form, so that it stands in one table. Bounded by number: of each kind the newest stay.

create table results (
    id     integer not null primary key, -- rising
    kind   text    not null,             -- what it is a result of
    run_at integer not null,             -- when the run ended, µs since the epoch, UTC
    result text    not null              -- JSON
) strict;

create index results_of_a_kind on results (kind, id);

insert into results (id, kind, run_at, result) select id, 'drift', run_at, result from drift_results;

drop table drift_results;
