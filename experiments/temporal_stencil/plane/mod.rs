//! Kolmogorov flow: learned interpolation on coarse staggered cells, and learned corrections of coarse solvers.

mod classical;
mod config;
mod data;
mod evaluate;
mod train;

use std::path::PathBuf;

use parseval::run::checkpoint::Checkpoint;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::Ensemble;
use parseval::run::{Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

use config::{Config, MAY_CHANGE};

/// A configuration with everything that the commands share.
struct Experiment {
    config: Config,
    /// Folder of the runs.
    out: PathBuf,
    threads: usize,
    /// Results as JSON.
    json: bool,
    /// No progress.
    quiet: bool,
}

impl Experiment {
    fn open(common: &Common) -> Result<Self> {
        let config = Config::load(&common.config, &common.set)?;
        let (out, threads) = (common.folder(&config.name), common.threads());
        Ok(Self { config, out, threads, json: common.json, quiet: common.quiet })
    }

    /// Folder and best checkpoint (the latest, if there was no validation) of every trained seed.
    fn trained(&self) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
        let (config, by_validation) = (&self.config, self.config.data.valid > 0);
        let model = (config.name.as_str(), config.training.keep);
        let runs = Ensemble::trained(&self.out, &config.to_toml()?, MAY_CHANGE, model, by_validation)?;
        match runs.is_empty() {
            true => Err(Error::parameter("--out", self.out.display(), "must hold trained models: run `train` first")),
            false => Ok(runs),
        }
    }
}

/// Makes the trajectories.
pub fn make_data(common: &Common, print: Printer) -> Result<()> {
    let config = Config::load(&common.config, &common.set)?;
    for note in data::make(&config, common.threads(), common.quiet)? {
        print.note(note);
    }
    print.line(config.data.path.display())
}

/// Trains one model for each seed.
pub fn train(common: &Common, request: &Request, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = Experiment::open(common)?;
    let data = data::read(&config)?;
    let trainings = Trainings {
        request,
        out: &out,
        config: &config.to_toml()?,
        may_change: MAY_CHANGE,
        schedule: &config.training,
        best: (config.data.valid > 0).then_some("decorrelation"),
        command: &format!("temporal_stencil train {} --out {}", common.config.display(), out.display()),
        quiet,
    };
    let method = |seed| train::Training::new(&config, &data, seed, threads);
    let ensemble = trainings.run(&Interrupt::install()?, print, method, |method, _, _| {
        evaluate::horizons(&config, &data.test, method.parts())
    })?;
    command::print_ensemble(&ensemble, &config.name, json, print)
}

/// Prints and draws correlation times, spectra and costs beside classical solvers.
pub fn evaluate(common: &Common, print: Printer) -> Result<()> {
    evaluate::evaluate(&Experiment::open(common)?, print)
}
