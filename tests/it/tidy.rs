//! Holds the rules of `ARCHITECTURE.md` that a compiler does not: which room may import which, which
//! crate is named where, and the habits of the sources. Reads text only; never compiles or runs
//! what it reads. A rule that has an exception names it, with its reason, in the rule's own table.

mod source;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use source::{Source, identifier, is_word, names_below, occurrences, sources, uses};

/// A room imports rooms of a strictly lower rank; siblings never meet.
const RANKS: &[(&str, u8)] = &[
    ("access", 0),
    ("error", 0),
    ("background", 0),
    ("clock", 0),
    ("disk", 0),
    ("finding", 0),
    ("memory", 0),
    ("record", 0),
    ("config", 1),
    ("decode", 1),
    ("detect", 1),
    ("lifecycle", 1),
    ("metrics", 1),
    ("named", 1),
    ("report", 1),
    ("sample", 1),
    ("sketch", 1),
    ("stats", 1),
    ("tls", 1),
    ("anomaly", 2),
    ("backtest", 2),
    ("drift", 2),
    ("experiment", 2),
    ("forecast", 2),
    ("kpi", 2),
    ("slo", 2),
    ("wal", 2),
    ("buffer", 2),
    ("lake", 2),
    ("catalog", 2),
    ("gate", 3),
    ("ingest", 3),
    ("maintain", 3),
    ("query", 3),
    ("verify", 3),
    ("backup", 4),
    ("forget", 4),
    ("grafana", 4),
    ("jaeger", 4),
    ("http", 5),
    ("postgres", 5),
    ("jobs", 5),
    ("daemon", 6),
    ("cli", 7),
];

/// Files that only join rooms and so have no rank.
const COMPOSITION: &[&str] = &["src/lib.rs", "src/main.rs"];

/// What may be named only in some places.
struct Confined {
    /// A path as code writes it: a crate, a module or a function.
    path: &'static str,
    /// Rooms, or single files that end in `.rs`.
    places: &'static [&'static str],
    /// Why here, and why in each place that a reader would not expect.
    reason: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined { path: "axum", places: &["http"], reason: "HTTP is a translation at the edge" },
    Confined { path: "hyper", places: &["http"], reason: "HTTP is a translation at the edge" },
    Confined { path: "hyper_util", places: &["http"], reason: "HTTP is a translation at the edge" },
    Confined { path: "rlimit", places: &["daemon"], reason: "what the process may take is settled at its start" },
    Confined { path: "tower_http", places: &["http"], reason: "HTTP is a translation at the edge" },
    Confined { path: "utoipa_axum", places: &["http"], reason: "the description of routes stands at the edge" },
    Confined { path: "utoipa_swagger_ui", places: &["http"], reason: "its page is a route" },
    Confined { path: "tokio_rustls", places: &["tls", "http", "postgres"], reason: "TLS is a translation at the edge" },
    Confined { path: "pgwire", places: &["postgres"], reason: "the Postgres wire is a translation at the edge" },
    Confined { path: "arrow_pg", places: &["postgres"], reason: "the Postgres wire is a translation at the edge" },
    Confined { path: "getrandom", places: &["gate"], reason: "secrets are made in one place" },
    Confined { path: "sqlx", places: &["catalog"], reason: "one room knows the state database" },
    Confined { path: "deltalake_core", places: &["lake"], reason: "one room knows the Delta log" },
    Confined {
        path: "object_store",
        places: &["lake", "query"],
        reason: "the lake stores files; the query room names them to the engine",
    },
    Confined {
        path: "parquet",
        places: &["lake", "query"],
        reason: "the lake writes data files; the query room writes results as Parquet",
    },
    Confined {
        path: "datafusion",
        places: &["query", "lake"],
        reason: "the lake hands over file statistics in the engine's own type",
    },
    Confined { path: "datafusion_pg_catalog", places: &["query"], reason: "catalogs are tables of the engine" },
    Confined { path: "datafusion_functions_json", places: &["query"], reason: "functions belong to the engine" },
    Confined { path: "sonic_rs", places: &["decode"], reason: "only decoding reads records' JSON" },
    Confined { path: "datasketches", places: &["sketch"], reason: "sketches are pure and in one room" },
    Confined { path: "sketches_ddsketch", places: &["sketch"], reason: "sketches are pure and in one room" },
    Confined { path: "augurs_core", places: &["forecast"], reason: "models are pure and in one room" },
    Confined { path: "augurs_ets", places: &["forecast"], reason: "models are pure and in one room" },
    Confined { path: "augurs_mstl", places: &["forecast"], reason: "models are pure and in one room" },
    Confined { path: "statrs", places: &["stats"], reason: "statistics are pure and in one room" },
    Confined { path: "reqwest", places: &["cli"], reason: "only the command line is a client" },
    Confined { path: "indicatif", places: &["cli"], reason: "only the command line has a terminal" },
    Confined { path: "clap", places: &["cli", "src/main.rs"], reason: "main parses, the command line declares" },
    Confined { path: "std::env", places: &["config"], reason: "settings have one source" },
    Confined { path: "SystemTime::now", places: &["clock"], reason: "time is passed in" },
    Confined {
        path: "Instant::now",
        places: &[
            "clock",
            "cli",
            "src/query/running.rs",
            "src/query/turns.rs",
            "src/postgres/connection.rs",
            "src/postgres/answer.rs",
            "src/http/connections/mod.rs",
            "src/http/connections/answer.rs",
            "src/http/connections/socket.rs",
            "src/http/senders.rs",
            "src/lake/remote/mod.rs",
        ],
        reason: "time is passed in; the command line says how long a load took, and deadlines of statements, \
                 their turns, connections, bodies and reads over the network are tokio's own monotonic clock, which tests can pause",
    },
    Confined { path: "Utc::now", places: &["clock"], reason: "time is passed in" },
    Confined { path: "Local::now", places: &["clock"], reason: "time is passed in; there are no local times" },
];

