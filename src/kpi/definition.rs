//! What the header of a file in `kpis/` says beyond that of any named SQL.
//!
//! | line | form |
//! |---|---|
//! | `group` | `performance`, `cost`, `quality`, `reliability` or `usage`; required |
//! | `unit` | that of the column `value`; required |
//! | `target`, `alert` | a bound, `< 500` or `3 to 8`: the value is good, or calls for someone |
//! | `tiers` | three bounds, each harder than the one before: a line of the score card |
//! | `needs` | fields, parted by spaces, all of which must arrive; `a\|b` is one of them; required |
//! | `samples_min` | fewer samples than this are too few to judge; 30 unless given |
//! | `judged_at` | the only grain at which target and alert hold |
//! | `scale` | the range, `0 to 1`, within which each sample lies: of others nothing is judged |
//! | `windows` | `whole`: the value grows with its window, so one that is not over is neither judged nor compared |
//!
//! Parameters are `from`, `to`, `grain`, `by`, `tenant_id`, `agent_id` and `model`; columns `window_start`, `key`,
//! `value`, `samples`, `numerator` and `denominator` where they say more, and `outside`, the samples off the scale.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{Bound, Field, Figure, Grain};
use crate::named::{HeaderError, NamedSql, OtherLine, ParamKind};

/// Samples that a judgement needs unless its file says otherwise.
const SAMPLES_MIN: u64 = 30;

/// The share of samples off their scale that moves a mean too little to matter: a slip, and not another scale.
const OUTSIDE_SHARE_MAX: f64 = 0.01;

const KEYS: &str = "group, unit, target, alert, tiers, needs, samples_min, judged_at, scale and windows";

const PARAMS: [(&str, ParamKind, &[&str]); 7] = [
    ("from", ParamKind::Timestamp, &[]),
    ("to", ParamKind::Timestamp, &[]),
    ("grain", ParamKind::Text, &["hour", "day", "month"]),
    ("by", ParamKind::Text, &["all", "agent", "tenant", "model"]),
    ("tenant_id", ParamKind::Text, &[]),
    ("agent_id", ParamKind::Text, &[]),
    ("model", ParamKind::Text, &[]),
];

const COLUMNS: [&str; 4] = ["window_start", "key", "value", "samples"];

/// A KPI.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KpiDefinition)]
pub struct Definition {
    /// Its file's name.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// Where it belongs.
    pub group: Group,
    /// The unit of its value.
    pub unit: String,
    /// Where its value is good.
    #[schema(value_type = Option<String>, example = "< 0.01")]
    pub target: Option<Bound>,
    /// Where its value calls for someone.
    #[schema(value_type = Option<String>, example = "> 0.05")]
    pub alert: Option<Bound>,
    /// What the three tiers of the score card ask, the easiest first.
    #[schema(value_type = Option<Vec<String>>, min_items = 3, max_items = 3)]
    pub tiers: Option<[Bound; 3]>,
    /// What must arrive for it to be measured.
    #[schema(value_type = Vec<String>)]
    pub needs: Vec<Need>,
    /// Fewer samples are too few to judge.
    pub samples_min: u64,
    /// The only grain at which target and alert hold.
    pub judged_at: Option<Grain>,
    /// Where its samples lie.
    #[schema(value_type = Option<String>, example = "0 to 1")]
    pub scale: Option<Bound>,
    /// The value grows with its window.
    pub whole_windows: bool,
}

/// What a KPI is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KpiGroup)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// How long things take.
    Performance,
    /// Tokens and money.
    Cost,
    /// How good answers are.
    Quality,
    /// What fails.
    Reliability,
    /// Who uses it and what it brings.
    Usage,
}

/// Fields of which one must arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need(pub Vec<&'static Field>);

