//! TOML configurations: read, overridden from the command line, and turned into types that refuse unknown keys.
//!
//! Every message begins with the key at fault: `recipe.toml: time.dt: expected a number, got string "fast"`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::{Error, Result};

/// A section whose entry `key` chooses what its other entries mean: `[equation] id = "burgers", nu = 0.1`.
///
/// In Rust it is an enum. Serde keeps track of the key at fault only if the choice is written around the entries,
/// `[equation.burgers] nu = 0.1`, so [`Config::read`] rewrites such sections on the way in, and [`to_toml`] on the way
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Path of the section, e.g. `"equation"` or `"equation.forcing"`. If one contains another, it comes after it.
    pub section: &'static str,
    /// Entry that chooses, e.g. `"id"`.
    pub key: &'static str,
}

/// A configuration without types.
#[derive(Clone, Debug)]
pub struct Config {
    table: Table,
    origin: PathBuf,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is no TOML.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::format(path, "is not UTF-8 text"))?;
        Self::parse(&text, path)
    }

    /// Parses a text; `origin` is named in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] if it is no TOML.
    pub fn parse(text: &str, origin: &Path) -> Result<Self> {
        let table = text.parse().map_err(|e: toml::de::Error| {
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
            Error::format(origin, format!("line {line}: {}", e.message().replace('\n', ", ")))
        })?;
        Ok(Self { table, origin: origin.to_owned() })
    }

    /// Overrides one value, `section.key=value`. The value is TOML; what is none is taken as a text.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there is no `=`, a key is empty, or the path leads through a value that is no table.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let refuse = |rule: &str| Error::parameter("--set", assignment, rule);
        let (path, value) = assignment.split_once('=').ok_or_else(|| refuse("must be key=value"))?;
        let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
        let last = keys.pop().unwrap_or_default();
        if last.is_empty() || keys.iter().any(|key| key.is_empty()) {
            return Err(refuse("must be key=value with a key such as time.dt"));
        }
        let mut table = &mut self.table;
        for key in keys {
            let next = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            table = next.as_table_mut().ok_or_else(|| refuse(&format!("`{key}` is a value, not a section")))?;
        }
        table.insert(last.to_owned(), value_of(value.trim()));
        Ok(())
    }

    /// Turns the configuration into a type.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming the key, what was expected and what was found; for an unknown key the nearest known one.
    pub fn read<T: DeserializeOwned>(mut self, choices: &[Choice]) -> Result<T> {
        for choice in choices {
            let bad = |message: String| Error::format(&self.origin, message);
            let Some(entry) = entry_mut(&mut self.table, choice.section) else { continue };
            let Some(table) = entry.as_table_mut() else {
                return Err(bad(format!("{}: expected a section, got {}", choice.section, describe(entry))));
            };
            match table.remove(choice.key) {
                Some(Value::String(name)) => {
                    let rest = std::mem::take(table);
                    table.insert(name, Value::Table(rest));
                }
                Some(other) => {
                    let got = describe(&other);
                    return Err(bad(format!("{}.{}: expected a text, got {got}", choice.section, choice.key)));
                }
                None => return Err(bad(format!("{}.{}: is missing", choice.section, choice.key))),
            }
        }
        serde_path_to_error::deserialize(Value::Table(self.table))
            .map_err(|e| Error::format(&self.origin, explain(&e.path().to_string(), e.inner().message(), choices)))
    }
}

/// The text of a configuration that [`Config::read`] reads back to the same.
///
/// # Errors
///
/// [`Error::Parameter`] for a value that TOML cannot hold, such as an integer beyond `i64`.
pub fn to_toml<T: Serialize>(config: &T, choices: &[Choice]) -> Result<String> {
    let refuse = |e: toml::ser::Error| Error::parameter("configuration", e, "must be writable as TOML");
    let mut table = Table::try_from(config).map_err(refuse)?;
    for choice in choices.iter().rev() {
        let Some(Value::Table(section)) = entry_mut(&mut table, choice.section) else { continue };
        let Some((name, inner)) = std::mem::take(section).into_iter().next() else { continue };
        section.insert(choice.key.to_owned(), Value::String(name));
        if let Value::Table(inner) = inner {
            section.extend(inner);
        }
    }
    toml::to_string(&table).map_err(refuse)
}

/// Puts the section before the name of a refused parameter.
pub fn within(section: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Parameter { name, value, rule } => Error::Parameter { name: format!("{section}.{name}"), value, rule },
        other => other,
    }
}

