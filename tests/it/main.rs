//! One integration binary: a real daemon on a real directory, spoken to over a real socket.

#![allow(clippy::unwrap_used)]

mod anomalies;
mod app;
mod backtest;
mod backup;
mod books;
mod clients;
mod clock;
mod cold;
mod commands;
mod crash;
mod detect;
mod disk;
mod drift;
mod experiments;
mod forecast;
mod forget;
mod fuzz;
mod grafana;
mod growth;
mod ingest;
mod jaeger;
mod judged_hours;
mod keys;
mod kpi;
mod maintain;
mod metrics;
mod monitor;
mod openapi;
mod pace;
mod panics;
mod postgres;
mod power;
mod power_maintenance;
mod power_rewrite;
mod queries;
mod random;
mod real_data;
mod report;
mod restart;
mod rollup;
mod series;
mod simulated_disk;
mod sketches;
mod slo;
mod sql;
mod statistics;
mod sweep;
mod tidy;
mod verify;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
