//! Several seeds in one command: one run after the other, then mean and spread.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::checkpoint::Checkpoint;
use super::directory::RunDirectory;
use super::files;
use super::table::{Cell, Table};
use crate::error::{Error, Result};

/// Seeds as on the command line: `7`, `0,1,2` or `0..3` (the end excluded), or both mixed.
///
/// ```
/// use parseval::run::seeds::Seeds;
/// assert_eq!("0..3,7".parse::<Seeds>()?.0, [0, 1, 2, 7]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Most seeds of one command: a longer range is a misprint.
const MOST: u64 = 10_000;

impl FromStr for Seeds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |rule: &str| Error::parameter("--seeds", text, rule);
        let number = |word: &str| {
            word.trim()
                .parse::<u64>()
                .map_err(|_| refuse("must be whole numbers such as 0,1,2 or a range such as 0..3"))
        };
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let (start, end) = match part.split_once("..") {
                Some((start, end)) => (number(start)?, number(end)?),
                None => (number(part)?, number(part)?.saturating_add(1)),
            };
            if end <= start || end - start > MOST {
                return Err(refuse("must have ranges that are neither empty nor longer than 10000"));
            }
            seeds.extend(start..end);
        }
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        sorted.dedup();
        match sorted.len() == seeds.len() {
            true => Ok(Self(seeds)),
            false => Err(refuse("must name every seed once")),
        }
    }
}

/// Moments of a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// How many there are.
    pub count: usize,
    /// `mean = sum x / n`.
    pub mean: f64,
    /// `deviation = sqrt(sum (x - mean)² / (n - 1))`; 0 for a single number.
    pub deviation: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Statistics {
    /// Of the given numbers; NaN among them makes all but the count NaN, so that a failed run is seen.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let deviation = if count == 1 { 0.0 * mean } else { (squares / (count as f64 - 1.0)).sqrt() };
        let extreme = |pick: fn(f64, f64) -> f64| match values.iter().any(|x| x.is_nan()) {
            true => f64::NAN,
            false => values.iter().copied().reduce(pick).unwrap_or(f64::NAN),
        };
        Self { count, mean, deviation, min: extreme(f64::min), max: extreme(f64::max) }
    }

    /// Mean and spread as a cell of a [`Table`]; the number alone if there is one.
    pub fn cell(&self) -> Cell {
        match self.count {
            0 | 1 => Cell::Number(self.mean),
            _ => Cell::Spread { mean: self.mean, deviation: self.deviation },
        }
    }
}

/// Final numbers of the runs of several seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// Seed, and the numbers of its run by name.
    pub runs: Vec<(u64, Vec<(String, f64)>)>,
}

impl Ensemble {
    /// Runs `run(seed, folder)` for every seed in turn, each in `out/seed-0000` by its number, and writes the numbers it
    /// gives to `out/seeds.json`.
    ///
    /// # Errors
    ///
    /// The first error of `run`, [`Error::Interrupted`] among them; [`Error::Io`] if the file cannot be written.
    pub fn gather(
        seeds: &Seeds,
        out: &Path,
        mut run: impl FnMut(u64, &Path) -> Result<Vec<(String, f64)>>,
    ) -> Result<Self> {
        let runs = seeds.0.iter().map(|&seed| Ok((seed, run(seed, &Self::folder(out, seed))?)));
        let ensemble = Self { runs: runs.collect::<Result<_>>()? };
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
        files::replace(&out.join("seeds.json"), format!("{:#}\n", ensemble.json()).as_bytes())?;
        Ok(ensemble)
    }

    /// `out/seed-0000`.
    pub fn folder(out: &Path, seed: u64) -> PathBuf {
        out.join(format!("seed-{seed:04}"))
    }

    /// The seeds that have a folder in `out`, in order; none if there is no such folder.
    pub fn seeds_in(out: &Path) -> Vec<u64> {
        let Ok(folders) = std::fs::read_dir(out) else { return Vec::new() };
        let seed_of = |folder: std::fs::DirEntry| folder.file_name().to_str()?.strip_prefix("seed-")?.parse().ok();
        let mut seeds: Vec<u64> = folders.filter_map(|folder| seed_of(folder.ok()?)).collect();
        seeds.sort_unstable();
        seeds
    }

