//! `driftline backup`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::{Source, client, print};
use crate::{
    backup::Done,
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
};

/// Flags of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where the copy goes, on the server's host: a directory that is missing or empty
    directory: PathBuf,
    #[command(flatten)]
    source: Source,
}

/// Writes a copy and says how to restore it.
pub async fn run(args: BackupArgs) -> Result<ExitCode> {
    let directory = std::path::absolute(&args.directory).context("cannot tell the directory's whole path")?;
    let done = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let done = store.backup.run(&directory).await;
            store.close().await?;
            done?
        }
        None => ask(&args.source, &directory).await?,
    };
    print(shown(&done).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(source: &Source, directory: &Path) -> Result<Done> {
    let url = format!("{}/api/v1/backup", source.url());
    let request = source.client()?.post(url).timeout(client::PASS_MAX).json(&json!({ "directory": directory }));
    client::send(request).await?.json().await.context("the server's answer is not as expected")
}

fn shown(done: &Done) -> String {
    let Done { directory, seq, rows, files, bytes, cold_files, seconds } = done;
    let cold = match cold_files {
        0 => String::new(),
        _ => format!(
            "{cold_files} files stay in the cold store: the copy needs them there, and owns them once driftline-owner is \
             deleted there\n"
        ),
    };
    format!(
        "{rows} rows, through batch {seq}, in {files} files of {bytes} bytes, written in {seconds:.1} s\n{cold}\
         restore with: driftline serve --data {}\n",
        directory.display()
    )
}
