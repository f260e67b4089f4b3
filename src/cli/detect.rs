//! `driftline detect`: a CSV file's rows through the detector that watches KPIs. It keeps nothing, and needs no data
//! directory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use crate::{
    decode::parse_timestamp,
    detect::Detector,
    error::{Context, Error, Result},
};

/// Flags of `detect`.
#[derive(Debug, Args)]
pub struct DetectArgs {
    /// A CSV file with the columns `timestamp` (RFC 3339, YYYY-MM-DD HH:MM:SS or epoch; UTC where no zone is written)
    /// and `value` (empty where it is missing), in the order of time; - is standard input
    file: PathBuf,
}

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 64 << 10;
/// What stands for a missing value, in small letters.
const MISSING: [&str; 4] = ["", "nan", "na", "null"];

/// Prints a header and one score per row, as soon as the row is read.
pub fn run(args: &DetectArgs) -> Result<ExitCode> {
    let name = args.file.display().to_string();
    let input: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).context(format!("cannot open {name}"))?)
    };
    let mut rows = Rows::open(name, BufReader::new(input))?;
    match print_scores(&mut rows, io::stdout().lock())? {
        // A reader that has gone away wants no more.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the scores"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The outer error is of reading, the inner of writing.
fn print_scores(rows: &mut Rows<impl BufRead>, mut out: impl Write) -> Result<io::Result<()>> {
    let mut detector = Detector::default();
    let (mut newest_us, mut goes_back) = (i64::MIN, false);
    if let Err(error) = writeln!(out, "anomaly_score") {
        return Ok(Err(error));
    }
    while let Some(row) = rows.next()? {
        if row.time_us < newest_us && !goes_back {
            goes_back = true;
            let note =
                rows.wrong("times go back here; rows are taken in the file's order, which should be that of time");
            eprintln!("{note}");
        }
        newest_us = row.time_us.max(newest_us);
        let score = detector.push(row.time_us, row.value);
        if let Err(error) = writeln!(out, "{:.6}", score.anomaly) {
            return Ok(Err(error));
        }
    }
    Ok(out.flush())
}

#[derive(Debug, PartialEq)]
struct Row {
    time_us: i64,
    value: Option<f64>,
}

/// The rows of a file, read one by one.
struct Rows<R> {
    name: String,
    input: R,
    /// The number of the line that was read last, from 1.
    line: u64,
    timestamp_column: usize,
    value_column: usize,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    fn open(name: String, input: R) -> Result<Self> {
        let mut rows = Self { name, input, line: 0, timestamp_column: 0, value_column: 0 };
        let header = rows.line()?.ok_or_else(|| rows.wrong("no header; expected the columns timestamp and value"))?;
        let header = header.trim_start_matches('\u{feff}');
        let column = |wanted: &str| {
            let found = fields(header).position(|name| name.eq_ignore_ascii_case(wanted));
            found.ok_or_else(|| rows.wrong(&format!("no column {wanted}; expected the columns timestamp and value")))
        };
        (rows.timestamp_column, rows.value_column) = (column("timestamp")?, column("value")?);
        Ok(rows)
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let Some(line) = self.line()? else { return Ok(None) };
        let field = |column, name| {
            fields(&line).nth(column).ok_or_else(|| self.wrong(&format!("the row has no {name}: it ends before")))
        };
        let (timestamp, value) = (field(self.timestamp_column, "timestamp")?, field(self.value_column, "value")?);
        let time_us = parse_timestamp(timestamp).ok_or_else(|| {
            self.wrong(&format!("timestamp `{timestamp}` is none: RFC 3339, YYYY-MM-DD HH:MM:SS or epoch is"))
        })?;
        let value = if MISSING.contains(&value.to_ascii_lowercase().as_str()) {
            None
        } else {
            let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
            Some(
                number
                    .ok_or_else(|| self.wrong(&format!("value `{value}` is no number; leave it empty if missing")))?,
            )
        };
        Ok(Some(Row { time_us, value }))
    }

    /// The next line that is not blank.
    fn line(&mut self) -> Result<Option<String>> {
        loop {
            let mut bytes = Vec::new();
            let mut limited = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
            limited.read_until(b'\n', &mut bytes).context(format!("cannot read {}", self.name))?;
            self.line += 1;
            if bytes.is_empty() {
                return Ok(None);
            }
            if bytes.len() > LINE_BYTES_MAX {
                return Err(self.wrong(&format!("the line is longer than {LINE_BYTES_MAX} bytes")));
            }
            let text = String::from_utf8(bytes).map_err(|_| self.wrong("the line is no UTF-8"))?;
            if !text.trim().is_empty() {
                return Ok(Some(text));
            }
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("{}:{}: {what}", self.name, self.line))
    }
}

/// The fields of a line. A comma within quotes that begin a field is one of its own.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_start, mut is_quoted) = (true, false);
    let separates = move |letter: char| {
        // Quotes that are doubled close and open again.
        is_quoted ^= letter == '"' && (is_start || is_quoted);
        let ends = letter == ',' && !is_quoted;
        is_start = ends || (is_start && letter.is_whitespace()) || (letter == '"' && !is_quoted);
        ends
    };
    line.split(separates).map(|field| field.trim().trim_matches('"').trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scores(text: &str) -> Result<Vec<f64>> {
        let mut out = Vec::new();
        print_scores(&mut Rows::open("series.csv".to_owned(), text.as_bytes())?, &mut out)?.unwrap();
        let text = String::from_utf8(out).unwrap();
        Ok(text.lines().skip(1).map(|line| line.parse().unwrap()).collect())
    }

    #[track_caller]
    fn check_refused(text: &str, said: &str) {
        assert_eq!(scores(text).unwrap_err().to_string(), said);
    }

    #[test]
    fn every_row_has_a_score() {
        let text = "\u{feff}host,\"Value\",timestamp\r\na,1.5,2026-05-01 00:00:00\r\n\nb,,2026-05-01T01:00:00+01:00\n\
                    \"c, \"\"d\"\"\",NaN,1777600000\nd,-2e3,\"2026-05-01T00:15:00Z\"";
        assert_eq!(scores(text).unwrap(), [0.0; 4]);
        assert_eq!(scores("timestamp,value\n").unwrap(), [0.0; 0]);
    }

    #[test]
    fn a_bad_line_is_named() {
        check_refused("", "series.csv:1: no header; expected the columns timestamp and value");
        check_refused("time,value\n", "series.csv:1: no column timestamp; expected the columns timestamp and value");
        let start = "timestamp,value\n2026-05-01 00:00:00,1\n";
        check_refused(&format!("{start}\n2026-05-01"), "series.csv:4: the row has no value: it ends before");
        check_refused(
            &format!("{start}soon,1\n"),
            "series.csv:3: timestamp `soon` is none: RFC 3339, YYYY-MM-DD HH:MM:SS or epoch is",
        );
        check_refused(
            &format!("{start}2026-05-01,many\n"),
            "series.csv:3: value `many` is no number; leave it empty if missing",
        );
        check_refused(
            &format!("{start}2026-05-01,inf\n"),
            "series.csv:3: value `inf` is no number; leave it empty if missing",
        );
        check_refused(&format!("{start}{}", "1".repeat(70_000)), "series.csv:3: the line is longer than 65536 bytes");
    }
}
