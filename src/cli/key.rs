//! `driftline key`: the keys of a data directory, whether or not a server has it open, or of a running server.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::{Source, client, print};
use crate::{
    access::{KeyRecord, NewKey, expiry_us},
    clock::Clock,
    daemon,
    error::{Context, Error, Result},
    gate,
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and shows it, this once
    Create(CreateArgs),
    /// Lists the keys, without their secrets
    List(ListArgs),
    /// Ends a key for good
    Revoke(RevokeArgs),
}

/// Flags of `key create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What the key is for
    #[arg(long)]
    name: String,
    /// What it may do: ingest, query, admin, with commas
    #[arg(long, default_value = "ingest,query")]
    scope: String,
    /// A tenant that it is bound to; several times for several [default: all tenants]
    #[arg(long)]
    tenant: Vec<String>,
    /// Ends by itself after so many days
    #[arg(long)]
    expires_in_days: Option<u32>,
    #[command(flatten)]
    source: Source,
}

/// Flags of `key list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    source: Source,
}

/// Flags of `key revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The key's public id, as `key list` shows it
    id: String,
    #[command(flatten)]
    source: Source,
}

/// A key as the list shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    name: String,
    scopes: String,
    tenants: Vec<String>,
    state: String,
    created_at_us: i64,
    expires_at_us: Option<i64>,
    used_at_us: Option<i64>,
}

/// Runs the command.
pub async fn run(command: KeyCommand) -> Result<ExitCode> {
    match command {
        KeyCommand::Create(args) => create(args).await,
        KeyCommand::List(args) => list(args).await,
        KeyCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<ExitCode> {
    let now_us = Clock::System.now_us();
    let expires_at_us = args.expires_in_days.map(|days| expiry_us(now_us, days)).transpose().map_err(Error::invalid)?;
    let key = NewKey::new(&args.name, &args.scope, args.tenant.clone(), expires_at_us).map_err(Error::invalid)?;
    let shown = match args.source.directory()? {
        Some(config) => {
            let (keys, _lock) = daemon::keys(&config).await?;
            let made = gate::create(&keys, &key, now_us).await;
            keys.close().await;
            made?.reveal()
        }
        None => {
            let body = json!({
                "name": args.name,
                "scopes": args.scope,
                "tenants": args.tenant,
                "expires_in_days": args.expires_in_days,
            });
            let request = args.source.client()?.post(format!("{}/api/v1/keys", args.source.url())).json(&body);
            let answer: serde_json::Value =
                client::send(request).await?.json().await.context("the server's answer is not JSON")?;
            answer["key"].as_str().unwrap_or_default().to_owned()
        }
    };
    eprintln!("this key is shown once, and kept nowhere:");
    print(format!("{shown}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let shown: Vec<Shown> = match args.source.directory()? {
        Some(config) => {
            let (keys, _lock) = daemon::keys(&config).await?;
            let records = keys.list().await;
            keys.close().await;
            records?.into_iter().map(|record| Shown::new(record, Clock::System.now_us())).collect()
        }
        None => {
            let request = args.source.client()?.get(format!("{}/api/v1/keys", args.source.url()));
            client::send(request).await?.json().await.context("the server's answer is not as expected")?
        }
    };
    print(table(&shown).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: RevokeArgs) -> Result<ExitCode> {
    match args.source.directory()? {
        Some(config) => {
            let (keys, _lock) = daemon::keys(&config).await?;
            let revoked = keys.revoke(&args.id, Clock::System.now_us()).await;
            keys.close().await;
            revoked?;
        }
        None => {
            let mut url = url::Url::parse(args.source.url()).context("the URL is none")?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(["api", "v1", "keys", &args.id]);
            }
            client::send(args.source.client()?.delete(url)).await?;
        }
    }
    print(format!("{} is revoked\n", args.id).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Shown {
    fn new(record: KeyRecord, now_us: i64) -> Self {
        let state = record.ended(now_us).unwrap_or("valid").to_owned();
        let KeyRecord { id, key, created_at_us, used_at_us, .. } = record;
        let tenants = key.scope.tenants().into_iter().flat_map(|tenants| tenants.names()).map(str::to_owned).collect();
        let (name, scopes, expires_at_us) = (key.name, key.permissions.to_string(), key.expires_at_us);
        Self { id, name, scopes, tenants, state, created_at_us, expires_at_us, used_at_us }
    }
}

fn table(keys: &[Shown]) -> String {
    if keys.is_empty() {
        return "there are no keys: on a loopback address everybody may do everything\n".to_owned();
    }
    let heading = ["id", "name", "scopes", "tenants", "state", "created", "expires", "used"].map(str::to_owned);
    let rows = keys.iter().map(|key| {
        let tenants = if key.tenants.is_empty() { "all".to_owned() } else { key.tenants.join(", ") };
        let day = |us: Option<i64>| us.map_or_else(|| "never".to_owned(), time);
        let (created, expires, used) = (time(key.created_at_us), day(key.expires_at_us), day(key.used_at_us));
        [key.id.clone(), key.name.clone(), key.scopes.clone(), tenants, key.state.clone(), created, expires, used]
    });
    let rows: Vec<[String; 8]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