/// The candidate that a misspelt or shortened word most likely means; `None` if none is near, or several are equally so.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (word.chars().count() / 3).max(2);
    let is_beginning = |candidate: &str| word.len() >= 3 && candidate.starts_with(word);
    let score = |candidate: &str| if is_beginning(candidate) { 1 } else { distance(word, candidate) };
    let mut scored: Vec<_> = candidates.into_iter().map(|c| (score(c), c)).filter(|(d, _)| *d <= reach).collect();
    scored.sort_by_key(|(d, candidate)| (*d, candidate.len()));
    match scored[..] {
        [(first, a), (second, b), ..] if first == second && !b.starts_with(a) => None,
        _ => scored.first().map(|(_, c)| *c),
    }
}

/// Insertions, deletions and substitutions that turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The value at a dotted path.
fn entry_mut<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(p, l)| (Some(p), l));
    match parents {
        None => table.get_mut(last),
        Some(parents) => {
            // The parent may have been rewritten: then its one entry is the chosen name.
            let parent = entry_mut(table, parents)?.as_table_mut()?;
            let direct = parent.contains_key(last);
            let parent = if direct { parent } else { parent.iter_mut().next()?.1.as_table_mut()? };
            parent.get_mut(last)
        }
    }
}

/// A TOML value, or else a text.
fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn describe(value: &Value) -> String {
    format!("{} {value}", value.type_str())
}

