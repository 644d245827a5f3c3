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

use clap::{Args, Parser, Subcommand};
use parseval::run::checkpoint::Checkpoint;
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{self, Stop};
use parseval::run::{self, Interrupt, Printer, RunDirectory, metrics, tensorboard};
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
            out: common.out.clone().unwrap_or_else(|| Path::new("runs").join(&config.name)),
            threads: common.threads.unwrap_or_else(run::cores),
            json: common.json,
            quiet: common.quiet,
            config,
        })
    }

    /// Folder and latest checkpoint (the best, if there was a validation) of every trained seed.
    pub fn trained(&self) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
        let resolved = self.config.to_toml()?;
        let mut runs = Vec::new();
        for seed in Ensemble::seeds_in(&self.out) {
            let run = RunDirectory::resume(&Ensemble::folder(&self.out, seed), &resolved, MAY_CHANGE)?;
            let checkpoints = run.checkpoints(&self.config.name, self.config.training.keep)?;
            let best = if self.config.data.valid > 0 { checkpoints.best()? } else { None };
            let checkpoint = if best.is_some() { best } else { checkpoints.latest()? };
            runs.extend(checkpoint.map(|checkpoint| (seed, run, checkpoint)));
        }
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
        Command::Train { common, seeds, resume, max_wall } => {
            let limit = max_wall.as_deref().map(run::duration).transpose()?;
            train(&Experiment::open(common)?, &common.config, seeds, *resume, limit, print)
        }
        Command::Evaluate { common } => evaluate::evaluate(&Experiment::open(common)?, print),
        Command::Export { common } => export(&Experiment::open(common)?, print),
        Command::Refine { common, tolerance, mode } => {
            let mut experiment = Experiment::open(common)?;
            if let Some(tolerance) = tolerance {
                experiment.config.refine.tolerance = *tolerance;
            }
            refine::refine(&experiment, *mode, print)
        }
    })
}

fn export(experiment: &Experiment, print: Printer) -> Result<()> {
    for (_, run, _) in experiment.trained()? {
        let records = metrics::read(&run.metrics())?;
        let path = run.path().join("metrics.csv");
        std::fs::write(&path, metrics::to_csv(&records)).map_err(|e| Error::io(&path, e))?;
        print.line(path.display())?;
        // The records count from the start of the run; the folder was made then.
        let created = std::fs::metadata(run.path().join("config.toml")).and_then(|m| m.modified());
        let started = created.ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let started = started.map_or(0.0, |t| t.as_secs_f64());
        print.line(tensorboard::export(&records, started, &run.path().join("tensorboard"))?.display())?;
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
    let Experiment { config, source, out, threads, json, quiet } = experiment;
    let (resolved, interrupt) = (config.to_toml()?, Interrupt::install()?);
    let continue_with = format!("sfno train {} --out {} --resume", path.display(), out.display());
    let options = training::Options {
        best: (config.data.valid > 0).then(|| "relative L2".to_owned()),
        max_wall,
        continue_with: Some(continue_with),
        quiet: *quiet,
    };
    let ensemble = Ensemble::gather(seeds, out, |seed, folder| {
        let run = match resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut method = train::Training::new(config, source, seed, *threads)?;
        let summary = training::train(&mut method, &run, &config.training, &options, &interrupt)?;
        let test = source.windows(config, &source.test)?;
        let data = &config.data;
        let prediction = train::predict(method.predictor(), test.input(), data.output_frames, data.batch)?;
        let (l2, h1) = windows::errors(source.grid(), prediction.view(), test.target())?;
        let mut numbers = vec![("test/relative L2".to_owned(), l2), ("test/relative H1".to_owned(), h1)];
        numbers.extend(summary.metrics.iter().filter(|(name, _)| name.ends_with("/loss")).cloned());
        numbers.push(("seconds".to_owned(), summary.seconds));
        numbers.push(("seconds a step".to_owned(), summary.seconds / summary.step.max(1) as f64));
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