impl Definition {
    /// The KPI of a file.
    ///
    /// # Errors
    ///
    /// What is wrong in the header, with its line; 1 where a line is missing.
    pub fn of(named: &NamedSql) -> Result<Self, HeaderError> {
        let (mut group, mut unit, mut needs) = (None, None, None);
        let (mut target, mut alert, mut tiers) = (None, None, None);
        let (mut samples_min, mut judged_at, mut scale, mut windows) = (None, None, None, None);
        for OtherLine { key, value, line } in &named.other {
            let set = match key.as_str() {
                "group" => once(&mut group, Group::of(value)),
                "unit" => once(&mut unit, Ok(value.clone())),
                "target" => once(&mut target, value.parse::<Bound>()),
                "alert" => once(&mut alert, value.parse::<Bound>()),
                "tiers" => once(&mut tiers, tiers_of(value)),
                "needs" => once(&mut needs, needs_of(value)),
                "samples_min" => once(&mut samples_min, count(value)),
                "judged_at" => once(&mut judged_at, grain(value)),
                "scale" => once(&mut scale, range(value)),
                "windows" => once(&mut windows, whole(value)),
                _ => Err(format!("unknown here; a KPI has {KEYS}")),
            };
            set.map_err(|message| HeaderError::new(*line, format!("`{key}`: {message}")))?;
        }
        let missing = |key: &str| HeaderError::new(1, format!("the header has no `-- {key}: …` line"));
        check_params(named)?;
        check_columns(named)?;
        Ok(Self {
            name: named.name.clone(),
            question: named.question.clone(),
            group: group.ok_or_else(|| missing("group"))?,
            unit: unit.ok_or_else(|| missing("unit"))?,
            target,
            alert,
            tiers,
            needs: needs.ok_or_else(|| missing("needs"))?,
            samples_min: samples_min.unwrap_or(SAMPLES_MIN),
            judged_at,
            scale,
            whole_windows: windows.is_some(),
        })
    }

    /// Smaller values are better: `Some(true)`; greater ones: `Some(false)`; `None` where the file does not say.
    pub fn is_less_better(&self) -> Option<bool> {
        let tier = self.tiers.map(|tiers| tiers[0]);
        let wanted = self.target.or(tier).map(Bound::is_upper);
        wanted.unwrap_or_else(|| self.alert.and_then(Bound::is_upper).map(|is_upper| !is_upper))
    }

    /// Why nothing is said of a figure that is made of samples on another scale than the file's.
    pub fn off_scale(&self, figure: &Figure) -> Option<String> {
        let (scale, value) = self.scale.zip(figure.value)?;
        let (outside, samples) = (figure.outside.unwrap_or(0), figure.samples.unwrap_or(0));
        if scale.holds(value) && outside as f64 <= OUTSIDE_SHARE_MAX * samples as f64 {
            return None;
        }
        let fields = self.needs.iter().map(Need::advice).collect::<Vec<_>>().join(", ");
        Some(format!(
            "{outside} of {samples} values are not on the scale {scale}, and their mean is {value}: send {fields} on it"
        ))
    }

    /// It asks for this field, alone or as one of several.
    pub fn names(&self, of: impl Fn(&Field) -> bool) -> bool {
        self.needs.iter().any(|need| need.0.iter().any(|field| of(field)))
    }
}

impl Need {
    /// Its fields, as a header writes them.
    pub fn text(&self) -> String {
        self.0.iter().map(|field| field.name).collect::<Vec<_>>().join("|")
    }

