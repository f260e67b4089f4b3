//! The named SQL files: ours, embedded, and the user's, which add to them and override by name.
//! Loads and looks up; planning them is the engine's.

use std::{collections::BTreeMap, fs, path::Path};

use datafusion::error::DataFusionError;
use include_dir::{Dir, include_dir};
use serde::Serialize;

use super::error::message;
use crate::{
    error::{Context, Error, Kind as ErrorKind, Result},
    kpi::Definition,
    named::{NamedSql, Param, ParamKind},
};

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// What a file is for: the directory it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `views/`: a view under the file's name.
    Views,
    /// `queries/`: an endpoint.
    Queries,
    /// `kpis/`: an endpoint whose figures are judged.
    Kpis,
    /// `reports/`: a part of a report.
    Reports,
    /// `metrics/`: a Prometheus gauge.
    Metrics,
    /// `rollups/`: what is kept of each hour or day.
    Rollups,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Views, Kind::Queries, Kind::Kpis, Kind::Reports, Kind::Metrics, Kind::Rollups];

    /// The directory.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Views => "views",
            Kind::Queries => "queries",
            Kind::Kpis => "kpis",
            Kind::Reports => "reports",
            Kind::Metrics => "metrics",
            Kind::Rollups => "rollups",
        }
    }

    /// Whether a file of this kind may have the parameter.
    fn takes(self, param: &Param) -> bool {
        match self {
            Kind::Views => false,
            Kind::Rollups => param.name == GRAIN && param.kind == ParamKind::Text,
            // Nobody is there to give one.
            Kind::Metrics => !param.required,
            Kind::Queries | Kind::Reports | Kind::Kpis => true,
        }
    }
}

/// The one parameter of a rollup: each grain of its header in turn.
pub(super) const GRAIN: &str = "grain";

/// The first line of a file that starts with this.
pub(super) fn line_starting(text: &str, start: &str) -> Option<usize> {
    text.lines().position(|line| line.starts_with(start)).map(|index| index + 1)
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user knows it.
    pub file: String,
    /// The line, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// What the engine says is wrong with a file, and the line where it says one.
    pub(super) fn of(file: &str, error: &DataFusionError) -> Self {
        let message = message(error.find_root());
        let spanned = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start.line as usize);
        let line = spanned.or_else(|| line_in(&message));
        Self { file: file.to_owned(), line, message }
    }
}

/// The parser says where: "… at Line: 3, Column: 8".
fn line_in(message: &str) -> Option<usize> {
    let rest = message.split("Line: ").nth(1)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A file of the library.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it came from.
    pub file: String,
    /// What it says.
    pub named: NamedSql,
}

/// All named SQL, by kind and name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    entries: BTreeMap<(Kind, String), Entry>,
    kpis: BTreeMap<String, Definition>,
}

impl Library {
    /// Our files and those of the user's directory, laid out the same way. Files with a broken header
    /// are left out and told of.
    ///
    /// # Errors
    ///
    /// When the user's directory cannot be read.
    pub fn load(user_directory: Option<&Path>) -> Result<(Self, Vec<Problem>)> {
        if let Some(directory) = user_directory.filter(|directory| !directory.is_dir()) {
            return Err(Error::invalid(format!("there is no SQL directory {}", directory.display())));
        }
        let mut library = Self::default();
        let mut problems = Vec::new();
        for kind in Kind::ALL {
            for file in SHIPPED.get_dir(kind.directory()).into_iter().flat_map(Dir::files) {
                let text = file.contents_utf8().unwrap_or_default();
                library.add(kind, &format!("sql/{}", file.path().display()), text, &mut problems);
            }
            if let Some(directory) = user_directory {
                library.add_directory(kind, &directory.join(kind.directory()), &mut problems)?;
            }
        }
        Ok((library, problems))
    }

    /// The file of this kind and name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] that names what there is.
    pub fn get(&self, kind: Kind, name: &str) -> Result<&Entry> {
        self.entries.get(&(kind, name.to_owned())).ok_or_else(|| {
            let names: Vec<&str> = self.of(kind).map(|entry| entry.named.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, format!("there is no query {name}; there are {}", names.join(", ")))
        })
    }

    /// The kind of what is asked for by this name alone: a query, or a KPI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] that names what there is.
    pub fn kind_of(&self, name: &str) -> Result<Kind> {
        let kinds = [Kind::Queries, Kind::Kpis];
        kinds.into_iter().find(|kind| self.entries.contains_key(&(*kind, name.to_owned()))).ok_or_else(|| {
            let names: Vec<&str> =
                kinds.iter().flat_map(|kind| self.of(*kind)).map(|entry| entry.named.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, format!("there is no query {name}; there are {}", names.join(", ")))
        })
    }

    /// The KPIs, by name.
    pub fn kpis(&self) -> impl Iterator<Item = &Definition> {
        self.kpis.values()
    }

    /// The KPI of this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] that names what there is.
    pub fn kpi(&self, name: &str) -> Result<&Definition> {
        self.kpis.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.kpis.keys().map(String::as_str).collect();
            Error::new(ErrorKind::NotFound, format!("there is no KPI {name}; there are {}", names.join(", ")))
        })
    }

    /// All files of a kind, by name.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |((other, _), _)| *other == kind).map(|(_, entry)| entry)
    }

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &Entry)> {
        self.entries.iter().map(|((kind, _), entry)| (*kind, entry))
    }

    fn add_directory(&mut self, kind: Kind, directory: &Path, problems: &mut Vec<Problem>) -> Result<()> {
        if !directory.is_dir() {
            return Ok(());
        }
        let context = || format!("cannot read the SQL directory {}", directory.display());
        for entry in fs::read_dir(directory).context(context())? {
            let path = entry.context(context())?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let text = fs::read_to_string(&path).context(format!("cannot read {}", path.display()))?;
                self.add(kind, &path.display().to_string(), &text, problems);
            }
        }
        Ok(())
    }

    fn add(&mut self, kind: Kind, file: &str, text: &str, problems: &mut Vec<Problem>) {
        let name = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let kpi = |named: &NamedSql| (kind == Kind::Kpis).then(|| Definition::of(named)).transpose();
        let parsed = NamedSql::parse(name, text).and_then(|named| Ok((kpi(&named)?, named)));
        match parsed {
            Ok((_, named)) if named.params.iter().any(|param| !kind.takes(param)) => problems.push(Problem {
                file: file.to_owned(),
                line: line_starting(text, "-- param:"),
                message:
                    "a view takes no parameters, a rollup none but `grain text`, and a gauge none without a default"
                        .to_owned(),
            }),
            Ok((kpi, named)) => {
                self.kpis.extend(kpi.map(|kpi| (kpi.name.clone(), kpi)));
                self.entries.insert((kind, name.to_owned()), Entry { file: file.to_owned(), named });
            }
            Err(error) => {
                problems.push(Problem { file: file.to_owned(), line: Some(error.line), message: error.message });
            }
        }
    }
}
