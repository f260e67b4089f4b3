//! One record at a time: finds what each field means, resolves spellings against each other, and
//! appends the row to the columns. Values stay borrowed JSON text until their column casts them.

use std::borrow::Cow;

use super::{
    Decoded, OF_ANOTHER_TENANT, Options, REJECT_BYTES_MAX, Reject,
    batch::{COLUMNS, Columns, Fit},
    cast,
    fields::{self, Slot, TRANSPARENT, Target, Unit},
    lines::first_line,
    nesting::{DEPTH_MAX as NESTING_MAX, has_broken_escape, too_deep},
    time::{self, day},
};
use crate::record::{Table, col};

/// What is wrong with a text that [`has_broken_escape`].
pub const BROKEN_ESCAPE: &str = "an escape \\u without four hexadecimal digits";

/// How deep known fields may stand inside objects; deeper ones stay JSON text in `attributes`.
const DEPTH_MAX: usize = 6;

/// Collects the records and rejects of one body.
pub struct Sink {
    options: Options,
    columns: Columns,
    rejects: Vec<Reject>,
    identified: bool,
    known: KnownKeys,
    places: Places,
}

/// The columns that rules below speak of, by index.
struct Places {
    timestamp: usize,
    tenant_id: usize,
    received_at: usize,
    request_id: usize,
    span_id: usize,
    model: usize,
    model_version: usize,
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    error: usize,
    error_type: usize,
    attributes: usize,
}

/// One value of a record, as sent.
#[derive(Clone)]
pub struct Given<'a> {
    /// The name it came under, containers included.
    pub path: Cow<'a, str>,
    /// Its JSON text.
    pub raw: &'a str,
    /// The column it fills.
    pub slot: Slot,
}

/// The fields of one record.
struct Row<'a> {
    given: [Option<Given<'a>>; COLUMNS],
    /// Path and JSON text of everything that fills no column.
    attributes: Vec<(Cow<'a, str>, &'a str)>,
    fields: usize,
}

/// Why a record of so many bytes is rejected.
fn too_long(bytes: usize, bytes_max: usize) -> String {
    format!("{bytes} bytes, and a record may have {bytes_max} (ingest.record_bytes_max): keep long texts elsewhere")
}

impl Sink {
    /// An empty sink; the estimate only sizes the first allocation.
    pub fn new(options: Options, records_estimate: usize) -> Self {
        let schema = Table::AgentLogs.schema();
        let place = |name| schema.index_of(name).expect("the name is a column of agent_logs");
        Self {
            options,
            columns: Columns::new(records_estimate),
            rejects: Vec::new(),
            identified: true,
            known: KnownKeys::default(),
            places: Places {
                timestamp: place(col::TIMESTAMP),
                tenant_id: place(col::TENANT_ID),
                received_at: place(col::RECEIVED_AT),
                request_id: place(col::REQUEST_ID),
                span_id: place(col::SPAN_ID),
                model: place(col::MODEL),
                model_version: place(col::MODEL_VERSION),
                prompt_tokens: place(col::PROMPT_TOKENS),
                completion_tokens: place(col::COMPLETION_TOKENS),
                total_tokens: place(col::TOTAL_TOKENS),
                error: place(col::ERROR),
                error_type: place(col::ERROR_TYPE),
                attributes: place(col::ATTRIBUTES),
            },
        }
    }

    /// Takes one record's text, or rejects it. Says whether the text was JSON.
    pub fn record(&mut self, line: u64, text: &str) -> bool {
        if text.len() > self.options.record_bytes_max {
            self.reject(line, too_long(text.len(), self.options.record_bytes_max), text.as_bytes());
            return true;
        }
        let mut row = Row { given: [const { None }; COLUMNS], attributes: Vec::new(), fields: 0 };
        match row.scan(text, &mut self.known) {
            Err(reason) => {
                let is_json = reason.starts_with("not an object") || reason.starts_with("nested");
                self.reject(line, reason, text.as_bytes());
                is_json
            }
            Ok(()) => {
                if let Err(reason) = self.append(row) {
                    self.reject(line, reason, text.as_bytes());
                }
                true
            }
        }
    }

    /// Notes a line that is no record.
    pub fn reject(&mut self, line: u64, reason: String, raw: &[u8]) {
        let kept = &raw[..raw.len().min(REJECT_BYTES_MAX)];
        self.rejects.push(Reject { line, reason, raw: String::from_utf8_lossy(kept).into_owned() });
    }

