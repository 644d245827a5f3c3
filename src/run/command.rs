//! The command line that all programs of trainings share: arguments, one run a seed, the export of metrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::directory::RunDirectory;
use super::environment::cores;
use super::exit::Printer;
use super::seeds::{Ensemble, Seeds};
use super::signal::Interrupt;
use super::training::{self, Options, Schedule, Stop, Summary, Train};
use super::wall::duration;
use crate::error::Result;

/// What every command on a configuration takes.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Configuration, TOML.
    pub config: PathBuf,
    /// Folder of the runs [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Overrides a value, such as training.steps=100; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Threads [default: all cores]; the result does not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints results as JSON.
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error.
    #[arg(short, long)]
    pub quiet: bool,
}

impl Common {
    /// Folder of the runs of an experiment: `--out`, or `runs/NAME`.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// What every training takes.
#[derive(Args, Clone, Debug)]
pub struct Request {
    /// Seeds, such as 0,1,2 or 0..3.
    #[arg(long, default_value = "0")]
    pub seeds: Seeds,
    /// Goes on with runs that are there.
    #[arg(long)]
    pub resume: bool,
    /// Stops and saves after this time, such as 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_wall: Option<Duration>,
}

/// Trainings of one configuration.
pub struct Trainings<'a> {
    /// How they were asked for.
    pub request: &'a Request,
    /// Folder of the runs.
    pub out: &'a Path,
    /// The resolved configuration.
    pub config: &'a str,
    /// Its values that may differ when a run is resumed.
    pub may_change: &'a [&'a str],
    /// How long, and how often what.
    pub schedule: &'a Schedule,
    /// Name of the validation error by which the best checkpoint is chosen; see [`Options::best`].
    pub best: Option<&'a str>,
    /// The command that was given, without `--resume`.
    pub command: &'a str,
    /// No progress on standard error.
    pub quiet: bool,
}

impl Trainings<'_> {
    /// Makes and trains one method for each seed, in folders as [`Ensemble::gather`] says; `numbers` tells what a run
    /// achieved, from the trained method, its folder and its summary. `seconds` and `seconds a step` are added.
    ///
    /// # Errors
    ///
    /// Those of [`RunDirectory::open`] and [`RunDirectory::create`], of [`training::train`] and of both functions.
    pub fn run<M: Train>(
        &self,
        interrupt: &Interrupt,
        print: Printer,
        mut method: impl FnMut(u64) -> Result<M>,
        mut numbers: impl FnMut(&mut M, &RunDirectory, &Summary) -> Result<Vec<(String, f64)>>,
    ) -> Result<Ensemble> {
        let options = Options {
            best: self.best.map(str::to_owned),
            max_wall: self.request.max_wall,
            continue_with: Some(format!("{} --resume", self.command)),
            quiet: self.quiet,
        };
        Ensemble::gather(&self.request.seeds, self.out, |seed, folder| {
            // First of all, so that a method that cannot be made leaves no folder.
            let mut method = method(seed)?;
            let run = match self.request.resume {
                true => RunDirectory::open(folder, self.config, self.may_change)?,
                false => RunDirectory::create(folder, self.config, self.may_change)?,
            };
            let summary = training::train(&mut method, &run, self.schedule, &options, interrupt)?;
            if summary.stop == Stop::WallLimit {
                print.note(format_args!("seed {seed}: time is up after {} of {} steps", summary.step, summary.steps));
            }
            let mut numbers = numbers(&mut method, &run, &summary)?;
            numbers.push(("seconds".to_owned(), summary.seconds));
            numbers.push(("seconds a step".to_owned(), summary.seconds / summary.step.max(1) as f64));
            Ok(numbers)
        })
    }
}

/// Prints mean and spread of the seeds, as a table or as JSON.
///
/// # Errors
///
/// Those of [`Printer::line`].
pub fn print_ensemble(ensemble: &Ensemble, title: &str, json: bool, print: Printer) -> Result<()> {
    match json {
        true => print.line(ensemble.json()),
        false => print.line(ensemble.table(title).text()),
    }
}

/// Writes the metrics of runs as files of other programs ([`RunDirectory::export`]) and prints the paths.
///
/// # Errors
///
/// Those of [`RunDirectory::export`] and [`Printer::line`].
pub fn export<'a>(runs: impl IntoIterator<Item = &'a RunDirectory>, print: Printer) -> Result<()> {
    for run in runs {
        for path in run.export()? {
            print.line(path.display())?;
        }
    }
    Ok(())
}
