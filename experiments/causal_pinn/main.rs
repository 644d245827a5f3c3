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
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{self, Schedule, Stop};
use parseval::run::{self, Interrupt, Printer, RunDirectory, metrics, tensorboard};
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
    /// Prints and draws the errors of trained solutions, or evaluates one at points.
    Evaluate {
        #[command(flatten)]
        common: Common,
        /// Prints all derivatives at the point X,T; may be repeated.
        #[arg(long, value_name = "X,T", allow_hyphen_values = true)]
        at: Vec<String>,
    },
    /// Writes the metrics of each run as metrics.csv and as a TensorBoard event file, into its folder.
    Export {
        #[command(flatten)]
        common: Common,
    },
    /// Trains with one ingredient changed at a time, and prints what each is worth.
    Ablate {
        #[command(flatten)]
        common: Common,
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
struct Common {
    /// Configuration, TOML.
    config: PathBuf,
    /// Method.
    #[arg(long, value_enum, default_value = "default")]
    method: Method,
    /// Folder of the runs [default: runs/NAME, or runs/NAME-causal].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overrides a value, such as march.steps=100; may be repeated.
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
    fn open(common: &Common, print: Printer) -> Result<Self> {
        let config = Config::load(&common.config, &common.set)?;
        let method = common.method;
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
        let out = common.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("{}{suffix}", config.name)));
        let threads = common.threads.unwrap_or_else(run::cores);
        Ok(Self { config, method, out, threads, json: common.json, quiet: common.quiet })
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
        Command::Train { common, seeds, resume, max_wall } => {
            let limit = max_wall.as_deref().map(run::duration).transpose()?;
            train(&Experiment::open(common, print)?, &common.config, seeds, *resume, limit, print)
        }
        Command::Evaluate { common, at } => {
            let experiment = Experiment::open(common, print)?;
            match at.is_empty() {
                true => evaluate::evaluate(&experiment, print),
                false => evaluate::at(&experiment, at, print),
            }
        }
        Command::Export { common } => export(&Experiment::open(common, print)?, print),
        Command::Ablate { common, seeds } => ablate::ablate(&Experiment::open(common, print)?, seeds, print),
    })
}

fn export(experiment: &Experiment, print: Printer) -> Result<()> {
    for (_, run) in experiment.trained()? {
        let records = metrics::read(&run.metrics())?;
        let path = run.path().join("metrics.csv");
        std::fs::write(&path, metrics::to_csv(&records)).map_err(|e| Error::io(&path, e))?;
        print.line(path.display())?;
        print.line(tensorboard::export(&records, 0.0, &run.path().join("tensorboard"))?.display())?;
    }
    Ok(())
}

fn train(
    experiment: &Experiment,
    path: &Path,
    seeds: &Seeds,
    resume: bool,
    max_wall: Option<std::time::Duration>,
    print: Printer,
) -> Result<()> {
    let Experiment { config, method, out, threads, quiet, .. } = experiment;
    let (resolved, interrupt) = (experiment.resolved()?, Interrupt::install()?);
    let (reference, _) = evaluate::references(config)?;
    let name = if *method == Method::Causal { " --method causal" } else { "" };
    let options = training::Options {
        max_wall,
        continue_with: Some(format!("causal_pinn train {} --out {}{name} --resume", path.display(), out.display())),
        quiet: *quiet,
        ..Default::default()
    };
    let mut is_finished = true;
    Ensemble::gather(seeds, out, |seed, folder| {
        let run = match resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut training = train::Training::new(config, &reference, *method, seed, *threads)?;
        let steps = training.max_steps(config);
        let schedule = Schedule {
            steps,
            log_every: if *method == Method::Causal { 100 } else { 1 },
            validate_every: 0,
            checkpoint_every: config.checkpoint_every * if *method == Method::Causal { 100 } else { 1 },
            keep: 2,
        };
        let summary = training::train(&mut training, &run, &schedule, &options, &interrupt)?;
        if summary.stop == Stop::WallLimit {
            print.note(format_args!("seed {seed}: time is up after {} of {} steps", summary.step, summary.steps));
            is_finished = false;
            return Ok(vec![("seconds".to_owned(), summary.seconds)]);
        }
        let problem = match method {
            Method::Default => config.problem()?,
            Method::Causal => parseval::pinn::CausalMarch::<f64>::published(&config.problem()?),
        };
        train::save(&run, &problem, training.solution())?;
        numbers(&training, config, &reference, &summary)
    })?;
    if is_finished { evaluate::evaluate(experiment, print) } else { Ok(()) }
}

/// What a run achieved.
fn numbers(
    training: &train::Training,
    config: &Config,
    reference: &Reference,
    summary: &training::Summary,
) -> Result<Vec<(String, f64)>> {
    let (error, of_times) = reference.error(&reference.of(training.solution())?);
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
    numbers.push(("seconds".to_owned(), summary.seconds));
    Ok(numbers)
}
