//! Directories of an older version: columns are added, files without them show nulls, nothing is lost.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use driftline::{clock::Clock, daemon::Store};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, record};

const NEW: &str = "queue_wait_ms";

/// Changes each action of the table's log.
fn edit_log(table: &Path, change: impl Fn(&mut Value)) {
    for entry in fs::read_dir(table.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()) {
        let edit = |line: &str| {
            let mut action: Value = serde_json::from_str(line).unwrap();
            change(&mut action);
            action.to_string() + "\n"
        };
        let text: String = fs::read_to_string(&entry).unwrap().lines().map(edit).collect();
        fs::write(entry, text).unwrap();
    }
}

/// Changes the columns that the log says the table has.
fn edit_columns(table: &Path, change: impl Fn(&mut Vec<Value>)) {
    edit_log(table, |action| {
        let Some(text) = action["metaData"]["schemaString"].as_str() else { return };
        let mut schema: Value = serde_json::from_str(text).unwrap();
        change(schema["fields"].as_array_mut().unwrap());
        action["metaData"]["schemaString"] = schema.to_string().into();
    });
}

/// Writes a file again without a column; returns its new length.
fn without_column(path: &PathBuf, column: &str) -> u64 {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let kept: Vec<usize> =
        (0..batches[0].num_columns()).filter(|index| batches[0].schema().field(*index).name() != column).collect();
    let schema = batches[0].project(&kept).unwrap().schema();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    for batch in &batches {
        writer.write(&batch.project(&kept).unwrap()).unwrap();
    }
    writer.close().unwrap();
    fs::metadata(path).unwrap().len()
}

fn waited(second: i64, id: &str, ms: i64) -> String {
    record(second, id, "rag", 0.5).replace("\"ttft_ms\"", &format!("\"{NEW}\":{ms},\"ttft_ms\""))
}

#[tokio::test]
async fn an_older_directory_gets_the_new_column() {
    let mut app = TestApp::start().await;
    for flush in 0..8 {
        app.logs(waited(-86_400 - flush, &format!("old{flush}"), 5)).await;
        app.flush().await;
    }
    app.daemon.take().unwrap().stop().await.unwrap();
    let table = app.data().join("tables/agent_logs");
    edit_columns(&table, |fields| fields.retain(|field| field["name"] != NEW));
    edit_log(&table, |action| {
        let Some(path) = action["add"]["path"].as_str() else { return };
        let bytes = without_column(&table.join(path), NEW);
        let mut stats: Value = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
        for group in ["minValues", "maxValues", "nullCount"] {
            stats[group].as_object_mut().unwrap().remove(NEW);
        }
        action["add"]["size"] = bytes.into();
        action["add"]["stats"] = stats.to_string().into();
    });

    app.reopen().await;
    app.logs(waited(-1, "new", 7)).await;
    let all = format!("select count(*) as n, count({NEW}) as waited, sum({NEW}) as ms from agent_logs");
    let expected = json!([{"n": 9, "waited": 1, "ms": 7.0}]);
    assert_eq!(app.sql(&all).await, expected);
    app.flush().await;
    assert_eq!(app.sql(&all).await, expected);
    let missing = format!("select count(*) as n from agent_logs where {NEW} is null");
    assert_eq!(app.sql(&missing).await, json!([{"n": 8}]));
    // Files of both kinds are joined.
    app.clock.set(NOW_US + 9 * 86_400_000_000);
    let done = app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
    assert!(done.actions > 0);
    assert_eq!(app.sql(&all).await, expected);
    app.restart().await;
    assert_eq!(app.sql(&all).await, expected);
}

#[tokio::test]
async fn a_newer_directory_is_refused() {
    let mut app = TestApp::start().await;
    app.logs(record(-1, "r", "rag", 0.5)).await;
    app.daemon.take().unwrap().stop().await.unwrap();
    let table = app.data().join("tables/agent_logs");
    let column = json!({"name": "mood", "type": "string", "nullable": true, "metadata": {}});
    edit_columns(&table, |fields| fields.push(column.clone()));
    let error = Store::open(&app.config, Clock::manual(NOW_US)).await.err().unwrap().chain();
    assert!(error.contains("the column mood of agent_logs") && error.contains("start the version"), "{error}");
    edit_columns(&table, |fields| fields.retain(|field| field["name"] != "mood"));
    Store::open(&app.config, Clock::manual(NOW_US)).await.unwrap().close().await.unwrap();
}
