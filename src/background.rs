//! Loops that run beside requests. One that panics is said to have, and started again: all they work on is
//! written so that a failed step can be tried again, and what is acknowledged lies in the log meanwhile.
//! Never knows what a loop does.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

/// A loop that panicked rests so long before it starts again.
const PAUSE: Duration = Duration::from_secs(1);
/// A loop that has run so long since its last panic is taken to be well.
const CALM: Duration = Duration::from_secs(60);

/// The loops and what became of them. Its copies share what they know.
#[derive(Debug, Clone)]
pub struct Background {
    pause: Duration,
    calm: Duration,
    jobs: Arc<Mutex<BTreeMap<&'static str, Job>>>,
}

/// What became of a loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Panics since the start.
    pub panics: u64,
    /// Whether it panicked of late: not any more once the loop has run for a minute since.
    pub broken: bool,
}

impl Default for Background {
    fn default() -> Self {
        Self::new(PAUSE, CALM)
    }
}

impl Background {
    /// No loops yet; with the pause before a new start, and the time after which a loop is well again.
    pub fn new(pause: Duration, calm: Duration) -> Self {
        Self { pause, calm, jobs: Arc::default() }
    }

    /// [`Background::run`] as a task of its own.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        start: impl Fn() -> F + Send + Sync + 'static,
    ) -> JoinHandle<()> {
        let background = self.clone();
        tokio::spawn(async move { background.run(name, start).await })
    }

    /// Runs a loop until it ends. Each time it panics it is started again.
    pub async fn run<F: Future<Output = ()> + Send + 'static>(&self, name: &'static str, start: impl Fn() -> F) {
        self.jobs().entry(name).or_default();
        loop {
            let mut running = tokio::spawn(start());
            let ended = match tokio::time::timeout(self.calm, &mut running).await {
                Ok(ended) => ended,
                Err(_) => {
                    self.jobs().entry(name).or_default().broken = false;
                    running.await
                }
            };
            // Nobody cancels it: an error is a panic.
            let Err(error) = ended else { return };
            let said = error.try_into_panic().map_or_else(|_| "it was cancelled".to_owned(), said);
            tracing::error!(job = name, said, "a background job panicked: a bug; it is started again");
            {
                let mut jobs = self.jobs();
                let job = jobs.entry(name).or_default();
                job.panics += 1;
                job.broken = true;
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Each loop, by name.
    pub fn all(&self) -> BTreeMap<&'static str, Job> {
        self.jobs().clone()
    }

    /// A loop that panicked of late.
    pub fn broken(&self) -> Option<&'static str> {
        self.jobs().iter().find_map(|(name, job)| job.broken.then_some(*name))
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<&'static str, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of a panic.
#[allow(clippy::needless_pass_by_value)] // the shape in which it comes
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it said nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Runs a job that panics so often and then ends: once it is taken to be well, where that comes at once.
    async fn check(panics: u64, calm: Duration, expected: Job) {
        let background = Background::new(Duration::ZERO, calm);
        let starts = Arc::new(AtomicU64::new(0));
        let job = || {
            let (start, background) = (starts.fetch_add(1, Ordering::SeqCst), background.clone());
            async move {
                assert!(start >= panics, "panic {start}");
                while calm.is_zero() && background.broken().is_some() {
                    tokio::task::yield_now().await;
                }
            }
        };
        background.run("job", job).await;
        assert_eq!(starts.load(Ordering::SeqCst), panics + 1);
        assert_eq!(background.all(), BTreeMap::from([("job", expected.clone())]));
        assert_eq!(background.broken(), expected.broken.then_some("job"));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_counted_shown_and_started_again() {
        let hour = Duration::from_secs(3_600);
        check(0, hour, Job::default()).await;
        check(1, hour, Job { panics: 1, broken: true }).await;
        check(3, hour, Job { panics: 3, broken: true }).await;
        check(3, Duration::ZERO, Job { panics: 3, broken: false }).await;
    }
}
