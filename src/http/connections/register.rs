//! Who is connected, who of them waits for whom, and who gives way: a book of connections, requests and unread
//! answers that is told the time. It closes nothing: it tells a connection's task to end.
//!
//! A connection is *waiting* while no request of it is open: since it came, or since its last answer. An answer is
//! *unread* from its head, and from each piece of its body, until the client makes room for the next one, and as long
//! as its socket takes no more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// An answer that was unread for so long may be cut to make room: whoever reads at all is faster.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(1);

/// What all clients together may hold, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections_max: usize,
    /// Open requests.
    pub requests_max: usize,
    /// Bytes of unread answers.
    pub answer_bytes_max: usize,
    /// From the connection to the whole head of its first request.
    pub head_timeout: Duration,
    /// From an answer to the whole head of the next request.
    pub idle_timeout: Duration,
    /// For a client to take a piece of an answer.
    pub answer_timeout: Duration,
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No request came.
    Head,
    /// No further request came.
    Idle,
    /// An answer was not taken.
    Unread,
    /// It waited the longest, or read the slowest, when there was no room for another connection.
    Connections,
    /// It read the slowest when there was no room for another request.
    Requests,
    /// It read a statement's result the slowest when others waited for their turn.
    Statements,
    /// It read the slowest when unread answers held too much.
    Memory,
    /// There was no room for it, and nobody to give way.
    Refused,
}

impl Closed {
    const ALL: [Closed; 8] = [
        Closed::Head,
        Closed::Idle,
        Closed::Unread,
        Closed::Connections,
        Closed::Requests,
        Closed::Statements,
        Closed::Memory,
        Closed::Refused,
    ];

    /// As metrics name it.
    fn name(self) -> &'static str {
        match self {
            Closed::Head => "head",
            Closed::Idle => "idle",
            Closed::Unread => "unread",
            Closed::Connections => "connections",
            Closed::Requests => "requests",
            Closed::Statements => "statements",
            Closed::Memory => "memory",
            Closed::Refused => "refused",
        }
    }
}

/// The book.
#[derive(Debug)]
pub struct Register {
    limits: Limits,
    state: Mutex<State>,
}

/// What is open now, and what was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub connections: usize,
    /// Those without an open request.
    pub waiting: usize,
    /// Open requests that were not refused.
    pub requests: usize,
    /// Bytes of unread answers.
    pub unread_bytes: usize,
    closed: [u64; Closed::ALL.len()],
}

impl Counts {
    /// Each reason and how many connections were closed for it.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Closed::ALL.iter().zip(self.closed).map(|(why, count)| (why.name(), count))
    }
}

/// What an answer holds until it is read.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Memory.
    pub bytes: usize,
    /// Whether a statement's turn.
    pub is_statement: bool,
}

/// A number that is given once, in the order of events.
pub type Number = u64;

/// Where a connection stands among those that wait: the first gives way first. Those that have not asked twice come
/// before those that have, or a flood of newcomers would drive everybody out who is at work between two requests;
/// among them, by the event since which they wait.
type Place = (bool, Number);

#[derive(Debug, Default)]
struct State {
    last: Number,
    /// Those that were told to end are not in it any more.
    connections: HashMap<Number, Open>,
    waiting: BTreeMap<Place, Waiting>,
    unread: BTreeMap<Number, Unread>,
    /// Requests that have room, and those whose refusal is on its way.
    requests: usize,
    refused: usize,
    unread_bytes: usize,
    closed: [u64; Closed::ALL.len()],
}

#[derive(Debug)]
struct Open {
    door: Arc<Notify>,
    /// Requests that are open, and all that there were.
    requests: usize,
    asked: u64,
    waits_at: Option<Place>,
}

#[derive(Debug)]
struct Waiting {
    connection: Number,
    until: Instant,
    otherwise: Closed,
}

#[derive(Debug)]
struct Unread {
    connection: Number,
    since: Instant,
    held: Held,
}

impl Register {
    /// Nobody is there yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// A connection came; the door is notified when it has to go. Where there is no room, the one that has waited
    /// the longest gives way, one that has asked at most once before the others. None if nobody does.
    pub fn arrive(&self, door: &Arc<Notify>, now: Instant) -> Option<Number> {
        let mut state = self.state();
        if state.connections.len() >= self.limits.connections_max {
            let longest = state.waiting.first_key_value().map(|(_, waiting)| waiting.connection);
            match longest.or_else(|| state.slowest(now, |_| true)) {
                Some(connection) => state.close(connection, Closed::Connections),
                None => {
                    state.closed[Closed::Refused as usize] += 1;
                    return None;
                }
            }
        }
        let connection = state.next();
        let open = Open { door: Arc::clone(door), requests: 0, asked: 0, waits_at: None };
        state.connections.insert(connection, open);
        state.wait(connection, now + self.limits.head_timeout, Closed::Head);
        Some(connection)
    }

