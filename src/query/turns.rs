//! Turns of statements: so many run at the same time, and the others wait in line. However much a tenant asks, others
//! have their share: no scope of tenants takes all turns, and the next one is of the scope that has the fewest. Within
//! a scope, who came first is first. While somebody waits and there is none, statements that nobody reads end.

use std::{
    collections::{HashMap, VecDeque},
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
    scope: Scope,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Most that a scope of tenants has at the same time.
    bound_max: usize,
    running: HashMap<Scope, usize>,
    waiting: VecDeque<(Scope, oneshot::Sender<Turn>)>,
}

impl Turns {
    /// So many, at least one; of them a scope of tenants has three quarters at most.
    pub fn new(most: usize) -> Self {
        let (free, bound_max) = (most.max(1), (most - most / 4).max(1));
        let state = State { free, bound_max, running: HashMap::new(), waiting: VecDeque::new() };
        Self { state: Mutex::new(state), readers: Arc::default() }
    }

    /// Whether all are taken.
    pub fn are_taken(&self) -> bool {
        self.state().free == 0
    }

    /// A turn for a statement of the scope; none where none came in time.
    pub async fn take(self: &Arc<Self>, scope: &Scope, wait: Duration) -> Option<Turn> {
        let mut coming = {
            let mut state = self.state();
            if state.may_have_one(scope) {
                return Some(state.give(self, scope));
            }
            let (give, coming) = oneshot::channel();
            state.forget_the_gone();
            state.waiting.push_back((scope.clone(), give));
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
    fn end(self: &Arc<Self>, scope: &Scope) {
        let next = {
            let mut state = self.state();
            state.end(scope);
            state.next().map(|(scope, give)| (give, state.give(self, &scope)))
        };
        if let Some((give, turn)) = next {
            // Whoever left just now drops it, which gives it on.
            let _ = give.send(turn);
        }
    }
}

impl State {
    fn give(&mut self, turns: &Arc<Turns>, scope: &Scope) -> Turn {
        self.free -= 1;
        *self.running.entry(scope.clone()).or_default() += 1;
        Turn { turns: Arc::clone(turns), scope: scope.clone() }
    }

    fn end(&mut self, scope: &Scope) {
        self.free += 1;
        if let Some(running) = self.running.get_mut(scope) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(scope);
            }
        }
    }

    fn forget_the_gone(&mut self) {
        self.waiting.retain(|(_, give)| !give.is_closed());
    }

    /// Who of those that wait is next.
    fn next(&mut self) -> Option<(Scope, oneshot::Sender<Turn>)> {
        self.forget_the_gone();
        let may = (0..self.waiting.len()).filter(|at| self.may_have_one(&self.waiting[*at].0));
        let next = may.min_by_key(|at| self.running_of(&self.waiting[*at].0))?;
        self.waiting.remove(next)
    }

    fn may_have_one(&self, scope: &Scope) -> bool {
        self.free > 0 && (scope.tenants().is_none() || self.running_of(scope) < self.bound_max)
    }

    fn running_of(&self, scope: &Scope) -> usize {
        self.running.get(scope).copied().unwrap_or_default()
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
        self.turns.end(&self.scope);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(600);

    fn tenant(name: &str) -> Scope {
        Scope::of([name.to_owned()])
    }

    impl Turns {
        /// Free turns, and scopes that have some.
        fn counts(&self) -> (usize, usize) {
            let state = self.state();
            (state.free, state.running.len())
        }
    }

    /// Lets a task come to where it waits.
    async fn line_up(turns: &Arc<Turns>, scope: &Scope) -> tokio::task::JoinHandle<Option<Turn>> {
        let in_line = || turns.state().waiting.iter().filter(|(_, give)| !give.is_closed()).count();
        let before = in_line();
        let waits = tokio::spawn({
            let (turns, scope) = (Arc::clone(turns), scope.clone());
            async move { turns.take(&scope, LONG).await }
        });
        while in_line() == before {
            tokio::task::yield_now().await;
        }
        waits
    }

    #[tokio::test]
    async fn there_are_so_many() {
        let turns = Arc::new(Turns::new(2));
        let one = turns.take(&Scope::Everybody, NEVER).await.unwrap();
        assert!(!turns.are_taken());
        let two = turns.take(&Scope::Everybody, NEVER).await.unwrap();
        assert!(turns.are_taken() && turns.take(&Scope::Everybody, NEVER).await.is_none());
        drop(one);
        assert!(!turns.are_taken());
        drop(two);
        // Who gave up is not in line any more, and holds nothing.
        assert_eq!(turns.counts(), (2, 0));
    }

    #[tokio::test]
    async fn the_next_is_of_who_has_the_fewest() {
        let (busy, calm) = (Scope::Everybody, tenant("calm"));
        let turns = Arc::new(Turns::new(2));
        let (one, two) = (turns.take(&busy, NEVER).await.unwrap(), turns.take(&busy, NEVER).await.unwrap());
        let waits = [line_up(&turns, &busy).await, line_up(&turns, &busy).await];
        let calm_waits = line_up(&turns, &calm).await;
        drop(one);
        let calms = calm_waits.await.unwrap().unwrap();
        assert!(waits.iter().all(|waits| !waits.is_finished()));
        // Nobody else waits: the busy one has what is left, in its order.
        let [first, second] = waits;
        drop(two);
        let first = first.await.unwrap().unwrap();
        assert!(!second.is_finished());
        drop((calms, first));
        drop(second.await.unwrap().unwrap());
        assert_eq!(turns.counts(), (2, 0));
    }

    #[tokio::test]
    async fn no_tenant_has_them_all() {
        let (busy, calm) = (tenant("busy"), tenant("calm"));
        let turns = Arc::new(Turns::new(8));
        let mut of_busy = Vec::new();
        while let Some(turn) = turns.take(&busy, NEVER).await {
            of_busy.push(turn);
        }
        assert_eq!((of_busy.len(), turns.are_taken()), (6, false));
        let busy_waits = line_up(&turns, &busy).await;
        drop(turns.take(&calm, NEVER).await.unwrap());
        assert!(!busy_waits.is_finished());
        of_busy.pop();
        of_busy.push(busy_waits.await.unwrap().unwrap());
        // Who sees all rows is no tenant.
        let rest = [turns.take(&Scope::Everybody, NEVER).await, turns.take(&Scope::Everybody, NEVER).await];
        assert!(rest.iter().all(Option::is_some) && turns.are_taken());
        assert_eq!(Turns::new(1).state().bound_max, 1);
    }

    #[tokio::test]
    async fn who_leaves_keeps_nobody_waiting() {
        let turns = Arc::new(Turns::new(1));
        let one = turns.take(&Scope::Everybody, NEVER).await.unwrap();
        let leaves = line_up(&turns, &Scope::Everybody).await;
        let stays = line_up(&turns, &Scope::Everybody).await;
        leaves.abort();
        assert!(leaves.await.is_err());
        drop(one);
        drop(stays.await.unwrap().unwrap());
        assert_eq!(turns.counts(), (1, 0));
    }
}