/// Most lines of a file that are no tests.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

/// Calls that do not belong outside tests.
const UNFINISHED: &[&str] = &[".unwrap()", ".unwrap_err()"];
/// Calls that belong nowhere, tests included.
const LEFT_BEHIND: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Words that mark work as not done. In two parts, because this file is read as well.
const MARKERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// What is searched for [`MARKERS`], from the root of the repository.
const MARKED_ROOTS: &[&str] =
    &["src", "sql", "tests", "benches", "docs", "scripts", "templates", "migrations", "README.md", "ARCHITECTURE.md"];

#[test]
fn rooms_import_lower_ranks_only() {
    holds(&rank_problems(&sources()));
}

#[test]
fn every_room_has_a_rank() {
    let rooms: BTreeSet<String> = sources().iter().filter_map(Source::room).map(str::to_owned).collect();
    let mut problems = Vec::new();
    for room in &rooms {
        if rank(room).is_none() {
            problems.push(format!("src/{room}: has no rank; give it one in RANKS and in ARCHITECTURE.md"));
        }
    }
    for (room, _) in RANKS {
        if !rooms.contains(*room) {
            problems.push(format!("RANKS names the room {room}, which is not there"));
        }
    }
    holds(&problems);
}

#[test]
fn crates_and_clocks_stay_in_their_rooms() {
    holds(&confinement_problems(&sources()));
}

#[test]
fn every_file_says_what_it_is() {
    holds(&opening_problems(&sources()));
}

#[test]
fn nothing_panics_by_neglect() {
    holds(&neglect_problems(&sources()));
}

#[test]
fn files_stay_short() {
    holds(&length_problems(&sources()));
}

#[test]
fn every_module_has_a_noun() {
    holds(&name_problems(&sources()));
}

#[test]
fn every_sql_file_starts_with_its_question() {
    let mut problems = Vec::new();
    let files = files_under(&root().join("sql"), &["sql"]);
    assert!(!files.is_empty(), "no SQL files were found under sql/");
    for path in files {
        let text = read(&path);
        if !text.starts_with("-- question: ") {
            problems.push(format!("{}:1: does not start with `-- question: `", shown(&path)));
        }
    }
    holds(&problems);
}

#[test]
fn nothing_is_marked_as_unfinished() {
    let mut problems = Vec::new();
    for name in MARKED_ROOTS {
        let path = root().join(name);
        let files = if path.is_dir() { files_under(&path, &[]) } else { vec![path] };
        for path in files.into_iter().filter(|path| path.is_file()) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            marker_problems(&shown(&path), &text, &mut problems);
        }
    }
    holds(&problems);
}

/// A rule that cannot fail holds nothing.
#[test]
fn every_rule_can_fail() {
    let at = |path: &str, text: &str| vec![Source::new(path, text)];
    let check = |problems: Vec<String>, expected: &str| {
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "expected {expected}, got {problems:#?}");
    };
    let buffer = at("src/buffer.rs", "//! B.\nuse crate::{\n    error::Error,\n    query::{self, Engine},\n};\n");
    check(rank_problems(&buffer), "src/buffer.rs:4: buffer (rank 2) imports query (rank 3)");
    let wal = at("src/wal/frame.rs", "//! W.\nfn f() -> crate::catalog::Stored {}\n");
    check(rank_problems(&wal), "src/wal/frame.rs:2: wal (rank 2) imports catalog (rank 2)");
    check(rank_problems(&at("src/wal/mod.rs", "use super::lake;\n")), "src/wal/mod.rs:1: `super::` leaves the room");
    check(rank_problems(&at("src/wal/a.rs", "use super::super::lake;\n")), "src/wal/a.rs:1: `super::` leaves the room");
    check(confinement_problems(&at("src/lake/table.rs", "use axum::Json;\n")), "src/lake/table.rs:1: axum");
    check(
        confinement_problems(&at("src/lake/a.rs", "\nuse std::{\n    env,\n    fs,\n};\n")),
        "src/lake/a.rs:3: std::env",
    );
    check(
        confinement_problems(&at("src/http/a.rs", "let t = SystemTime::now();\n")),
        "src/http/a.rs:1: SystemTime::now",
    );
    check(opening_problems(&at("src/http/a.rs", "use std::fs;\n")), "src/http/a.rs:1:");
    check(neglect_problems(&at("src/http/a.rs", "\nlet a = b.unwrap();\n")), "src/http/a.rs:2: .unwrap()");
    check(neglect_problems(&at("src/http/a.rs", "#[cfg(test)]\nmod t {\n    dbg!(1);\n}\n")), "src/http/a.rs:3: dbg!");
    check(length_problems(&at("src/http/a.rs", &"let a = 1;\n".repeat(LINES_MAX + 1))), "src/http/a.rs: 601 lines");
    check(name_problems(&at("src/http/utils.rs", "//! U.\n")), "src/http/utils.rs:1: utils");
    check(name_problems(&at("src/http/a.rs", "//! U.\nmod common {}\n")), "src/http/a.rs:2: common");
    let mut problems = Vec::new();
    marker_problems("docs/a.md", &format!("a\nb {}: c\n", MARKERS[0]), &mut problems);
    check(problems, "docs/a.md:2:");
}