    /// A connection ended.
    pub fn leave(&self, connection: Number) {
        self.state().forget(connection);
    }

    /// A request came. False if there is no room for it, and no slow reader gives way: it is to be refused. The second
    /// half of all requests is kept for connections that have no other one open: few with many streams that nobody
    /// reads could hold all, and take them again as soon as they are ended.
    pub fn begin(&self, connection: Number, now: Instant) -> bool {
        let mut state = self.state();
        let mut has_others = false;
        if let Some(open) = state.connections.get_mut(&connection) {
            has_others = open.requests > 0;
            open.requests += 1;
            open.asked += 1;
            if let Some(place) = open.waits_at.take() {
                state.waiting.remove(&place);
            }
        }
        let most = if has_others { self.limits.requests_max / 2 } else { self.limits.requests_max };
        let mut has_room = state.requests < most;
        if !has_room && let Some(slowest) = state.slowest(now, |_| true) {
            state.close(slowest, Closed::Requests);
            has_room = true;
        }
        if has_room {
            state.requests += 1;
        } else {
            state.refused += 1;
            // A refusal wants to be read as well: whoever leaves so many to be read does not read them.
            if state.refused > self.limits.requests_max {
                state.close(connection, Closed::Requests);
            }
        }
        has_room
    }

    /// A request ended, one that had room or was refused: its answer was handed over, or nobody wants it.
    pub fn end(&self, connection: Number, had_room: bool, now: Instant) {
        let mut state = self.state();
        *(if had_room { &mut state.requests } else { &mut state.refused }) -= 1;
        let Some(open) = state.connections.get_mut(&connection) else { return };
        open.requests -= 1;
        if open.requests == 0 {
            state.wait(connection, now + self.limits.idle_timeout, Closed::Idle);
        }
    }

    /// Somebody waits for a statement's turn and there is none: the slowest reader of a result gives way.
    pub fn want_statement(&self, now: Instant) {
        let mut state = self.state();
        if let Some(slowest) = state.slowest(now, |held| held.is_statement) {
            state.close(slowest, Closed::Statements);
        }
    }

    /// A piece of an answer waits for its reader; `before` is the piece before it. Where unread answers hold too much,
    /// those that wait the longest give way to this one.
    pub fn unread(&self, connection: Number, before: Option<Number>, held: Held, now: Instant) -> Option<Number> {
        let mut state = self.state();
        state.read(before);
        if !state.connections.contains_key(&connection) {
            return None;
        }
        let piece = state.next();
        state.unread.insert(piece, Unread { connection, since: now, held });
        state.unread_bytes += held.bytes;
        // One that is larger than all may hold is let through alone.
        while state.unread_bytes > self.limits.answer_bytes_max && state.unread.len() > 1 {
            let Some(connection) = state.unread.first_key_value().map(|(_, unread)| unread.connection) else { break };
            state.close(connection, Closed::Memory);
        }
        Some(piece)
    }

    /// The reader has it.
    pub fn read(&self, piece: Option<Number>) {
        self.state().read(piece);
    }

    /// Closes what is overdue.
    pub fn close_overdue(&self, now: Instant) {
        let mut state = self.state();
        let waiting = state.waiting.values().filter(|waiting| waiting.until <= now);
        let mut overdue: Vec<_> = waiting.map(|waiting| (waiting.connection, waiting.otherwise)).collect();
        let unread = state.unread.values().take_while(|unread| unread.since + self.limits.answer_timeout <= now);
        overdue.extend(unread.map(|unread| (unread.connection, Closed::Unread)));
        for (connection, why) in overdue {
            state.close(connection, why);
        }
    }

    /// Closes all that have no open request, at a stop.
    pub fn close_waiting(&self) {
        let mut state = self.state();
        for waiting in std::mem::take(&mut state.waiting).into_values() {
            if let Some(open) = state.connections.remove(&waiting.connection) {
                open.door.notify_one();
            }
        }
    }

