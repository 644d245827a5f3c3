//! Learned stencils in coarse finite-volume solvers: data, training, and evaluation beside classical solvers.
//!
//! ```text
//! cargo run --release --bin temporal_stencil -- data experiments/temporal_stencil/li_16.toml
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/li_16.toml --seeds 0..3
//! cargo run --release --bin temporal_stencil -- evaluate experiments/temporal_stencil/li_16.toml
//! ```

mod plane;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use parseval::run::checkpoint::Checkpoint;
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{self, Stop};
use parseval::run::{self, Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

use plane::config::{Config, MAY_CHANGE};

/// Trains learned stencils and measures them beside classical solvers.
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
    /// Makes the trajectories of a configuration.
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
    /// Prints and draws correlation times, spectra and costs of the trained models beside classical solvers.
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

    /// Folder and best checkpoint (the latest, if there was no validation) of every trained seed.
    pub fn trained(&self) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
        let resolved = self.config.to_toml()?;
        let mut runs = Vec::new();
        let folders = std::fs::read_dir(&self.out).map_err(|e| Error::io(&self.out, e))?;
        let mut seeds: Vec<u64> =
            folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("seed-")?.parse().ok()).collect();
        seeds.sort_unstable();
        for seed in seeds {
            let run = RunDirectory::resume(&Ensemble::folder(&self.out, seed), &resolved, MAY_CHANGE)?;
            let checkpoints = run.checkpoints(&self.config.name, self.config.training.keep)?;
            let best = if self.config.data.valid > 0 { checkpoints.best()? } else { None };
            let checkpoint = if best.is_some() { best } else { checkpoints.latest()? };
            runs.extend(checkpoint.map(|checkpoint| (seed, run, checkpoint)));
        }
        match runs.is_empty() {
            true => Err(Error::parameter("--out", self.out.display(), "must hold trained models: run `train` first")),
            false => Ok(runs),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Data { common } => {
            let experiment = Experiment::open(common)?;
            plane::data::make(&experiment.config, experiment.threads, experiment.quiet)?;
            print.line(experiment.config.data.path.display())
        }
        Command::Train { common, seeds, resume, max_wall } => {
            let limit = max_wall.as_deref().map(run::duration).transpose()?;
            train(&Experiment::open(common)?, &common.config, seeds, *resume, limit, print)
        }
        Command::Evaluate { common } => plane::evaluate::evaluate(&Experiment::open(common)?, print),
    })
}

fn train(
    experiment: &Experiment,
    path: &Path,
    seeds: &Seeds,
    resume: bool,
    max_wall: Option<std::time::Duration>,
    print: Printer,
) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = experiment;
    let data = plane::data::read(config)?;
    let (resolved, interrupt) = (config.to_toml()?, Interrupt::install()?);
    let options = training::Options {
        best: (config.data.valid > 0).then(|| "decorrelation".to_owned()),
        max_wall,
        continue_with: Some(format!("temporal_stencil train {} --out {} --resume", path.display(), out.display())),
        quiet: *quiet,
    };
    let ensemble = Ensemble::gather(seeds, out, |seed, folder| {
        let run = match resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut method = plane::train::Training::new(config, &data, seed, *threads)?;
        let summary = training::train(&mut method, &run, &config.training, &options, &interrupt)?;
        let (model, tape) = method.parts();
        let mut numbers = plane::evaluate::horizons(config, &data, model, tape)?;
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
