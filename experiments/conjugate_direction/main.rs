//! Poisson systems with obstacles and free surfaces: learned directions and learned cycles beside the classical solvers.
//!
//! ```text
//! cargo run --release --bin conjugate_direction -- train experiments/conjugate_direction/small.toml
//! cargo run --release --bin conjugate_direction -- solve experiments/conjugate_direction/small.toml --scene pillars
//! cargo run --release --bin conjugate_direction -- compare experiments/conjugate_direction/small.toml
//! cargo run --release --bin conjugate_direction -- plume experiments/conjugate_direction/small.toml
//! ```

mod compare;
mod config;
mod flow;
mod models;
mod plume;
mod solve;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use parseval::Result;
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{self, Stop};
use parseval::run::{self, Interrupt, Printer, RunDirectory};

use config::Config;

/// Trains networks and cycles for Poisson systems, solves with them, and compares them with the classical solvers.
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
    /// Trains a network, or the parts of a multigrid cycle, for each seed.
    Train {
        #[command(flatten)]
        common: Common,
        /// What is trained.
        #[arg(long, value_enum, default_value = "network")]
        model: Model,
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
    /// Solves one system and says how it went.
    Solve {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        case: solve::CaseArguments,
        /// Solver by name, as in the table of `compare`.
        #[arg(long, default_value = "multigrid")]
        solver: String,
        /// Writes the solution, `.npy`.
        #[arg(long, value_name = "FILE")]
        solution: Option<PathBuf>,
        /// Writes the matrix of the unknowns and the right-hand side beside it, Matrix Market `.mtx`.
        #[arg(long, value_name = "FILE")]
        matrix: Option<PathBuf>,
    },
    /// Prints and draws iterations, seconds and residuals of all solvers on all scenes and sizes.
    Compare {
        #[command(flatten)]
        common: Common,
    },
    /// A plume of smoke around a sphere, with its pressure from each solver in turn.
    Plume {
        #[command(flatten)]
        common: Common,
    },
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// Deep conjugate directions.
    Network,
    /// Linear parts of the multigrid cycle.
    Cycle,
}

impl Model {
    /// Name of the folder of its runs.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Cycle => "cycle",
        }
    }

    /// Values that may differ when a run is resumed: they do not change what is computed.
    pub fn may_change(self) -> &'static [&'static str] {
        match self {
            Self::Network => &["training.log_every", "training.keep", "cycle", "generations", "compare", "plume"],
            Self::Cycle => &[
                "generations.log_every",
                "generations.keep",
                "network",
                "start",
                "rate",
                "training",
                "validate",
                "compare",
                "plume",
            ],
        }
    }
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

/// A configuration with everything that the commands share.
pub struct Experiment {
    /// The configuration.
    pub config: Config,
    /// Folder of the runs.
    pub out: PathBuf,
    /// Threads.
    pub threads: usize,
    /// Results as JSON.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

impl Experiment {
    fn open(common: &Common) -> Result<Self> {
        let config = Config::load(&common.config, &common.set)?;
        Ok(Self {
            out: common.out.clone().unwrap_or_else(|| Path::new("runs").join(&config.name)),
            threads: common.threads.unwrap_or_else(run::cores),
            json: common.json,
            quiet: common.quiet,
            config,
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Train { common, model, seeds, resume, max_wall } => {
            let limit = max_wall.as_deref().map(run::duration).transpose()?;
            train(&Experiment::open(common)?, &common.config, *model, seeds, *resume, limit, print)
        }
        Command::Solve { common, case, solver, solution, matrix } => {
            solve::solve(&Experiment::open(common)?, case, solver, solution.as_deref(), matrix.as_deref(), print)
        }
        Command::Compare { common } => compare::compare(&Experiment::open(common)?, print),
        Command::Plume { common } => plume::plume(&Experiment::open(common)?, print),
    })
}

fn train(
    experiment: &Experiment,
    path: &Path,
    model: Model,
    seeds: &Seeds,
    resume: bool,
    max_wall: Option<Duration>,
    print: Printer,
) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = experiment;
    let (resolved, interrupt) = (config.to_toml()?, Interrupt::install()?);
    let name = model.folder();
    let continue_with =
        format!("conjugate_direction train {} --model {name} --out {} --resume", path.display(), out.display());
    let options = training::Options {
        best: Some(if model == Model::Network { "iterations" } else { "log10 residual an iteration" }.to_owned()),
        max_wall,
        continue_with: Some(continue_with),
        quiet: *quiet,
    };
    let ensemble = Ensemble::gather(seeds, &out.join(name), |seed, folder| {
        let run = match resume {
            true => RunDirectory::open(folder, &resolved, model.may_change())?,
            false => RunDirectory::create(folder, &resolved, model.may_change())?,
        };
        let mut method: Box<dyn training::Train> = match model {
            Model::Network => Box::new(train::NetworkTraining::new(config, seed, *threads)?),
            Model::Cycle => Box::new(train::CycleTraining::new(config, seed, *threads)?),
        };
        let schedule = if model == Model::Network { &config.training } else { &config.generations };
        let summary = training::train(&mut *method, &run, schedule, &options, &interrupt)?;
        let mut numbers = summary.metrics.clone();
        numbers.push(("seconds".to_owned(), summary.seconds));
        if summary.stop == Stop::WallLimit {
            print.note(format_args!("seed {seed}: time is up after {} of {} steps", summary.step, summary.steps));
        }
        Ok(numbers)
    })?;
    match json {
        true => print.line(ensemble.json()),
        false => print.line(ensemble.table(&config.name).text()),
    }
}