    /// What is open now, and what was closed.
    pub fn counts(&self) -> Counts {
        let state = self.state();
        Counts {
            connections: state.connections.len(),
            waiting: state.waiting.len(),
            requests: state.requests,
            unread_bytes: state.unread_bytes,
            closed: state.closed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Number {
        self.last += 1;
        self.last
    }

    fn wait(&mut self, connection: Number, until: Instant, otherwise: Closed) {
        let since = self.next();
        if let Some(open) = self.connections.get_mut(&connection) {
            let place = (open.asked > 1, since);
            open.waits_at = Some(place);
            self.waiting.insert(place, Waiting { connection, until, otherwise });
        }
    }

    fn read(&mut self, piece: Option<Number>) {
        if let Some(unread) = piece.and_then(|piece| self.unread.remove(&piece)) {
            self.unread_bytes -= unread.held.bytes;
        }
    }

    /// The connection whose reader is the slowest of those that hold such a thing, if it is slow.
    fn slowest(&self, now: Instant, holds: impl Fn(&Held) -> bool) -> Option<Number> {
        let slow = self.unread.values().take_while(|unread| now - unread.since >= GIVES_WAY_AFTER);
        slow.filter(|unread| holds(&unread.held)).map(|unread| unread.connection).next()
    }

    /// Tells a connection to end. From here on it does not count: what it holds is as good as free.
    fn close(&mut self, connection: Number, why: Closed) {
        if let Some(door) = self.forget(connection) {
            door.notify_one();
            self.closed[why as usize] += 1;
        }
    }

    fn forget(&mut self, connection: Number) -> Option<Arc<Notify>> {
        let open = self.connections.remove(&connection)?;
        if let Some(place) = open.waits_at {
            self.waiting.remove(&place);
        }
        let of_it = self.unread.extract_if(.., |_, unread| unread.connection == connection);
        self.unread_bytes -= of_it.map(|(_, unread)| unread.held.bytes).sum::<usize>();
        Some(open.door)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Three connections, two requests, a hundred bytes.
    fn register() -> (Register, Instant) {
        let limits = Limits {
            connections_max: 3,
            requests_max: 2,
            answer_bytes_max: 100,
            head_timeout: s(10),
            idle_timeout: s(20),
            answer_timeout: s(30),
        };
        (Register::new(limits), Instant::now())
    }

    fn arrive(register: &Register, now: Instant) -> Number {
        register.arrive(&Arc::default(), now).unwrap()
    }

    fn held(bytes: usize) -> Held {
        Held { bytes, is_statement: false }
    }

    fn check(register: &Register, connections: usize, waiting: usize, closed: &[(&str, u64)]) {
        let counts = register.counts();
        assert_eq!((counts.connections, counts.waiting), (connections, waiting));
        let found: Vec<_> = counts.closed().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, closed);
    }

    #[test]
    fn who_waited_the_longest_gives_way() {
        let (register, now) = register();
        let doors: Vec<Arc<Notify>> = (0..3).map(|_| Arc::default()).collect();
        let numbers: Vec<_> = doors.iter().map(|door| register.arrive(door, now).unwrap()).collect();
        // The first asks and waits again: the second has waited the longest.
        register.begin(numbers[0], now);
        register.end(numbers[0], true, now);
        arrive(&register, now);
        check(&register, 3, 3, &[("connections", 1)]);
        register.begin(numbers[2], now);
        arrive(&register, now);
        check(&register, 3, 2, &[("connections", 2)]);
        // Those that were told to go leave, and what is open stays as it is.
        register.leave(numbers[0]);
        register.leave(numbers[1]);
        check(&register, 3, 2, &[("connections", 2)]);
        register.leave(numbers[2]);
        check(&register, 2, 2, &[("connections", 2)]);
    }

    #[test]
    fn newcomers_give_way_before_those_that_asked_twice() {
        let (register, now) = register();
        let regular = arrive(&register, now);
        for _ in 0..2 {
            register.begin(regular, now);
            register.end(regular, true, now);
        }
        for _ in 0..100 {
            let newcomer = arrive(&register, now);
            register.begin(newcomer, now);
            register.end(newcomer, true, now);
        }
        check(&register, 3, 3, &[("connections", 98)]);
        // It is still there, and leaves as it likes.
        register.leave(regular);
        check(&register, 2, 2, &[("connections", 98)]);
    }

    #[test]
    fn nobody_gives_way_but_slow_readers_while_all_are_at_work() {
        let (register, now) = register();
        let numbers = [arrive(&register, now), arrive(&register, now), arrive(&register, now)];
        for number in numbers {
            register.begin(number, now);
        }
        assert!(register.arrive(&Arc::default(), now).is_none());
        check(&register, 3, 0, &[("refused", 1)]);
        register.unread(numbers[1], None, held(10), now);
        assert!(register.arrive(&Arc::default(), now).is_none());
        arrive(&register, now + s(1));
        check(&register, 3, 1, &[("connections", 1), ("refused", 2)]);
        assert_eq!(register.counts().unread_bytes, 0);
    }

    #[test]
    fn a_request_too_many_needs_a_slow_reader_that_gives_way() {
        let (register, now) = register();
        let (one, two, other) = (arrive(&register, now), arrive(&register, now), arrive(&register, now));
        assert!(register.begin(one, now) && register.begin(other, now));
        assert!(!register.begin(two, now));
        register.end(two, false, now);
        register.unread(one, None, held(10), now);
        assert!(!register.begin(two, now));
        register.end(two, false, now);
        assert!(register.begin(two, now + s(1)));
        check(&register, 2, 0, &[("requests", 1)]);
        // The requests of one that was told to go count until they end.
        assert_eq!(register.counts().requests, 3);
        register.end(one, true, now);
        register.end(other, true, now);
        register.end(two, true, now);
        assert_eq!(register.counts().requests, 0);
        check(&register, 2, 2, &[("requests", 1)]);
    }

    #[test]
    fn the_second_half_of_requests_is_for_connections_without_another() {
        let limits = Limits { requests_max: 4, ..register().0.limits };
        let (register, now) = (Register::new(limits), Instant::now());
        let (many, one, two) = (arrive(&register, now), arrive(&register, now), arrive(&register, now));
        // Refusals that nobody reads take no room from others.
        for begins in [true, true, false, false] {
            assert_eq!(register.begin(many, now), begins);
        }
        assert!(register.begin(one, now) && !register.begin(one, now));
        assert!(register.begin(two, now));
        assert_eq!(register.counts().requests, 4);
        // They are as many as requests; whoever asks then is ended.
        assert!(!register.begin(two, now));
        check(&register, 3, 0, &[]);
        assert!(!register.begin(many, now));
        check(&register, 2, 0, &[("requests", 1)]);
        // Such a request ends the slowest reader like every other one that has no room.
        register.unread(one, None, held(10), now);
        assert!(register.begin(two, now + s(1)));
        check(&register, 1, 0, &[("requests", 2)]);
    }

    #[test]
    fn unread_answers_hold_no_more_than_they_may() {
        let (register, now) = register();
        let numbers = [arrive(&register, now), arrive(&register, now), arrive(&register, now)];
        let first = register.unread(numbers[0], None, held(60), now);
        register.unread(numbers[1], None, held(40), now);
        // The first read a piece since: the second is the slower one.
        register.unread(numbers[0], first, held(60), now);
        assert_eq!(register.counts().unread_bytes, 100);
        let third = register.unread(numbers[2], None, held(40), now);
        check(&register, 2, 2, &[("memory", 1)]);
        assert_eq!(register.counts().unread_bytes, 100);
        // One of those that were told to go takes nothing any more.
        assert_eq!(register.unread(numbers[1], None, held(40), now), None);
        let larger = register.unread(numbers[2], third, held(1_000), now);
        check(&register, 1, 1, &[("memory", 2)]);
        assert_eq!(register.counts().unread_bytes, 1_000);
        register.read(larger);
        assert_eq!(register.counts().unread_bytes, 0);
    }

    #[test]
    fn a_statement_takes_the_turn_of_a_slow_reader_of_another() {
        let (register, now) = register();
        let numbers = [arrive(&register, now), arrive(&register, now), arrive(&register, now)];
        register.unread(numbers[0], None, held(10), now);
        register.unread(numbers[1], None, Held { bytes: 10, is_statement: true }, now);
        register.unread(numbers[2], None, Held { bytes: 10, is_statement: true }, now + s(1));
        register.want_statement(now);
        check(&register, 3, 3, &[]);
        for _ in 0..2 {
            register.want_statement(now + s(1));
            check(&register, 2, 2, &[("statements", 1)]);
        }
    }

    #[test]
    fn all_have_their_time() {
        let (register, now) = register();
        let numbers = [arrive(&register, now), arrive(&register, now), arrive(&register, now)];
        register.begin(numbers[0], now);
        register.end(numbers[0], true, now + s(1));
        register.begin(numbers[1], now);
        register.unread(numbers[1], None, held(0), now);
        for (second, connections, closed) in [
            (9, 3, &[][..]),
            (10, 2, &[("head", 1)]),
            (20, 2, &[("head", 1)]),
            (21, 1, &[("head", 1), ("idle", 1)]),
            (29, 1, &[("head", 1), ("idle", 1)]),
            (30, 0, &[("head", 1), ("idle", 1), ("unread", 1)]),
        ] {
            register.close_overdue(now + s(second));
            check(&register, connections, usize::from(second < 10) + usize::from(second < 21), closed);
        }
    }
}
