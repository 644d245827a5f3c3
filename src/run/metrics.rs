//! The log of a run: one JSON object a line.
//!
//! `{"step":1200,"seconds":83.1,"split":"valid","name":"rel_l2","value":0.0031,"horizon":50}`
//!
//! A line is written at once, so a killed program loses at most the line it was writing; a torn last line is ignored. JSON
//! has no NaN: values that are not finite are the texts `"NaN"`, `"inf"` and `"-inf"`.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files;
use crate::error::{Error, Result};

/// One number at one moment of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Finished steps.
    pub step: u64,
    /// Seconds of the run so far, those before a resume included.
    pub seconds: f64,
    /// What it was computed on, e.g. `"train"` or `"valid"`.
    pub split: String,
    /// What it is, e.g. `"rel_l2"`.
    pub name: String,
    /// The number.
    #[serde(serialize_with = "write_number", deserialize_with = "read_number")]
    pub value: f64,
    /// Anything else, e.g. `horizon`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record {
    /// A record without extra fields.
    pub fn new(step: u64, seconds: f64, split: &str, name: &str, value: f64) -> Self {
        Self { step, seconds, split: split.to_owned(), name: name.to_owned(), value, extra: Map::new() }
    }
}

fn write_number<S: serde::Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match value.is_finite() {
        true => serializer.serialize_f64(*value),
        false => serializer.serialize_str(&value.to_string()),
    }
}

fn read_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Finite(value) => Ok(value),
        Number::Text(text) => text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is no number"))),
    }
}

/// An open log.
#[derive(Debug)]
pub struct MetricLog {
    path: PathBuf,
    file: File,
}

impl MetricLog {
    /// Opens the log of a run that stands at `step`: what is there of later steps, and a torn last line, is dropped, so
    /// that a resumed run does not tell its story twice. A file that is not there is made.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written, [`Error::Format`] for a line that is no record.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        if path.exists() {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            let text = String::from_utf8_lossy(&bytes);
            let mut kept = String::new();
            for (_, line) in parse(&text, path)?.iter().filter(|(record, _)| record.step <= step) {
                kept.push_str(line);
                kept.push('\n');
            }
            if kept.as_bytes() != bytes {
                files::replace(path, kept.as_bytes())?;
            }
        }
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(|e| Error::io(path, e))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends a record.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::format(&self.path, e.to_string()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| Error::io(&self.path, e))
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }
}

/// All records of a log; a torn last line is ignored.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be read, [`Error::Format`] naming a line that is no record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(parse(&text, path)?.into_iter().map(|(record, _)| record).collect())
}

/// Records with the lines they come from; what stands behind the last line break is a torn line.
fn parse<'a>(text: &'a str, path: &Path) -> Result<Vec<(Record, &'a str)>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| match serde_json::from_str(line) {
            Ok(record) => Ok((record, line)),
            Err(e) => Err(Error::format(path, format!("line {}: {e}", i + 1))),
        })
        .collect()
}

/// The last value of every metric, in order of first appearance, named `split/name`.
pub fn last_values(records: &[Record]) -> Vec<(String, f64)> {
    let mut out: Vec<(String, f64)> = Vec::new();
    for record in records {
        let name = format!("{}/{}", record.split, record.name);
        match out.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = record.value,
            None => out.push((name, record.value)),
        }
    }
    out
}

/// The records as CSV (RFC 4180), one a line: `step,seconds,split,name,value` and a column for every extra field.
pub fn to_csv(records: &[Record]) -> String {
    let extra: BTreeSet<&String> = records.iter().flat_map(|record| record.extra.keys()).collect();
    let mut out = String::from("step,seconds,split,name,value");
    extra.iter().for_each(|name| out.push_str(&format!(",{}", quoted(name))));
    out.push('\n');
    for record in records {
        let Record { step, seconds, split, name, value, .. } = record;
        out.push_str(&format!("{step},{seconds},{},{},{value}", quoted(split), quoted(name)));
        for name in &extra {
            let field = match record.extra.get(*name) {
                None => String::new(),
                Some(Value::String(text)) => quoted(text),
                Some(other) => quoted(&other.to_string()),
            };
            out.push_str(&format!(",{field}"));
        }
        out.push('\n');
    }
    out
}

/// A field of a CSV line.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn records() -> Vec<Record> {
        let mut records: Vec<Record> = (1..=6)
            .map(|step| Record::new(step, step as f64 / 3.0, "train", "loss, total", 0.1f64.powi(step as i32)))
            .collect();
        records[2].value = f64::NAN;
        records[3].value = f64::NEG_INFINITY;
        records[4].extra.insert("horizon".into(), json!(50));
        records[5].extra.insert("note".into(), json!("ω \"b\", c"));
        records
    }

    /// NaN is equal to nothing, so records are compared as text.
    fn text(records: &[Record]) -> String {
        format!("{records:?}")
    }

    fn write(path: &Path, step: u64, records: &[Record]) {
        let mut log = MetricLog::open(path, step).unwrap();
        records.iter().for_each(|record| log.write(record).unwrap());
    }

    #[test]
    fn records_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        write(&path, 0, &records());
        assert_eq!(text(&read(&path).unwrap()), text(&records()));
        let first = std::fs::read_to_string(&path).unwrap();
        let line = r#"{"step":3,"seconds":1.0,"split":"train","name":"loss, total","value":"NaN"}"#;
        assert_eq!(first.lines().nth(2).unwrap(), line);
        assert_eq!(last_values(&records()), [("train/loss, total".to_owned(), records()[5].value)]);
    }

    #[test]
    fn a_kill_at_any_byte_loses_at_most_one_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        write(&path, 0, &records());
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let lines = whole[..length].iter().filter(|&&b| b == b'\n').count();
            assert_eq!(text(&read(&path).unwrap()), text(&records()[..lines]));
            write(&path, 100, &records()[lines..]);
            assert_eq!(std::fs::read(&path).unwrap(), whole, "{length}");
        }
    }

    #[test]
    fn a_resumed_log_holds_every_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        write(&path, 0, &records());
        write(&path, 4, &records()[4..]);
        assert_eq!(text(&read(&path).unwrap()), text(&records()));
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        write(&path, 0, &records()[..2]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"step\":\n");
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl: line 3: "), "{message}");
        assert!(MetricLog::open(&path, 9).is_err());
    }

    /// Rows of a CSV text (RFC 4180).
    fn rows(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut field, mut inside) = (vec![], vec![], String::new(), false);
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '"' if inside && characters.peek() == Some(&'"') => field.push(characters.next().unwrap()),
                '"' => inside = !inside,
                ',' if !inside => row.push(std::mem::take(&mut field)),
                '\n' if !inside => {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                c => field.push(c),
            }
        }
        rows
    }

    #[test]
    fn csv_holds_every_record_exactly() {
        let csv = to_csv(&records());
        let rows = rows(&csv);
        assert_eq!(rows[0].join(" "), "step seconds split name value horizon note");
        assert_eq!(rows.len(), 7);
        for (row, record) in rows[1..].iter().zip(records()) {
            assert_eq!(row[0].parse::<u64>().unwrap(), record.step);
            assert_eq!(row[1].parse::<f64>().unwrap(), record.seconds);
            assert_eq!((&row[2], &row[3]), (&record.split, &record.name));
            let value: f64 = row[4].parse().unwrap();
            assert!(value == record.value || (value.is_nan() && record.value.is_nan()));
        }
        assert_eq!((&*rows[5][5], &*rows[6][5], &*rows[6][6]), ("50", "", "ω \"b\", c"));
    }
}