fn rank_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| !COMPOSITION.contains(&source.path.as_str())) {
        let Some((room, own)) = source.room().and_then(|room| Some((room, rank(room)?))) else { continue };
        for (offset, imported) in names_below(&source.code, "crate") {
            let place = source.place(offset);
            match rank(&imported) {
                _ if imported == room => {}
                Some(other) if other < own => {}
                Some(other) => problems
                    .push(format!("{place}: {room} (rank {own}) imports {imported} (rank {other}); only lower ranks")),
                None => problems.push(format!("{place}: crate::{imported} is no room that RANKS knows")),
            }
        }
        for offset in occurrences(&source.code, "super::") {
            let rest = &source.code[offset..];
            let levels = rest.as_bytes().chunks(7).take_while(|chunk| *chunk == b"super::").count();
            // The inner ones of `super::super::` are counted with the first.
            if !source.code[..offset].ends_with("super::") && levels >= source.depth() {
                let place = source.place(offset);
                problems.push(format!("{place}: `super::` leaves the room; name other rooms by `crate::`"));
            }
        }
    }
    problems
}

fn confinement_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        for Confined { path, places, reason } in CONFINED {
            let at_home = places.iter().any(|place| *place == source.path || Some(*place) == source.room());
            if at_home {
                continue;
            }
            for offset in uses(&source.code, path) {
                problems.push(format!(
                    "{}: {path} may be named in {} only: {reason}",
                    source.place(offset),
                    places.join(", ")
                ));
            }
        }
    }
    problems
}

fn opening_problems(sources: &[Source]) -> Vec<String> {
    // A file without a word in it has nothing to introduce.
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! ") && !source.text.trim().is_empty());
    silent
        .map(|source| format!("{}:1: does not open with `//! `, what it does and what it never does", source.path))
        .collect()
}

fn neglect_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let unfinished = UNFINISHED.iter().flat_map(|call| occurrences(&source.code, call).map(move |at| (*call, at)));
        let left =
            LEFT_BEHIND.iter().flat_map(|call| occurrences(&source.code_and_tests, call).map(move |at| (*call, at)));
        for (call, offset) in unfinished.chain(left) {
            problems.push(format!("{}: {call} does not belong here", source.place(offset)));
        }
    }
    problems
}

fn length_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let lines = source.text.lines().count() - source.test_lines;
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines without tests, at most {LINES_MAX}: split it", source.path));
        }
    }
    problems
}

fn name_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note = |place: String, name: &str| {
        problems.push(format!("{place}: {name} says nothing about what is inside; find the noun"));
    };
    for source in sources {
        for part in source.path.trim_end_matches(".rs").split('/').skip(1) {
            if NAMELESS.contains(&part) {
                note(format!("{}:1", source.path), part);
            }
        }
        for offset in occurrences(&source.code_and_tests, "mod ") {
            let name = identifier(&source.code_and_tests[offset + "mod ".len()..]);
            if NAMELESS.contains(&name) {
                note(source.place(offset), name);
            }
        }
    }
    problems
}

fn marker_problems(path: &str, text: &str, problems: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        for marker in MARKERS {
            if occurrences(line, marker).any(|at| !line[at + marker.len()..].starts_with(is_word)) {
                problems.push(format!("{path}:{}: {marker}: finish it or write down what is missing", index + 1));
            }
        }
    }
}

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

#[track_caller]
fn holds(problems: &[String]) {
    let mut message = String::new();
    for problem in problems {
        let _ = writeln!(message, "  {problem}");
    }
    assert!(problems.is_empty(), "{} problems:\n{message}", problems.len());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every file below a directory with one of these endings, or with any; sorted.
fn files_under(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                waiting.push(path);
            } else if endings.is_empty() || endings.contains(&ending.as_str()) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
