//! Physics-informed networks on evolution equations, beside the classical solver.
//!
//! ```text
//! cargo run --release --bin causal_pinn -- train experiments/causal_pinn/burgers_0.01.toml --seeds 0..3
//! cargo run --release --bin causal_pinn -- train experiments/causal_pinn/burgers_0.01.toml --method causal
//! cargo run --release --bin causal_pinn -- evaluate experiments/causal_pinn/burgers_0.01.toml --at 0.25,0.5
//! cargo run --release --bin causal_pinn -- ablate experiments/causal_pinn/small_burgers.toml
//! ```

mod ablate;
mod config;
mod evaluate;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use parseval::pinn::{NOTICE, Reference};
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{Schedule, Stop, Summary};
use parseval::run::{self, Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

use config::{Config, MAY_CHANGE};

/// Trains physics-informed networks, and measures them beside the classical solver.
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
    /// Trains a solution for each seed, and prints its error beside that of the classical solver.
    Train {
        #[command(flatten)]
        arguments: Arguments,
        #[command(flatten)]
        request: Request,
    },
    /// Prints and draws the errors of trained solutions, or evaluates one at points.
    Evaluate {
        #[command(flatten)]
        arguments: Arguments,
        /// Prints all derivatives at the point X,T, or X,Y,T in the plane; may be repeated.
        #[arg(long, value_name = "X,T", allow_hyphen_values = true)]
        at: Vec<String>,
    },
    /// Writes the metrics of each run as metrics.csv and as a TensorBoard event file, into its folder.
    Export {
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Trains with one ingredient changed at a time, and prints what each is worth.
    Ablate {
        #[command(flatten)]
        arguments: Arguments,
        /// Seeds, such as 0,1,2 or 0..3.
        #[arg(long, default_value = "0..3")]
        seeds: Seeds,
    },
}

/// How a solution is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Hard initial state, lifting, windows, Gauss-Newton in double precision.
    Default,
    /// The published one: exponential causal weights, penalty for the initial state, Adam.
    Causal,
}

#[derive(Args)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Method; the runs of `causal` are in runs/NAME-causal by default.
    #[arg(long, value_enum, default_value = "default")]
    method: Method,
}

/// A configuration with everything that the commands share.
pub struct Experiment {
    /// The configuration.
    pub config: Config,
    /// Method.
    pub method: Method,
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
    fn open(&Arguments { ref common, method }: &Arguments, print: Printer) -> Result<Self> {
        let config = Config::load(&common.config, &common.set)?;
        let suffix = match method {
            Method::Default => "",
            Method::Causal => {
                print.note(NOTICE);
                "-causal"
            }
        };
        if method == Method::Causal && config.inverse.is_some() {
            return Err(Error::parameter("--method", "causal", "must be default for an inverse problem"));
        }
        if method == Method::Causal && config.flow()?.is_some() {
            return Err(Error::parameter("--method", "causal", "must be default for navier_stokes"));
        }
        let out = common.folder(&format!("{}{suffix}", config.name));
        Ok(Self { config, method, out, threads: common.threads(), json: common.json, quiet: common.quiet })
    }

    /// The resolved configuration.
    pub fn resolved(&self) -> Result<String> {
        Ok(format!("# method: {:?}\n{}", self.method, self.config.to_toml()?))
    }

    /// Folder of every trained seed.
    pub fn trained(&self) -> Result<Vec<(u64, RunDirectory)>> {
        let resolved = self.resolved()?;
        let runs = Ensemble::seeds_in(&self.out)
            .into_iter()
            .map(|seed| Ok((seed, RunDirectory::resume(&Ensemble::folder(&self.out, seed), &resolved, MAY_CHANGE)?)));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        match runs.is_empty() {
            true => Err(Error::parameter("--out", self.out.display(), "must hold runs: `causal_pinn train` first")),
            false => Ok(runs),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Train { arguments, request } => {
            train(&Experiment::open(arguments, print)?, &arguments.common.config, request, print)
        }
        Command::Evaluate { arguments, at } => {
            let experiment = Experiment::open(arguments, print)?;
            match at.is_empty() {
                true => evaluate::evaluate(&experiment, print),
                false => evaluate::at(&experiment, at, print),
            }
        }
        Command::Export { arguments } => {
            command::export(Experiment::open(arguments, print)?.trained()?.iter().map(|(_, run)| run), print)
        }
        Command::Ablate { arguments, seeds } => ablate::ablate(&Experiment::open(arguments, print)?, seeds, print),
    })
}

fn train(experiment: &Experiment, path: &Path, request: &Request, print: Printer) -> Result<()> {
    let Experiment { config, method, out, threads, quiet, .. } = experiment;
    let (reference, _) = evaluate::references(config)?;
    let name = if *method == Method::Causal { " --method causal" } else { "" };
    // A step of the published method is a step of Adam.
    let every = if *method == Method::Causal { 100 } else { 1 };
    let schedule = Schedule {
        steps: train::max_steps(config, *method),
        log_every: every,
        validate_every: 0,
        checkpoint_every: every * config.checkpoint_every,
        keep: 2,
    };
    let trainings = Trainings {
        request,
        out,
        config: &experiment.resolved()?,
        may_change: MAY_CHANGE,
        schedule: &schedule,
        best: None,
        command: &format!("causal_pinn train {} --out {}{name}", path.display(), out.display()),
        quiet: *quiet,
    };
    let mut is_finished = true;
    let new = |seed| train::Training::new(config, &reference, *method, seed, *threads);
    trainings.run(&Interrupt::install()?, print, new, |training, run, summary| {
        if summary.stop == Stop::WallLimit {
            is_finished = false;
            return Ok(Vec::new());
        }
        train::save(run, &training.solved())?;
        numbers(training, config, &reference, summary)
    })?;
    if is_finished { evaluate::evaluate(experiment, print) } else { Ok(()) }
}

/// What a run achieved.
fn numbers(
    training: &train::Training,
    config: &Config,
    reference: &Reference,
    summary: &Summary,
) -> Result<Vec<(String, f64)>> {
    let (error, of_times) = reference.error(&training.solved().at(reference)?);
    let mut numbers = vec![
        ("relative L2".to_owned(), error),
        ("relative L2 at the end".to_owned(), of_times.last().copied().unwrap_or(f64::NAN)),
    ];
    for (name, value, deviation) in training.identified(config) {
        numbers.push((name.clone(), value));
        numbers.push((format!("{name}, standard deviation"), deviation));
    }
    numbers.extend(summary.metrics.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("train/")?;
        ["held-out residual", "processor seconds"].contains(&name).then(|| (name.to_owned(), *value))
    }));
    Ok(numbers)
}
