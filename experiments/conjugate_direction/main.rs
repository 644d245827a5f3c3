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

use clap::{Parser, Subcommand};
use parseval::Result;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::training::Summary;
use parseval::run::{self, Interrupt, Printer};

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
        #[command(flatten)]
        request: Request,
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
            out: common.folder(&config.name),
            threads: common.threads(),
            json: common.json,
            quiet: common.quiet,
            config,
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Train { common, model, request } => {
            train(&Experiment::open(common)?, &common.config, *model, request, print)
        }
        Command::Solve { common, case, solver, solution, matrix } => {
            solve::solve(&Experiment::open(common)?, case, solver, solution.as_deref(), matrix.as_deref(), print)
        }
        Command::Compare { common } => compare::compare(&Experiment::open(common)?, print),
        Command::Plume { common } => plume::plume(&Experiment::open(common)?, print),
    })
}

fn train(experiment: &Experiment, path: &Path, model: Model, request: &Request, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = experiment;
    let name = model.folder();
    let (schedule, best) = match model {
        Model::Network => (&config.training, "iterations"),
        Model::Cycle => (&config.generations, "log10 residual an iteration"),
    };
    let trainings = Trainings {
        request,
        out: &out.join(name),
        config: &config.to_toml()?,
        may_change: model.may_change(),
        schedule,
        best: Some(best),
        command: &format!("conjugate_direction train {} --model {name} --out {}", path.display(), out.display()),
        quiet: *quiet,
    };
    let interrupt = Interrupt::install()?;
    let achieved = |summary: &Summary| Ok(summary.metrics.clone());
    let ensemble = match model {
        Model::Network => {
            let method = |seed| train::NetworkTraining::new(config, seed, *threads);
            trainings.run(&interrupt, print, method, |_, _, summary| achieved(summary))
        }
        Model::Cycle => {
            let method = |seed| train::CycleTraining::new(config, seed, *threads);
            trainings.run(&interrupt, print, method, |_, _, summary| achieved(summary))
        }
    }?;
    command::print_ensemble(&ensemble, &config.name, *json, print)
}