    /// Why the first line was rejected.
    pub fn first_reject_reason(&self) -> Option<&str> {
        self.rejects.first().map(|reject| reject.reason.as_str())
    }

    /// The batch and the rejects.
    pub fn finish(self) -> Decoded {
        let records = self.columns.finish();
        Decoded { identified: self.identified && records.num_rows() > 0, records, rejects: self.rejects }
    }

    /// The least time that a record of this tenant may have.
    fn oldest_us(&self, given: Option<&str>, sent: Option<&Given<'_>>) -> Option<i64> {
        let oldest = &self.options.oldest;
        if oldest.is_none() {
            return None;
        }
        match given {
            Some(tenant) => oldest.of(Some(tenant)),
            None => oldest.of(sent.and_then(|sent| cast::text(sent.raw)).as_deref()),
        }
    }

    /// The tenant that a record gets because its sender has but one.
    ///
    /// # Errors
    ///
    /// Why the sender may not send the record.
    fn given_tenant(&self, sent: Option<&Given<'_>>) -> Result<Option<String>, String> {
        let Some(tenants) = self.options.scope.tenants() else { return Ok(None) };
        match sent {
            Some(sent) if cast::text(sent.raw).is_some_and(|tenant| tenants.has(&tenant)) => Ok(None),
            Some(sent) => Err(format!("{} {OF_ANOTHER_TENANT}", sent.path)),
            None => match tenants.only() {
                Some(tenant) => Ok(Some(tenant.to_owned())),
                None => Err("tenant_id is missing, and the key may write for several tenants".to_owned()),
            },
        }
    }

    fn append(&mut self, mut row: Row<'_>) -> Result<(), String> {
        if row.fields == 0 {
            return Err("an object without fields is no record".to_owned());
        }
        let places = &self.places;
        let given_tenant = self.given_tenant(row.given[places.tenant_id].as_ref())?;
        let sent_time = row.given[places.timestamp].take();
        let parsed_time = sent_time.as_ref().and_then(|given| timestamp(given.raw));
        let timestamp_us = parsed_time.unwrap_or(self.options.received_at_us);
        if timestamp_us.saturating_sub(self.options.received_at_us) > self.options.future_max_us {
            let path = sent_time.map_or(Cow::Borrowed(col::TIMESTAMP), |given| given.path);
            return Err(format!(
                "{path} lies more than {} hours in the future",
                self.options.future_max_us / 3_600_000_000
            ));
        }
        if let Some(oldest_us) = self.oldest_us(given_tenant.as_deref(), row.given[places.tenant_id].as_ref())
            && timestamp_us < oldest_us
        {
            let path = sent_time.map_or(Cow::Borrowed(col::TIMESTAMP), |given| given.path);
            return Err(format!(
                "{path} is older than the retention: only records from {} on are kept",
                day(oldest_us)
            ));
        }
        self.identified &=
            parsed_time.is_some() && (row.given[places.request_id].is_some() || row.given[places.span_id].is_some());
        if let (None, Some(given)) = (parsed_time, sent_time) {
            row.attributes.push((given.path, given.raw));
        }
        if row.given[places.model].is_none() {
            row.given[places.model] = row.given[places.model_version].clone();
        }
        for place in [places.error, places.error_type] {
            // Agents write "no error" like this too.
            if row.given[place].as_ref().is_some_and(|given| given.raw == "false") {
                row.given[place] = None;
            }
        }
        let total = match &row.given[places.total_tokens] {
            Some(_) => None,
            None => row
                .int(places.prompt_tokens)
                .zip(row.int(places.completion_tokens))
                .and_then(|(prompt, completion)| prompt.checked_add(completion)),
        };
        let Row { given, mut attributes, .. } = row;
        for (index, given) in given.into_iter().enumerate() {
            let column = &mut self.columns.builders[index];
            if index == places.timestamp {
                column.append_int(timestamp_us);
            } else if index == places.received_at {
                column.append_int(self.options.received_at_us);
            } else if index == places.attributes {
                column.append_attributes(&attributes);
            } else if let (true, Some(tenant)) = (index == places.tenant_id, &given_tenant) {
                column.append_text(tenant);
            } else if let Some(given) = given {
                if column.append(&given) != Fit::Whole {
                    attributes.push((given.path, given.raw));
                }
            } else if let (true, Some(total)) = (index == places.total_tokens, total) {
                column.append_int(total);
            } else {
                column.append_null();
            }
        }
        Ok(())
    }
}

