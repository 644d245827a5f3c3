//! Kolmogorov flow: learned interpolation on coarse staggered cells.

mod classical;
mod config;
mod data;
mod evaluate;
mod train;

use std::path::PathBuf;

use parseval::run::checkpoint::Checkpoint;
use parseval::run::seeds::Ensemble;
use parseval::run::training::{self, Stop};
use parseval::run::{Interrupt, RunDirectory};
use parseval::{Error, Result};

use crate::{Call, Request};
use config::{Config, MAY_CHANGE};

/// A configuration with everything that the commands share.
struct Experiment {
    config: Config,
    /// Folder of the runs.
    out: PathBuf,
    threads: usize,
    /// Results as JSON.
    json: bool,
}

impl Experiment {
    fn open(call: &Call) -> Result<Self> {
        let config = Config::load(&call.config, &call.set)?;
        Ok(Self { out: call.folder(&config.name), threads: call.threads, json: call.json, config })
    }

    /// Folder and best checkpoint (the latest, if there was no validation) of every trained seed.
    fn trained(&self) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
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
            true => Err(Error::parameter("--out", self.out.display(), "must hold trained models: run `train` first")),
            false => Ok(runs),
        }
    }
}

/// Makes the trajectories.
pub fn make_data(call: &Call) -> Result<()> {
    let config = Config::load(&call.config, &call.set)?;
    data::make(&config, call.threads, call.quiet)?;
    call.print.line(config.data.path.display())
}

/// Trains one model for each seed.
pub fn train(call: &Call, request: &Request) -> Result<()> {
    let Experiment { config, out, .. } = Experiment::open(call)?;
    let data = data::read(&config)?;
    let (resolved, interrupt) = (config.to_toml()?, Interrupt::install()?);
    let (file, folder) = (call.config.display(), out.display());
    let options = training::Options {
        best: (config.data.valid > 0).then(|| "decorrelation".to_owned()),
        max_wall: request.max_wall,
        continue_with: Some(format!("temporal_stencil train {file} --out {folder} --resume")),
        quiet: call.quiet,
    };
    let ensemble = Ensemble::gather(request.seeds, &out, |seed, folder| {
        let run = match request.resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut method = train::Training::new(&config, &data, seed, call.threads)?;
        let summary = training::train(&mut method, &run, &config.training, &options, &interrupt)?;
        let (model, tape) = method.parts();
        let mut numbers = evaluate::horizons(&config, &data, model, tape)?;
        numbers.push(("seconds".to_owned(), summary.seconds));
        numbers.push(("seconds a step".to_owned(), summary.seconds / summary.step.max(1) as f64));
        if summary.stop == Stop::WallLimit {
            let (step, steps) = (summary.step, summary.steps);
            call.print.note(format_args!("seed {seed}: time is up after {step} of {steps} steps"));
        }
        Ok(numbers)
    })?;
    match call.json {
        true => call.print.line(ensemble.json()),
        false => call.print.line(ensemble.table(&config.name).text()),
    }
}

/// Prints and draws correlation times, spectra and costs beside classical solvers.
pub fn evaluate(call: &Call) -> Result<()> {
    evaluate::evaluate(&Experiment::open(call)?, call.print)
}
