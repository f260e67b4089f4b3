//! The books under load: each answer is one cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use driftline::{
    decode::{Encoding, Shape},
    ingest::{Ingestor, Request, Status},
};

use crate::app::{TestApp, record};

const WRITERS: usize = 4;
const BATCHES: usize = 50;

#[track_caller]
fn check(status: &Status) {
    let books = status.books;
    assert_eq!(books.accepted, status.committed + status.buffered, "{status:?}");
    assert_eq!(books.received(), books.accepted + books.rejected + books.duplicate, "{status:?}");
}

async fn write(ingestor: &Ingestor, writer: usize) {
    for batch in 0..BATCHES {
        let body = record(0, &format!("{writer}-{batch}"), "rag", 1.0) + "no record\n";
        for is_repeat in [false, true] {
            let body = Bytes::from(body.clone());
            let request = Request {
                body,
                encoding: Encoding::Identity,
                shape: Shape::Lines,
                idempotency_key: None,
                scope: Default::default(),
            };
            assert_eq!(ingestor.ingest(request).await.unwrap().duplicate, is_repeat);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn books_balance_in_every_answer() {
    let app = TestApp::start().await;
    let ingestor = Arc::clone(app.daemon.as_ref().unwrap().ingestor());
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (ingestor, is_done) = (Arc::clone(&ingestor), Arc::clone(&is_done));
        std::thread::spawn(move || {
            let mut looks = 0_u64;
            while !is_done.load(Ordering::Relaxed) {
                check(&ingestor.status());
                looks += 1;
            }
            looks
        })
    };
    let flusher = {
        let (ingestor, is_done) = (Arc::clone(&ingestor), Arc::clone(&is_done));
        tokio::spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                ingestor.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let ingestor = Arc::clone(&ingestor);
            tokio::spawn(async move { write(&ingestor, writer).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    is_done.store(true, Ordering::Relaxed);
    flusher.await.unwrap();
    assert!(reader.join().unwrap() > 0);
    let status = ingestor.status();
    check(&status);
    let batches = (WRITERS * BATCHES) as u64;
    let books = status.books;
    assert_eq!((books.accepted, books.rejected, books.duplicate), (batches, batches, 2 * batches));
}
