//! What is whole is called so, and the command says it.

use super::*;

/// Asserts that the directory is whole as it is now, with these notes; returns what was looked at.
async fn whole(app: &TestApp, notes: &[&str]) -> Figures {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy(app.data(), &data);
    let report = verify(&data, true).await;
    let said: Vec<String> = report.notes.iter().map(|note| format!("{}: {}", note.place, note.what)).collect();
    let as_expected = said.len() == notes.len() && said.iter().zip(notes).all(|(said, note)| said.contains(note));
    assert!(report.is_clean() && as_expected, "{notes:?}\n{report}");
    report.figures
}

#[tokio::test]
async fn what_is_whole_is_called_whole() {
    let app = TestApp::start_with(|config| {
        small_segments(config);
        config.lifecycle.log_retention_minutes = 0;
        config.lifecycle.delete_after_days = 5;
    })
    .await;
    assert_eq!(whole(&app, &[]).await.segments, 0);
    for number in 0..55 {
        app.logs(batch(number)).await;
        if number == 0 {
            let figures = whole(&app, &[]).await;
            assert_eq!((figures.segments, figures.frames, figures.counted_seq), (1, 1, 0));
        }
        app.flush().await;
    }
    let figures = whole(&app, &[]).await;
    assert_eq!((figures.segments, figures.counted_seq, figures.receipts), (0, 55, 55));
    assert_eq!((figures.tables[0].files, figures.tables[0].rows, figures.tables[1].rows), (110, 330, 55));
    maintain(&app).await;
    // What was merged lies beside for a while.
    let figures = whole(&app, &["agent_logs: holds files that no version counts (110,"]).await;
    assert!(figures.tables[0].files < 10 && figures.tables[0].rows == 330, "{figures:?}");
    // Later the oldest rows are past their age, and the oldest of a batch are rejected for it.
    app.clock.set(NOW_US + 4 * DAY_US);
    maintain(&app).await;
    app.logs(batch(55)).await;
    app.flush().await;
    let leftovers = [
        "agent_logs: 55 of the 335 rows that came were deleted",
        "agent_logs: holds files that no version counts (1,",
        "rejected_logs: holds files that no version counts (55,",
    ];
    assert_eq!(whole(&app, &leftovers).await.tables[0].rows, 280);
    // The log's files carry the system's time, which is after the test's. Now it is trimmed.
    app.clock.set(4_102_444_800_000_000);
    maintain(&app).await;
    let leftovers = [
        "agent_logs: 335 of the 335 rows that came were deleted",
        "agent_logs: holds files that no version counts (",
        "rejected_logs: 57 of the 57 rows that came were deleted",
        "rejected_logs: holds files that no version counts (",
    ];
    assert_eq!(whole(&app, &leftovers).await.tables[0].files, 0);
}

#[tokio::test]
async fn tables_and_cold_files_are_found_where_the_settings_say() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = |name: &str| Some(url::Url::from_directory_path(elsewhere.path().join(name)).unwrap().to_string());
    let mut app = TestApp::start_with(|config| {
        small_segments(config);
        config.storage.url = url("home");
        config.storage.cold_url = url("cold");
        config.lifecycle.warm_after_days = 1;
        config.lifecycle.cold_after_days = 1;
        config.lifecycle.file_grace_minutes = 0;
    })
    .await;
    for number in 0..3 {
        app.logs(batch(number)).await;
        app.flush().await;
    }
    app.clock.set(NOW_US + 30 * DAY_US);
    for _ in 0..3 {
        maintain(&app).await;
    }
    app.daemon.take().unwrap().stop().await.unwrap();
    let before = bytes_below(elsewhere.path());
    let report = daemon::verify(&app.config, true).await.unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
    assert_eq!(report.figures.tables[0].rows, 18);
    assert!(before == bytes_below(elsewhere.path()), "something was changed");

    let cold = files(elsewhere.path().join("cold/agent_logs"), ".parquet");
    assert!(!cold.is_empty());
    fs::remove_file(&cold[0]).unwrap();
    let report = daemon::verify(&app.config, false).await.unwrap();
    let found = &report.findings[0];
    let name = cold[0].file_name().unwrap().to_str().unwrap();
    assert!(found.place.starts_with("file:///") && found.place.ends_with(name), "{report}");
    assert_eq!((report.findings.len(), found.what.as_str()), (1, "the file is missing"));

    let refused = async |change: &dyn Fn(&mut Config), words: &str| {
        let mut config = app.config.clone();
        change(&mut config);
        let error = daemon::verify(&config, false).await.err().unwrap();
        assert!(error.kind() == Kind::Conflict && error.chain().contains(words), "{}", error.chain());
    };
    refused(&|config| config.storage.cold_url = None, "see storage.cold_url").await;
    refused(&|config| config.storage.url = None, "put storage.url back").await;
    fs::write(elsewhere.path().join("cold/driftline-owner"), "somebody else").unwrap();
    refused(&|_| {}, "the tables of another data directory").await;
}

#[tokio::test]
async fn a_quarantine_ends_the_complaint() {
    let bases = bases().await;
    let mut config = Config::default();
    config.server.data = bases.crashed.clone();
    flip(&segments(&bases.crashed)[3], |bytes| bytes / 2);
    assert_eq!(verify(&bases.crashed, false).await.findings.len(), 1);
    assert_eq!(daemon::quarantine(&config).await.unwrap().losses.len(), 1);
    let report = verify(&bases.crashed, false).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.to_string().contains("note: wal/00000000000000000014.wal: batches 14 to 14 were quarantined"));
    assert!(report.to_string().contains("note: wal/quarantine: damaged segments are kept as they were found: 1"));
}

#[tokio::test]
async fn a_directory_that_a_server_has_open_is_left_alone() {
    let app = TestApp::start().await;
    let error = daemon::verify(&app.config, false).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Conflict);
    let mut config = app.config.clone();
    config.server.data = app.data().join("nothing");
    assert_eq!(daemon::verify(&config, false).await.err().unwrap().kind(), Kind::NotFound);
}

#[tokio::test]
async fn the_command_says_it_with_its_exit_code() {
    let bases = bases().await;
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
            .args(["verify", "--data"])
            .arg(&bases.stopped)
            .args(flags)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["--content"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\nnothing is wrong: ") && text.contains("16 receipts"), "{text}");
    let path = live_file(&bases.stopped);
    fs::remove_file(&path).unwrap();
    let (code, text) = run(&[]);
    assert_eq!(code, Some(1), "{text}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains("\nwrong: tables/agent_logs/date=") && text.contains(name), "{text}");
    let (code, text) = run(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["findings"][0]["what"]), (Some(1), &"the file is missing".into()));
    assert_eq!(report["figures"]["tables"][0]["rows"], 96);
    assert_eq!(run(&["--quarantine"]), (Some(0), "the write-ahead log is whole\n".to_owned()));
}
