//! One-dimensional cases: Kuramoto-Sivashinsky and Burgers.

mod config;
mod data;
mod evaluate;
mod methods;
mod training;

use parseval::run::seeds::Ensemble;
use parseval::run::training::{self as training_loop, Stop};
use parseval::run::{Interrupt, RunDirectory};
use parseval::{Error, Result};

use crate::{Call, Request};
use config::{Config, MAY_CHANGE};
use data::Sets;
pub use evaluate::evaluate;
use training::Training;

/// Trains one model for each seed.
pub fn train(call: &Call, request: &Request) -> Result<()> {
    let config = Config::load(&call.config, &call.set)?;
    let (resolved, interrupt, out) = (config.to_toml()?, Interrupt::install()?, call.folder(&config.name));
    let sets = Sets::for_training(&config, call.threads)?;
    let command = format!("temporal_stencil train {} --out {} --resume", call.config.display(), out.display());
    let options = training_loop::Options {
        best: (config.data.valid > 0).then(|| "lost".to_owned()),
        max_wall: request.max_wall,
        continue_with: Some(command),
        quiet: call.quiet,
    };
    let ensemble = Ensemble::gather(request.seeds, &out, |seed, folder| {
        let run = match request.resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut method = Training::new(&config, &sets, seed, call.threads)?;
        let summary = training_loop::train(&mut method, &run, &config.training, &options, &interrupt)?;
        if summary.stop == Stop::WallLimit {
            let (step, steps) = (summary.step, summary.steps);
            call.print.note(format_args!("seed {seed}: time is up after {step} of {steps} steps"));
        }
        let mut numbers = summary.metrics.clone();
        numbers.push(("seconds".to_owned(), summary.seconds));
        numbers.push(("seconds a step".to_owned(), summary.seconds / summary.step.max(1) as f64));
        Ok(numbers)
    })?;
    match call.json {
        true => call.print.line(ensemble.json()),
        false => call.print.line(ensemble.table(&config.name).text()),
    }
}

/// Runs with their checkpoints: the best if there was a validation, else the latest.
fn trained(call: &Call, config: &Config) -> Result<Vec<(u64, RunDirectory, parseval::run::checkpoint::Checkpoint)>> {
    let (out, resolved) = (call.folder(&config.name), config.to_toml()?);
    let mut runs = Vec::new();
    for seed in Ensemble::seeds_in(&out) {
        let run = RunDirectory::resume(&Ensemble::folder(&out, seed), &resolved, MAY_CHANGE)?;
        let checkpoints = run.checkpoints(&config.name, config.training.keep)?;
        let best = if config.data.valid > 0 { checkpoints.best()? } else { None };
        let checkpoint = if best.is_some() { best } else { checkpoints.latest()? };
        runs.extend(checkpoint.map(|checkpoint| (seed, run, checkpoint)));
    }
    match runs.is_empty() {
        true => Err(Error::parameter("--out", out.display(), "must hold trained models: run `train` first")),
        false => Ok(runs),
    }
}
