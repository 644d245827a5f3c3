//! Temporal stencil models: coarse solvers with learned fluxes, measured beside the classical ones.
//!
//! ```text
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/ks_32_history.toml --seeds 0..3
//! cargo run --release --bin temporal_stencil -- evaluate experiments/temporal_stencil/ks_32_history.toml
//! cargo run --release --bin temporal_stencil -- data experiments/temporal_stencil/li_16.toml
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/li_16.toml
//! cargo run --release --bin temporal_stencil -- evaluate experiments/temporal_stencil/li_16.toml
//! ```
//!
//! `case = "line"` (one dimension) or `case = "plane"` (two) heads a configuration.

mod line;
mod plane;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use parseval::run::seeds::Seeds;
use parseval::run::{self, Printer};
use parseval::{Error, Result};

/// Trains temporal stencil models and measures them beside the classical solvers.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 fine, 1 the run failed, 2 bad input, 130 interrupted (go on with --resume)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the trajectories of a plane case; a line case makes its own.
    Data {
        #[command(flatten)]
        common: Common,
    },
    /// Trains one model for each seed.
    Train {
        #[command(flatten)]
        common: Common,
        /// Seeds, such as 0,1,2 or 0..3.
        #[arg(long, default_value = "0")]
        seeds: Seeds,
        /// Goes on with runs that are there.
        #[arg(long)]
        resume: bool,
        /// Stops and saves after this time, such as 1h30m.
        #[arg(long, value_name = "TIME")]
        max_wall: Option<String>,
    },
    /// Prints and draws how long the trained models and the classical solvers follow the truth, and at what cost.
    Evaluate {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// Configuration, TOML.
    config: PathBuf,
    /// Folder of the runs [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overrides a value, such as training.steps=100; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads [default: all cores]; the result does not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints results as JSON.
    #[arg(long)]
    json: bool,
    /// No progress on standard error.
    #[arg(short, long)]
    quiet: bool,
}

/// What every kind of case needs to know of the command.
pub struct Call {
    /// The configuration's file.
    pub config: PathBuf,
    /// Values that replace those of the file.
    pub set: Vec<String>,
    /// Folder of the runs, if it was given.
    pub out: Option<PathBuf>,
    /// Threads.
    pub threads: usize,
    /// Results as JSON.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// Where results go.
    pub print: Printer,
}

impl Call {
    fn new(common: &Common, print: Printer) -> Self {
        Self {
            config: common.config.clone(),
            set: common.set.clone(),
            out: common.out.clone(),
            threads: common.threads.unwrap_or_else(run::cores),
            json: common.json,
            quiet: common.quiet,
            print,
        }
    }

    /// Folder of the runs of an experiment.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }
}

/// How a training was asked for.
pub struct Request<'a> {
    /// Seeds.
    pub seeds: &'a Seeds,
    /// Whether to go on with runs that are there.
    pub resume: bool,
    /// Time after which to stop and save.
    pub max_wall: Option<Duration>,
}

/// The kind of case that a configuration names: `case = "line"`.
fn case_of(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::format(path, e.message()))?;
    match table.get("case").and_then(toml::Value::as_str) {
        Some(case) => Ok(case.to_owned()),
        None => Err(Error::format(path, "case: must be given; known cases: line, plane")),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| {
        let (Command::Data { common } | Command::Train { common, .. } | Command::Evaluate { common }) = &cli.command;
        let call = Call::new(common, print);
        let case = case_of(&call.config)?;
        match (case.as_str(), &cli.command) {
            ("line", Command::Data { .. }) => {
                Err(Error::parameter("case", case, "makes its own data: `train` at once"))
            }
            ("plane", Command::Data { .. }) => plane::make_data(&call),
            (_, Command::Train { seeds, resume, max_wall, .. }) => {
                let max_wall = max_wall.as_deref().map(run::duration).transpose()?;
                let request = Request { seeds, resume: *resume, max_wall };
                match case.as_str() {
                    "line" => line::train(&call, &request),
                    "plane" => plane::train(&call, &request),
                    _ => Err(unknown(&case)),
                }
            }
            ("line", Command::Evaluate { .. }) => line::evaluate(&call),
            ("plane", Command::Evaluate { .. }) => plane::evaluate(&call),
            _ => Err(unknown(&case)),
        }
    })
}

fn unknown(case: &str) -> Error {
    Error::parameter("case", case, "must be one of: line, plane")
}
