//! Driftline: cost, quality and drift analytics for AI agents, in one binary.
//!
//! The rooms and what may know what are described in `ARCHITECTURE.md`.

pub mod access;
pub mod anomaly;
pub mod background;
pub mod backtest;
pub mod backup;
pub mod buffer;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod decode;
pub mod detect;
pub mod disk;
pub mod drift;
pub mod error;
pub mod experiment;
pub mod finding;
pub mod forecast;
pub mod forget;
pub mod gate;
pub mod grafana;
pub mod http;
pub mod ingest;
pub mod jaeger;
pub mod jobs;
pub mod kpi;
pub mod lake;
pub mod lifecycle;
pub mod maintain;
pub mod memory;
pub mod metrics;
pub mod named;
pub mod postgres;
pub mod query;
pub mod record;
pub mod report;
pub mod sample;
pub mod sketch;
pub mod slo;
pub mod stats;
pub mod tls;
pub mod verify;
pub mod wal;
