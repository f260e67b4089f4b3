//! Turns of statements: so many run at the same time, and the others wait in line. However much a tenant asks, others
//! have their share: no scope of tenants takes all turns, and the next one is of the scope that has the fewest. Within
//! a scope it is of the asker who has the fewest, and among those of who came first. While somebody waits and there is
//! none, statements that nobody reads end.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::readers::Readers;
use crate::access::Scope;

/// How often somebody who waits looks for a statement that nobody reads.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// Who asks, among those who see the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// Whoever has the key of this id.
    Key(String),
    /// Somebody without a key, by the number of an HTTP connection.
    Http(u64),
    /// Somebody without a key, by the process id that a client of Postgres was told.
    Postgres(i32),
}

tokio::task_local! {
    static ASKER: Asker;
}

/// Says for whom this work takes its turns. What nobody asks for are the daemon's own statements.
pub async fn asked_by<T>(asker: Asker, work: impl Future<Output = T>) -> T {
    ASKER.scope(asker, work).await
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    scope: Scope,
    asker: Option<Asker>,
}

impl Place {
    /// That of the present task's statements.
    pub fn of(scope: &Scope) -> Self {
        Self { scope: scope.clone(), asker: ASKER.try_with(Asker::clone).ok() }
    }
}

/// All turns.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
    readers: Arc<Readers>,
}

/// The right to run a statement, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    place: Place,
}

#[derive(Debug)]
struct State {
    most: usize,
    /// Most that a scope of tenants has at the same time.
    bound_max: usize,
    running: Vec<Place>,
    waiting: VecDeque<(Place, oneshot::Sender<Turn>)>,
}

impl Turns {
    /// So many, at least one; of them a scope of tenants has three quarters at most.
    pub fn new(most: usize) -> Self {
        let (most, bound_max) = (most.max(1), (most - most / 4).max(1));
        let state = State { most, bound_max, running: Vec::new(), waiting: VecDeque::new() };
        Self { state: Mutex::new(state), readers: Arc::default() }
    }

    /// Whether all are taken.
    pub fn are_taken(&self) -> bool {
        self.state().free() == 0
    }

    /// Whether all are taken and somebody waits for one.
    pub fn are_wanted(&self) -> bool {
        let mut state = self.state();
        state.forget_the_gone();
        state.free() == 0 && !state.waiting.is_empty()
    }

