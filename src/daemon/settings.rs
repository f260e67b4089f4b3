//! The settings as each room takes them: days and hours become µs, and shares of memory bytes. Decides nothing.

use std::{path::PathBuf, time::Duration};

use super::{HOUR_US, MINUTE_US};
use crate::{
    anomaly::Pace,
    config::{AccessConfig, AnomalyConfig, Budget, Config, DriftConfig, TenantLifecycleConfig},
    gate, ingest, jobs,
    lifecycle::{Policy, TenantPolicy},
    maintain,
    metrics::Limits,
    query,
};

pub(super) fn gate(config: &Config) -> gate::Settings {
    let AccessConfig { requests_per_second, statements_max } = config.access;
    gate::Settings { requests_per_second, statements_max, seats_max: config.postgres.connections_per_key_max }
}

pub(super) fn ingest(config: &Config, budget: &Budget) -> ingest::Settings {
    ingest::Settings {
        body_bytes_max: config.ingest.body_bytes_max,
        record_bytes_max: config.ingest.record_bytes_max,
        flush_bytes: budget.flush,
        segment_bytes_max: config.wal.segment_bytes_max,
        wait_max: Duration::from_millis(config.ingest.wait_ms_max),
        future_max_us: i64::from(config.ingest.future_hours_max) * HOUR_US,
        retention: policy(config),
        receipt_horizon_us: i64::from(config.ingest.receipt_hours) * HOUR_US,
        receipts_max: config.ingest.receipts_max,
        metrics: Limits {
            label_sets_max: config.metrics.label_sets_max,
            live_window_us: i64::from(config.metrics.live_window_minutes) * MINUTE_US,
            session_window_us: i64::from(config.metrics.session_window_minutes) * MINUTE_US,
            sessions_max: config.metrics.sessions_max,
        },
    }
}

fn policy(config: &Config) -> Policy {
    let lifecycle = &config.lifecycle;
    let after = |days: u32| (days > 0).then_some(days);
    let own = |tenant: &TenantLifecycleConfig| TenantPolicy {
        warm_after_days: after(tenant.warm_after_days.unwrap_or(lifecycle.warm_after_days)),
        cold_after_days: after(tenant.cold_after_days.unwrap_or(lifecycle.cold_after_days)),
        delete_after_days: after(tenant.delete_after_days.unwrap_or(lifecycle.delete_after_days)),
    };
    let tenants = lifecycle.tenants.iter().map(|(name, tenant)| (name.clone(), own(tenant))).collect();
    Policy {
        warm_after_days: after(lifecycle.warm_after_days),
        cold_after_days: after(lifecycle.cold_after_days),
        delete_after_days: after(lifecycle.delete_after_days),
        tenants,
        closed_after_minutes: lifecycle.closed_after_minutes,
        merge_files_min: lifecycle.merge_files_min,
        file_bytes_target: lifecycle.file_bytes_target,
    }
}

pub(super) fn maintain(config: &Config, budget: &Budget) -> maintain::Settings {
    let lifecycle = &config.lifecycle;
    maintain::Settings {
        policy: policy(config),
        file_grace_us: i64::from(lifecycle.file_grace_minutes) * MINUTE_US,
        waiting_files_max: match lifecycle.waiting_files_max {
            0 => usize::MAX,
            most => most,
        },
        log_retention_us: i64::from(lifecycle.log_retention_minutes) * MINUTE_US,
        memory_bytes_max: budget.lifecycle,
    }
}

pub(super) fn drift(config: &Config) -> jobs::DriftSettings {
    let DriftConfig { interval_s, window_hours, references, results_max } = config.drift;
    jobs::DriftSettings { interval: Duration::from_secs(interval_s), window_hours, references, results_max }
}

pub(super) fn anomaly(config: &Config) -> jobs::AnomalySettings {
    let AnomalyConfig { interval_s, settle_minutes, overlap_hours, history_days, results_max, .. } = config.anomaly;
    let pace = Pace { settle_minutes, overlap_hours };
    let kpis = config.anomaly.kpis().map(str::to_owned).collect();
    jobs::AnomalySettings { interval: Duration::from_secs(interval_s), pace, history_days, results_max, kpis }
}

pub(super) fn query(config: &Config, budget: &Budget, spill_directory: PathBuf) -> query::Settings {
    query::Settings {
        timeout: Duration::from_secs(config.query.timeout_s),
        rows_max: config.query.rows_max,
        memory_bytes_max: budget.query,
        process_bytes_max: config.memory.bytes_max,
        rollup_bytes_max: budget.rollup,
        spill_bytes_max: config.query.spill_bytes_max,
        concurrency: config.query.concurrency,
        spill_directory,
        sql_directory: config.query.sql_directory.clone(),
        token_quotas: config.metrics.tenants.iter().map(|(name, own)| (name.clone(), own.token_daily_quota)).collect(),
        task_values_usd: config.kpi.agents.iter().map(|(agent, own)| (agent.clone(), own.task_value_usd)).collect(),
        budgets: config.budget.clone(),
        objectives: config.slo.clone(),
    }
}