/// The time that the record says, if it is one that the tables' days and their readers can show.
fn timestamp(raw: &str) -> Option<i64> {
    let time_us = match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => time::parse_timestamp(text),
        None => time::parse_epoch(raw),
    };
    time_us.filter(|time_us| *time_us >= time::YEAR_1_US)
}

impl<'a> Row<'a> {
    /// Reads the record's object; the error is the reason to reject it.
    fn scan(&mut self, text: &'a str, known: &mut KnownKeys) -> Result<(), String> {
        if too_deep(text.as_bytes()) {
            return Err(format!("nested deeper than {NESTING_MAX} levels"));
        }
        if has_broken_escape(text.as_bytes()) {
            return Err(format!("not JSON: {BROKEN_ESCAPE}"));
        }
        if !text.starts_with('{') {
            return Err(match sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(text) {
                Ok(_) => "not an object: a record is a JSON object".to_owned(),
                Err(error) => format!("not JSON: {}", first_line(&error.to_string())),
            });
        }
        let mut end = 1;
        for (position, field) in sonic_rs::to_object_iter(text).enumerate() {
            let (key, value) = field.map_err(|error| format!("not JSON: {}", first_line(&error.to_string())))?;
            let Cow::Borrowed(raw) = value.as_raw_cow() else {
                return Err("not JSON that can be read in place".to_owned());
            };
            end = raw.as_ptr().addr() + raw.len() - text.as_ptr().addr();
            self.fields += 1;
            let target = known.target(position, &key);
            self.field(key, raw, target, 0);
        }
        // The iterator stops at the closing brace; whatever follows would be lost in silence.
        if text[end..].trim() != "}" {
            return Err("not one JSON object: something follows its closing brace".to_owned());
        }
        Ok(())
    }

    fn field(&mut self, path: Cow<'a, str>, raw: &'a str, target: Target, depth: usize) {
        if target.container && raw.starts_with('{') && depth < DEPTH_MAX {
            return self.object(path, raw, depth + 1);
        }
        match target.slot {
            // An agent or a session without a name is none, and not one that all such calls share.
            Some(_) if matches!(raw, "null" | "\"\"") => {}
            Some(slot) => self.give(Given { path, raw, slot }),
            None => self.attributes.push((path, raw)),
        }
    }

    fn object(&mut self, prefix: Cow<'a, str>, object: &'a str, depth: usize) {
        for field in sonic_rs::to_object_iter(object) {
            // Skipping the record's values did not decode the keys inside them, so one may still turn
            // out to be none: then the object stays whole in the attributes.
            let Ok((key, value)) = field else { return self.attributes.push((prefix, object)) };
            let Cow::Borrowed(raw) = value.as_raw_cow() else { return self.attributes.push((prefix, object)) };
            let path = if TRANSPARENT.contains(&prefix.as_ref()) { key } else { Cow::Owned(format!("{prefix}.{key}")) };
            let target = fields::target(&path);
            self.field(path, raw, target, depth);
        }
    }

    /// The better spelling fills the column, the other one stays in the attributes unless both say
    /// the same.
    fn give(&mut self, given: Given<'a>) {
        let place = &mut self.given[usize::from(given.slot.column)];
        let loser = match place {
            Some(held) if held.slot.rank < given.slot.rank => Some(given),
            _ => place.replace(given),
        };
        if let (Some(loser), Some(winner)) = (loser, place.as_ref())
            && (loser.raw != winner.raw || loser.slot.unit != winner.slot.unit)
        {
            self.attributes.push((loser.path, loser.raw));
        }
    }

    fn int(&self, place: usize) -> Option<i64> {
        self.given[place].as_ref().and_then(|given| cast::int(given.raw))
    }
}

/// Remembers what the key at each position meant in the record before: agents send the same keys in
/// the same order, and comparing a name is cheaper than hashing it.
#[derive(Default)]
struct KnownKeys {
    positions: Vec<(String, Target)>,
}

impl KnownKeys {
    const POSITIONS_MAX: usize = 128;

    fn target(&mut self, position: usize, key: &str) -> Target {
        if let Some((known, target)) = self.positions.get(position)
            && known == key
        {
            return *target;
        }
        let target = fields::target(key);
        if let Some(entry) = self.positions.get_mut(position) {
            key.clone_into(&mut entry.0);
            entry.1 = target;
        } else if position == self.positions.len() && position < Self::POSITIONS_MAX {
            self.positions.push((key.to_owned(), target));
        }
        target
    }
}

/// Milliseconds of a duration given in the spelling's unit.
pub fn to_column_unit(value: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Same => value,
        Unit::Seconds => value * 1_000.0,
    }
}