    /// What to send, for people.
    pub fn advice(&self) -> String {
        self.0.iter().map(|field| field.send).collect::<Vec<_>>().join(" or ")
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl Group {
    fn of(name: &str) -> Result<Self, String> {
        match name {
            "performance" => Ok(Group::Performance),
            "cost" => Ok(Group::Cost),
            "quality" => Ok(Group::Quality),
            "reliability" => Ok(Group::Reliability),
            "usage" => Ok(Group::Usage),
            _ => Err(format!("`{name}` is none of performance, cost, quality, reliability, usage")),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    match slot.replace(value?) {
        None => Ok(()),
        Some(_) => Err("given a second time".to_owned()),
    }
}

fn tiers_of(text: &str) -> Result<[Bound; 3], String> {
    let bounds = text.split(',').map(|bound| bound.trim().parse()).collect::<Result<Vec<Bound>, _>>()?;
    <[Bound; 3]>::try_from(bounds).map_err(|_| "write three bounds, the easiest first: `< 5, < 3, < 2`".to_owned())
}

fn needs_of(text: &str) -> Result<Vec<Need>, String> {
    let field = |name: &str| {
        let known = || super::FIELDS.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
        Field::of(name).ok_or_else(|| format!("`{name}` is no field that coverage knows; there are {}", known()))
    };
    text.split_whitespace().map(|need| need.split('|').map(field).collect::<Result<_, _>>().map(Need)).collect()
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number such as 30"))
}

fn grain(text: &str) -> Result<Grain, String> {
    Grain::of(text).ok_or_else(|| format!("`{text}` is none of hour, day, month"))
}

fn range(text: &str) -> Result<Bound, String> {
    match text.parse()? {
        range @ Bound::Within(..) => Ok(range),
        _ => Err(format!("`{text}` is no range such as `0 to 1`")),
    }
}

fn whole(text: &str) -> Result<(), String> {
    if text == "whole" { Ok(()) } else { Err(format!("`{text}` is not `whole`; leave the line out instead")) }
}

fn check_params(named: &NamedSql) -> Result<(), HeaderError> {
    for (name, kind, values) in PARAMS {
        let values_fit = |one_of: &[String]| one_of.iter().map(String::as_str).eq(values.iter().copied());
        let fits = named
            .params
            .iter()
            .any(|param| param.name == name && param.kind == kind && !param.required && values_fit(&param.one_of));
        if !fits {
            let list = if values.is_empty() { String::new() } else { format!("({})", values.join("|")) };
            let message = format!("a KPI has the line `-- param: {name} {kind}{list} = … -- …`");
            return Err(HeaderError::new(1, message));
        }
    }
    match named.params.iter().find(|param| param.required) {
        Some(param) => Err(HeaderError::new(1, format!("parameter `{}` of a KPI needs a default", param.name))),
        None => Ok(()),
    }
}

fn check_columns(named: &NamedSql) -> Result<(), HeaderError> {
    let is_there = |name: &str| named.columns.iter().any(|column| column.name == name);
    match COLUMNS.into_iter().find(|name| !is_there(name)) {
        Some(name) => Err(HeaderError::new(1, format!("a KPI has a line `-- column: {name} …`"))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A file with these lines among those that every KPI has.
    fn file(lines: &str) -> String {
        format!(
            "-- question: What?\n{lines}\n\
             -- param: from timestamp = today\n-- param: to timestamp = now\n\
             -- param: grain text(hour|day|month) = day\n-- param: by text(all|agent|tenant|model) = all\n\
             -- param: tenant_id text = null\n-- param: agent_id text = null\n-- param: model text = null\n\
             -- column: window_start time\n-- column: key text\n-- column: value ms\n-- column: samples count\n\
             select $from, $to, $grain, $by, $tenant_id, $agent_id, $model"
        )
    }

    pub fn definition(lines: &str) -> Definition {
        Definition::of(&NamedSql::parse("k", &file(lines)).unwrap()).unwrap()
    }

    #[test]
    fn headers_read_as_written() {
        let read = definition(
            "-- group: cost\n-- unit: USD\n-- target: < 1\n-- alert: > 2\n-- tiers: < 3, < 2, < 1\n\
             -- needs: cost error|http_status\n-- samples_min: 3\n-- judged_at: day\n-- scale: 0 to 5\n-- windows: whole",
        );
        let shown = serde_json::to_string(&read).unwrap();
        assert_eq!(
            shown,
            r#"{"name":"k","question":"What?","group":"cost","unit":"USD","target":"< 1","alert":"> 2","tiers":["< 3","< 2","< 1"],"needs":["cost","error|http_status"],"samples_min":3,"judged_at":"day","scale":"0 to 5","whole_windows":true}"#
        );
        let least = definition("-- group: usage\n-- unit: ms\n-- needs: latency_ms");
        assert_eq!((least.samples_min, least.judged_at, least.target), (SAMPLES_MIN, None, None));
    }

    #[test]
    fn which_side_is_better_follows_from_the_bounds() {
        let side =
            |line: &str| definition(&format!("-- group: cost\n-- unit: x\n-- needs: cost\n{line}")).is_less_better();
        assert_eq!(side("-- target: < 1"), Some(true));
        assert_eq!(side("-- target: > 1"), Some(false));
        assert_eq!(side("-- target: 1 to 2\n-- alert: > 3"), None);
        assert_eq!(side("-- alert: < -0.3"), Some(false));
        assert_eq!(side("-- tiers: < 3, < 2, < 1"), Some(true));
        assert_eq!(side("-- judged_at: day"), None);
    }

    /// A file with these lines is refused with this message.
    #[track_caller]
    fn check(lines: &str, expect: &str) {
        let named = NamedSql::parse("k", &file(lines)).unwrap();
        let got = Definition::of(&named).unwrap_err().to_string();
        assert!(got.starts_with(expect), "{lines}\n got {got}");
    }

    #[test]
    fn other_headers_are_refused_with_their_line() {
        let rest = "\n-- unit: ms\n-- needs: cost";
        check(&format!("-- group: money{rest}"), "line 2: `group`: `money` is none of performance");
        check(&format!("-- group: cost\n-- group: cost{rest}"), "line 3: `group`: given a second time");
        check(&format!("-- group: cost\n-- goal: < 3{rest}"), "line 3: `goal`: unknown here; a KPI has group");
        check(&format!("-- group: cost\n-- target: 3{rest}"), "line 3: `target`: `3` is no bound");
        check(&format!("-- group: cost\n-- tiers: < 3, < 2{rest}"), "line 3: `tiers`: write three bounds");
        check("-- group: cost\n-- unit: ms\n-- needs: cost|cots", "line 4: `needs`: `cots` is no field");
        check(&format!("-- group: cost\n-- samples_min: few{rest}"), "line 3: `samples_min`: `few` is no whole number");
        check(&format!("-- group: cost\n-- judged_at: week{rest}"), "line 3: `judged_at`: `week` is none of");
        check(&format!("-- group: cost\n-- scale: < 1{rest}"), "line 3: `scale`: `< 1` is no range such as");
        check(&format!("-- group: cost\n-- windows: half{rest}"), "line 3: `windows`: `half` is not `whole`");
        check("-- unit: ms\n-- needs: cost", "line 1: the header has no `-- group: …` line");
        check("-- group: cost\n-- needs: cost", "line 1: the header has no `-- unit: …` line");
        check("-- group: cost\n-- unit: ms", "line 1: the header has no `-- needs: …` line");
    }

    #[test]
    fn parameters_and_columns_are_those_of_every_kpi() {
        let refused = |from: &str, to: &str| {
            let text = file("-- group: cost\n-- unit: ms\n-- needs: cost").replace(from, to);
            Definition::of(&NamedSql::parse("k", &text).unwrap()).unwrap_err().to_string()
        };
        let got = refused("text(hour|day|month)", "text");
        assert_eq!(got, "line 1: a KPI has the line `-- param: grain text(hour|day|month) = … -- …`");
        let got = refused("-- param: model text = null", "-- param: model int = null");
        assert_eq!(got, "line 1: a KPI has the line `-- param: model text = … -- …`");
        let got = refused("-- column: samples count\n", "");
        assert_eq!(got, "line 1: a KPI has a line `-- column: samples …`");
    }
}
