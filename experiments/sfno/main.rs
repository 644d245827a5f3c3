//! Fourier neural operators on periodic flows: trained, measured beside the classical solver, and repaired.
//!
//! ```text
//! cargo run --release --bin simulate -- datasets/nsf_32.toml
//! cargo run --release --bin sfno -- train experiments/sfno/small.toml --seeds 0..3
//! cargo run --release --bin sfno -- evaluate experiments/sfno/small.toml
//! cargo run --release --bin sfno -- refine experiments/sfno/small.toml --tolerance 1e-4
//! ```

mod config;
mod evaluate;
mod refine;
mod train;
mod windows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parseval::run::checkpoint::Checkpoint;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::Ensemble;
use parseval::run::{self, Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

use config::{Config, MAY_CHANGE};
use windows::Source;

/// Trains Fourier neural operators, measures them beside the classical solver, and repairs their predictions.
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
    /// Trains one model for each seed.
    Train {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        request: Request,
    },
    /// Prints and draws errors and costs of the trained models beside the classical solver.
    Evaluate {
        #[command(flatten)]
        common: Common,
    },
    /// Writes the metrics of each run as metrics.csv and as a TensorBoard event file, into its folder.
    Export {
        #[command(flatten)]
        common: Common,
    },
    /// Estimates the error of each prediction without the truth, and repairs those that fail.
    Refine {
        #[command(flatten)]
        common: Common,
        /// Relative L2 error that is good enough, instead of that of the configuration.
        #[arg(long)]
        tolerance: Option<f64>,
        /// How predictions are repaired.
        #[arg(long, value_enum, default_value = "march")]
        mode: refine::Mode,
    },
}

/// A configuration with everything that the commands share.
pub struct Experiment {
    /// The configuration.
    pub config: Config,
    /// The data set.
    pub source: Source,
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
            source: Source::open(&config)?,
            out: common.folder(&config.name),
            threads: common.threads(),
            json: common.json,
            quiet: common.quiet,
            config,
        })
    }

    /// Folder and latest checkpoint (the best, if there was a validation) of every trained seed.
    pub fn trained(&self) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
        let (config, by_validation) = (&self.config, self.config.data.valid > 0);
        let model = (config.name.as_str(), config.training.keep);
        let runs = Ensemble::trained(&self.out, &config.to_toml()?, MAY_CHANGE, model, by_validation)?;
        match runs.is_empty() {
            true => {
                Err(Error::parameter("--out", self.out.display(), "must hold trained models: run `sfno train` first"))
            }
            false => Ok(runs),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Train { common, request } => train(&Experiment::open(common)?, &common.config, request, print),
        Command::Evaluate { common } => evaluate::evaluate(&Experiment::open(common)?, print),
        Command::Export { common } => {
            command::export(Experiment::open(common)?.trained()?.iter().map(|(_, run, _)| run), print)
        }
        Command::Refine { common, tolerance, mode } => {
            let mut experiment = Experiment::open(common)?;
            if let Some(tolerance) = tolerance {
                experiment.config.refine.tolerance = *tolerance;
            }
            refine::refine(&experiment, *mode, print)
        }
    })
}

fn train(experiment: &Experiment, path: &Path, request: &Request, print: Printer) -> Result<()> {
    let Experiment { config, source, out, threads, json, quiet } = experiment;
    let trainings = Trainings {
        request,
        out,
        config: &config.to_toml()?,
        may_change: MAY_CHANGE,
        schedule: &config.training,
        best: (config.data.valid > 0).then_some("relative L2"),
        command: &format!("sfno train {} --out {}", path.display(), out.display()),
        quiet: *quiet,
    };
    let method = |seed| train::Training::new(config, source, seed, *threads);
    let ensemble = trainings.run(&Interrupt::install()?, print, method, |method, _, summary| {
        let test = source.windows(config, &source.test)?;
        let data = &config.data;
        let prediction = train::predict(method.predictor(), test.input(), data.output_frames, data.batch)?;
        let (l2, h1) = windows::errors(source.grid(), prediction.view(), test.target())?;
        let mut numbers = vec![("test/relative L2".to_owned(), l2), ("test/relative H1".to_owned(), h1)];
        numbers.extend(summary.metrics.iter().filter(|(name, _)| name.ends_with("/loss")).cloned());
        Ok(numbers)
    })?;
    command::print_ensemble(&ensemble, &config.name, *json, print)
}
