//! Ingest goes no faster than its files are joined, and is not held up by what cannot be joined.

use crate::{
    app::{TestApp, json as json_of, record},
    maintain::{files, flushes},
};

/// While more files wait, flushes wait.
const MOST: usize = 16;

/// So many flushes of a file for each of two days; nothing runs beside.
async fn app_with_files(count: i64) -> TestApp {
    let app = TestApp::start_with(|config| {
        config.lifecycle.interval_s = 0;
        config.lifecycle.waiting_files_max = MOST;
    })
    .await;
    flushes(&app, count).await;
    app
}

/// Whether a flush would wait now.
async fn waits(app: &TestApp) -> bool {
    tokio::select! {
        biased;
        () = app.daemon.as_ref().unwrap().maintainer().caught_up() => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn a_flush_waits_until_files_are_joined() {
    assert!(!waits(&app_with_files(8).await).await);
    let app = app_with_files(9).await;
    assert!(waits(&app).await);
    let maintainer = app.daemon.as_ref().unwrap().maintainer();
    let ((), done) = tokio::join!(maintainer.caught_up(), maintainer.run());
    assert_eq!(done.unwrap().actions, 2);
    // One of the two days was enough.
    assert_eq!(maintainer.waiting_files(), 9);
    assert!(!waits(&app).await);
    assert_eq!(maintainer.waiting_files(), 0);
}

#[tokio::test]
async fn what_cannot_be_joined_holds_nothing_up() {
    let app = app_with_files(9).await;
    let contents: Vec<_> = files(&app).into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    for (_, path) in &contents {
        std::fs::write(path, b"no Parquet").unwrap();
    }
    let maintainer = app.daemon.as_ref().unwrap().maintainer();
    assert!(waits(&app).await);
    let ((), outcome) = tokio::join!(maintainer.caught_up(), maintainer.run());
    assert!(outcome.is_err());
    assert!(!waits(&app).await);
    assert_eq!(maintainer.waiting_files(), 18);
    // Once they can be joined again, a pass says so.
    for (content, path) in &contents {
        std::fs::write(path, content).unwrap();
    }
    assert_eq!(maintainer.run().await.unwrap().actions, 2);
    // The first nine are known already.
    flushes(&app, 18).await;
    assert!(waits(&app).await);
}

#[tokio::test]
async fn files_stay_few_while_rows_come_faster_than_passes() {
    let app = TestApp::start_with(|config| {
        config.lifecycle.interval_s = 3_600;
        config.lifecycle.waiting_files_max = MOST;
        config.buffer.flush_interval_ms = 1;
    })
    .await;
    for batch in 0..40 {
        let line = |day: i64| record(-86_400 * day, &format!("{batch}-{day}"), "rag", 0.5);
        app.logs(line(1) + &line(2)).await;
        // The next flush has files of its own.
        while json_of(app.get("/api/v1/status")).await["books"]["buffered"] != 0 {}
        let (_, files, _) = app.daemon.as_ref().unwrap().maintainer().sizes()[0];
        assert!(files <= MOST + 16, "{files} files after batch {batch}");
    }
    assert_eq!(app.sql("select count(*) as n from agent_logs").await[0]["n"], 80);
}