/// Serde's message with the key before it, in the words of the configuration.
fn explain(path: &str, message: &str, choices: &[Choice]) -> String {
    let message = message.trim().replace('\n', ", ");
    let path = written_path(path, choices);
    let quoted = |from: &str| -> Vec<String> { from.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let hint = |word: &str, known: &[String]| match nearest(word, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is nothing to set here".to_owned(),
        None => format!("known are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
    };
    for (start, what) in [("unknown field `", "key"), ("unknown variant `", "name")] {
        if message.starts_with(start) {
            let names = quoted(&message);
            let [word, known @ ..] = &names[..] else { break };
            let is_choice = what == "name" && choices.iter().any(|c| c.section == path);
            let place = match choices.iter().find(|c| c.section == path) {
                Some(choice) if is_choice => format!("{path}.{}", choice.key),
                _ => path.strip_suffix(word.as_str()).map_or(&*path, |p| p.trim_end_matches('.')).to_owned(),
            };
            let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
            return format!("{place}unknown {what} `{word}`, {}", hint(word, known));
        }
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let name = rest.trim_matches('`');
        return if path.is_empty() { format!("{name}: is missing") } else { format!("{path}.{name}: is missing") };
    }
    let message = match message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")) {
        Some(rest) => match rest.split_once(", expected ") {
            Some((got, expected)) => format!("expected {}, got {got}", in_words(expected)),
            None => rest.to_owned(),
        },
        None => message,
    };
    if path.is_empty() { message } else { format!("{path}: {message}") }
}

fn in_words(expected: &str) -> &str {
    match expected {
        _ if expected.starts_with("struct ") => "a section",
        "f64" | "f32" => "a number",
        "usize" | "u64" | "u32" => "a whole number >= 0",
        "i64" | "i32" => "a whole number",
        "a string" | "a borrowed string" => "a text",
        "a boolean" => "true or false",
        other => other,
    }
}

/// The path as the user wrote it: without the chosen names that [`Config::read`] put in.
fn written_path(path: &str, choices: &[Choice]) -> String {
    let mut written: Vec<&str> = Vec::new();
    let mut skip = false;
    for key in path.split('.').filter(|key| *key != "." && *key != "?" && !key.is_empty()) {
        if std::mem::take(&mut skip) {
            continue;
        }
        written.push(key);
        skip = choices.iter().any(|c| c.section == written.join("."));
    }
    written.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        equation: Equation,
        time: Time,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Equation {
        Burgers { nu: f64 },
        NavierStokes { nu: f64, forcing: Forcing },
        Wave {},
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Forcing {
        None {},
        Kolmogorov { mode: usize },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Time {
        dt: f64,
        #[serde(default)]
        scheme: Option<String>,
    }

    const CHOICES: &[Choice] =
        &[Choice { section: "equation", key: "id" }, Choice { section: "equation.forcing", key: "kind" }];

    const GOOD: &str =
        "[equation]\nid = 'navier_stokes'\nnu = 1\nforcing = {kind = 'kolmogorov', mode = 4}\n[time]\ndt = 0.1";

    fn read(text: &str) -> Result<Example> {
        Config::parse(text, Path::new("r.toml"))?.read(CHOICES)
    }

    fn message(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn choices_survive_the_round_trip() {
        let example = read(GOOD).unwrap();
        let forcing = Forcing::Kolmogorov { mode: 4 };
        assert_eq!(example.equation, Equation::NavierStokes { nu: 1.0, forcing });
        let text = to_toml(&example, CHOICES).unwrap();
        assert!(text.contains("id = \"navier_stokes\"") && text.contains("kind = \"kolmogorov\""), "{text}");
        assert_eq!(read(&text).unwrap(), example);
        let wave = Example { equation: Equation::Wave {}, time: Time { dt: 1.0, scheme: None } };
        assert_eq!(read(&to_toml(&wave, CHOICES).unwrap()).unwrap(), wave);
    }

    #[test]
    fn messages_name_key_value_and_the_nearest_known_key() {
        for (from, to, expected) in [
            ("dt = 0.1", "dt = 'fast'", "r.toml: time.dt: expected a number, got string \"fast\""),
            ("dt = 0.1", "dt = 0.1\nscheem = 'x'", "r.toml: time: unknown key `scheem`, did you mean `scheme`?"),
            ("dt = 0.1", "", "r.toml: time.dt: is missing"),
            ("[time]", "[tiem]", "r.toml: unknown key `tiem`, did you mean `time`?"),
            (
                "navier_stokes",
                "navierstokes",
                "r.toml: equation.id: unknown name `navierstokes`, did you mean `navier_stokes`?",
            ),
            ("nu = 1", "nu = 'x'", "r.toml: equation.nu: expected a number, got string \"x\""),
            ("nu = 1", "nu = 1\nmu = 1", "r.toml: equation: unknown key `mu`, did you mean `nu`?"),
            ("mode = 4", "mode = -4", "r.toml: equation.forcing.mode: expected a whole number >= 0, got integer `-4`"),
            ("mode = 4", "mod = 4", "r.toml: equation.forcing: unknown key `mod`, did you mean `mode`?"),
            (
                "'kolmogorov'",
                "'colmogorov'",
                "r.toml: equation.forcing.kind: unknown name `colmogorov`, did you mean `kolmogorov`?",
            ),
            ("id = 'navier_stokes'", "", "r.toml: equation.id: is missing"),
            ("id = 'navier_stokes'", "id = 3", "r.toml: equation.id: expected a text, got integer 3"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert_eq!(message(&text), expected);
        }
        // The rest of a syntax error's text is the parser's.
        let message = message(&GOOD.replacen("nu = 1", "nu = = 1", 1));
        assert!(message.starts_with("r.toml: line 3: "), "{message}");
    }

    #[test]
    fn overrides_take_toml_values_and_make_sections() {
        let mut config = Config::parse(GOOD, Path::new("r.toml")).unwrap();
        for assignment in ["time.dt=0.5", "time.scheme = etdrk4", "equation.forcing.mode=7"] {
            config.set(assignment).unwrap();
        }
        let example: Example = config.clone().read(CHOICES).unwrap();
        assert_eq!(example.time, Time { dt: 0.5, scheme: Some("etdrk4".into()) });
        assert_eq!(example.equation, Equation::NavierStokes { nu: 1.0, forcing: Forcing::Kolmogorov { mode: 7 } });
        for bad in ["time.dt", "=1", "time..dt=1", ".=1", "time.dt.x=1"] {
            let error = config.set(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--set = {bad} is not allowed")), "{error}");
        }
        // A value cannot smuggle in a second key.
        config.set("time.scheme=1\nx = 2").unwrap();
        assert!(config.read::<Example>(CHOICES).unwrap().time.scheme.unwrap().contains('\n'));
    }

    #[test]
    fn nearest_is_silent_about_far_words() {
        assert_eq!(nearest("lenght", ["length", "n"]), Some("length"));
        assert_eq!(nearest("viscosity", ["nu", "drag"]), None);
        assert_eq!(nearest("kuramoto", ["burgers", "kuramoto_sivashinsky"]), Some("kuramoto_sivashinsky"));
        // Of a name and longer ones that begin with it, the name.
        assert_eq!(nearest("kura", ["kuramoto_integral", "kuramoto"]), Some("kuramoto"));
        assert_eq!(nearest("etdrk5", ["etdrk2", "etdrk3", "ifrk4"]), None);
    }
}