    /// A turn for a statement of the place; none where none came in time.
    pub async fn take(self: &Arc<Self>, place: Place, wait: Duration) -> Option<Turn> {
        let mut coming = {
            let mut state = self.state();
            if state.may_have_one(&place.scope) {
                return Some(state.give(self, place));
            }
            let (give, coming) = oneshot::channel();
            state.forget_the_gone();
            state.waiting.push_back((place, give));
            coming
        };
        let until = Instant::now() + wait;
        loop {
            if self.are_taken() {
                self.readers.end_slowest(Instant::now());
            }
            let looks_at = until.min(Instant::now() + LOOKS_EVERY);
            match timeout_at(looks_at, &mut coming).await {
                Ok(turn) => return turn.ok(),
                Err(_) if looks_at == until => return None,
                Err(_) => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn ended: the next one of those who wait has it.
    fn end(self: &Arc<Self>, place: &Place) {
        let next = {
            let mut state = self.state();
            state.end(place);
            state.next().map(|(place, give)| (give, state.give(self, place)))
        };
        if let Some((give, turn)) = next {
            // Whoever left just now drops it, which gives it on.
            let _ = give.send(turn);
        }
    }
}

impl State {
    fn free(&self) -> usize {
        self.most - self.running.len()
    }

    fn give(&mut self, turns: &Arc<Turns>, place: Place) -> Turn {
        self.running.push(place.clone());
        Turn { turns: Arc::clone(turns), place }
    }

    fn end(&mut self, place: &Place) {
        if let Some(at) = self.running.iter().position(|running| running == place) {
            self.running.swap_remove(at);
        }
    }

    fn forget_the_gone(&mut self) {
        self.waiting.retain(|(_, give)| !give.is_closed());
    }

    /// Who of those that wait is next.
    fn next(&mut self) -> Option<(Place, oneshot::Sender<Turn>)> {
        self.forget_the_gone();
        let may = (0..self.waiting.len()).filter(|at| self.may_have_one(&self.waiting[*at].0.scope));
        let next = may.min_by_key(|at| {
            let place = &self.waiting[*at].0;
            (self.running_of(&place.scope), self.running.iter().filter(|running| *running == place).count())
        })?;
        self.waiting.remove(next)
    }

    fn may_have_one(&self, scope: &Scope) -> bool {
        self.free() > 0 && (scope.tenants().is_none() || self.running_of(scope) < self.bound_max)
    }

    fn running_of(&self, scope: &Scope) -> usize {
        self.running.iter().filter(|running| running.scope == *scope).count()
    }
}

impl Turn {
    /// Where those who do not read the statement's rows are known.
    pub fn readers(&self) -> &Arc<Readers> {
        &self.turns.readers
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(&self.place);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(600);

    fn tenant(name: &str) -> Place {
        Place { scope: Scope::of([name.to_owned()]), asker: None }
    }

    fn everybody() -> Place {
        Place { scope: Scope::Everybody, asker: None }
    }

    fn connection(number: u64) -> Place {
        Place { scope: Scope::Everybody, asker: Some(Asker::Http(number)) }
    }

    impl Turns {
        /// Free turns, and those that run.
        fn counts(&self) -> (usize, usize) {
            let state = self.state();
            (state.free(), state.running.len())
        }
    }

    /// Lets a task come to where it waits.
    async fn line_up(turns: &Arc<Turns>, place: &Place) -> tokio::task::JoinHandle<Option<Turn>> {
        let in_line = || turns.state().waiting.iter().filter(|(_, give)| !give.is_closed()).count();
        let before = in_line();
        let waits = tokio::spawn({
            let (turns, place) = (Arc::clone(turns), place.clone());
            async move { turns.take(place, LONG).await }
        });
        while in_line() == before {
            tokio::task::yield_now().await;
        }
        waits
    }

    #[tokio::test]
    async fn there_are_so_many() {
        let turns = Arc::new(Turns::new(2));
        let one = turns.take(everybody(), NEVER).await.unwrap();
        assert!(!turns.are_taken());
        let two = turns.take(everybody(), NEVER).await.unwrap();
        assert!(turns.are_taken() && turns.take(everybody(), NEVER).await.is_none());
        drop(one);
        assert!(!turns.are_taken());
        drop(two);
        // Who gave up is not in line any more, and holds nothing.
        assert_eq!(turns.counts(), (2, 0));
    }

    #[tokio::test]
    async fn the_next_is_of_who_has_the_fewest() {
        let (busy, calm) = (everybody(), tenant("calm"));
        let turns = Arc::new(Turns::new(2));
        let (one, two) =
            (turns.take(busy.clone(), NEVER).await.unwrap(), turns.take(busy.clone(), NEVER).await.unwrap());
        let waits = [line_up(&turns, &busy).await, line_up(&turns, &busy).await];
        let calm_waits = line_up(&turns, &calm).await;
        assert!(turns.are_wanted());
        drop(one);
        let calms = calm_waits.await.unwrap().unwrap();
        assert!(waits.iter().all(|waits| !waits.is_finished()));
        // Nobody else waits: the busy one has what is left, in its order.
        let [first, second] = waits;
        drop(two);
        let first = first.await.unwrap().unwrap();
        assert!(!second.is_finished());
        assert!(turns.are_wanted());
        drop((calms, first));
        assert!(!turns.are_wanted());
        drop(second.await.unwrap().unwrap());
        assert_eq!(turns.counts(), (2, 0));
    }

    #[tokio::test]
    async fn within_a_scope_the_next_is_of_the_asker_who_has_the_fewest() {
        let (busy, calm) = (connection(1), connection(2));
        let turns = Arc::new(Turns::new(2));
        let (one, two) =
            (turns.take(busy.clone(), NEVER).await.unwrap(), turns.take(busy.clone(), NEVER).await.unwrap());
        let busy_waits = line_up(&turns, &busy).await;
        let calm_waits = line_up(&turns, &calm).await;
        drop(one);
        drop(calm_waits.await.unwrap().unwrap());
        drop((busy_waits.await.unwrap().unwrap(), two));
        assert_eq!(turns.counts(), (2, 0));
    }

    #[tokio::test]
    async fn a_place_knows_who_asks() {
        let asked = asked_by(Asker::Http(1), async { Place::of(&Scope::Everybody) }).await;
        assert_eq!((asked, Place::of(&Scope::Everybody)), (connection(1), everybody()));
    }

    #[tokio::test]
    async fn no_tenant_has_them_all() {
        let (busy, calm) = (tenant("busy"), tenant("calm"));
        let turns = Arc::new(Turns::new(8));
        let mut of_busy = Vec::new();
        while let Some(turn) = turns.take(busy.clone(), NEVER).await {
            of_busy.push(turn);
        }
        assert_eq!((of_busy.len(), turns.are_taken()), (6, false));
        let busy_waits = line_up(&turns, &busy).await;
        drop(turns.take(calm.clone(), NEVER).await.unwrap());
        assert!(!busy_waits.is_finished());
        of_busy.pop();
        of_busy.push(busy_waits.await.unwrap().unwrap());
        // Who sees all rows is no tenant.
        let rest = [turns.take(everybody(), NEVER).await, turns.take(everybody(), NEVER).await];
        assert!(rest.iter().all(Option::is_some) && turns.are_taken());
        assert_eq!(Turns::new(1).state().bound_max, 1);
    }

    #[tokio::test]
    async fn who_leaves_keeps_nobody_waiting() {
        let turns = Arc::new(Turns::new(1));
        let one = turns.take(everybody(), NEVER).await.unwrap();
        let leaves = line_up(&turns, &everybody()).await;
        let stays = line_up(&turns, &everybody()).await;
        leaves.abort();
        assert!(leaves.await.is_err());
        drop(one);
        drop(stays.await.unwrap().unwrap());
        assert_eq!(turns.counts(), (1, 0));
    }
}