    /// Seed, folder and checkpoint of every run in `out` that has one: the best if `by_validation` and there is one, else
    /// the latest. `model` is the name in the checkpoints and how many of them are kept.
    ///
    /// # Errors
    ///
    /// As [`RunDirectory::resume`] and [`RunDirectory::checkpoints`]; [`Error::Io`] or [`Error::Format`] for a checkpoint
    /// that cannot be read.
    pub fn trained(
        out: &Path,
        config: &str,
        may_change: &[&str],
        model: (&str, usize),
        by_validation: bool,
    ) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
        let mut runs = Vec::new();
        for seed in Self::seeds_in(out) {
            let run = RunDirectory::resume(&Self::folder(out, seed), config, may_change)?;
            let checkpoints = run.checkpoints(model.0, model.1)?;
            let best = if by_validation { checkpoints.best()? } else { None };
            let checkpoint = if best.is_some() { best } else { checkpoints.latest()? };
            runs.extend(checkpoint.map(|checkpoint| (seed, run, checkpoint)));
        }
        Ok(runs)
    }

    /// Statistics of every number that all runs have, in the order of the first run.
    pub fn statistics(&self) -> Vec<(String, Statistics)> {
        let Some((_, first)) = self.runs.first() else { return Vec::new() };
        let value = |run: &[(String, f64)], name: &str| run.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let all = |name: &str| self.runs.iter().map(|(_, run)| value(run, name)).collect::<Option<Vec<f64>>>();
        first.iter().filter_map(|(name, _)| Some((name.clone(), Statistics::of(&all(name)?)))).collect()
    }

    /// One line a number: mean with spread, smallest, largest, number of seeds.
    pub fn table(&self, title: &str) -> Table {
        let mut table = Table::new(title, &["quantity", "mean ± deviation", "min", "max", "seeds"]);
        for (name, s) in self.statistics() {
            let row = [Cell::Text(name), s.cell(), s.min.into(), s.max.into(), Cell::Number(s.count as f64)];
            table.row(row).expect("as many cells as columns");
        }
        table
    }

    /// `{"runs": [{"seed": .., NAME: .., ..}, ..], "statistics": {NAME: {"mean": .., ..}, ..}}`; numbers that are not
    /// finite are texts.
    pub fn json(&self) -> Value {
        let number = |value: f64| Cell::Number(value).json();
        let run = |(seed, values): &(u64, Vec<(String, f64)>)| {
            let mut object = Map::from_iter([("seed".to_owned(), json!(seed))]);
            object.extend(values.iter().map(|(name, value)| (name.clone(), number(*value))));
            object
        };
        let statistics = self.statistics().into_iter().map(|(name, s)| {
            let value = json!({
                "count": s.count,
                "mean": number(s.mean),
                "deviation": number(s.deviation),
                "min": number(s.min),
                "max": number(s.max),
            });
            (name, value)
        });
        json!({
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "statistics": statistics.collect::<Map<String, Value>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_lists_and_ranges() {
        let parse = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(parse("0,1,2").unwrap(), [0, 1, 2]);
        assert_eq!(parse("0..3").unwrap(), [0, 1, 2]);
        assert_eq!(parse("9, 4..6").unwrap(), [9, 4, 5]);
        for bad in ["", "a", "1,,2", "3..3", "5..2", "0..100000", "1,1", "0..3,2", "-1", "1.5"] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.starts_with(&format!("--seeds = {bad} is not allowed: must ")), "{message}");
        }
    }

    #[test]
    fn statistics_match_known_answers() {
        // Sum 40, squared deviations 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32; all numbers are exact in binary but the root.
        let s = Statistics::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(s, Statistics { count: 8, mean: 5.0, deviation: (32.0f64 / 7.0).sqrt(), min: 2.0, max: 9.0 });
        let s = Statistics::of(&[3.0]);
        assert_eq!((s.mean, s.deviation, s.min, s.max), (3.0, 0.0, 3.0, 3.0));
        let s = Statistics::of(&[1.0, f64::NAN, 0.0]);
        assert!([s.mean, s.deviation, s.min, s.max].iter().all(|v| v.is_nan()));
        assert!(Statistics::of(&[]).mean.is_nan());
    }

    #[test]
    fn every_seed_has_its_folder_and_the_numbers_are_gathered() {
        let dir = tempfile::tempdir().unwrap();
        let mut folders = Vec::new();
        let ensemble = Ensemble::gather(&"0..3".parse().unwrap(), dir.path(), |seed, folder| {
            folders.push(folder.strip_prefix(dir.path()).unwrap().to_owned());
            let odd = (seed == 1).then(|| ("odd".to_owned(), 1.0));
            Ok([("error".to_owned(), seed as f64)].into_iter().chain(odd).collect())
        })
        .unwrap();
        assert_eq!(folders, ["seed-0000", "seed-0001", "seed-0002"].map(PathBuf::from));
        for folder in folders {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        assert_eq!(Ensemble::seeds_in(dir.path()), [0, 1, 2]);
        assert!(Ensemble::seeds_in(&dir.path().join("elsewhere")).is_empty());
        // Squared deviations 1 + 0 + 1 over 2.
        let expected = Statistics { count: 3, mean: 1.0, deviation: 1.0, min: 0.0, max: 2.0 };
        assert_eq!(ensemble.statistics(), [("error".to_owned(), expected)]);
        let table = ensemble.table("").text();
        let last: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["error", "1", "±", "1", "0", "2", "3"]);
        let text = std::fs::read_to_string(dir.path().join("seeds.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["runs"][1], json!({ "seed": 1, "error": 1.0, "odd": 1.0 }));
        assert_eq!(json["statistics"]["error"]["deviation"], 1.0);
    }

    #[test]
    fn the_first_error_ends_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let mut count = 0;
        let result = Ensemble::gather(&"0..3".parse().unwrap(), dir.path(), |_, _| {
            count += 1;
            Err(Error::Interrupted { done: 1, total: 2, unit: "steps" })
        });
        assert!(matches!(result, Err(Error::Interrupted { .. })));
        assert_eq!(count, 1);
    }
}
