//! One-dimensional cases: Kuramoto-Sivashinsky and Burgers.

mod config;
mod data;
mod evaluate;
mod methods;
mod training;

use parseval::run::checkpoint::Checkpoint;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::Ensemble;
use parseval::run::{Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

use config::{Config, MAY_CHANGE};
use data::Sets;
pub use evaluate::evaluate;
use training::Training;

/// Trains one model for each seed.
pub fn train(common: &Common, request: &Request, print: Printer) -> Result<()> {
    let config = Config::load(&common.config, &common.set)?;
    let (out, threads) = (common.folder(&config.name), common.threads());
    let files = config.files()?;
    files.iter().flat_map(|files| files.notes()).for_each(|note| print.note(note));
    let sets = Sets::for_training(&config, threads)?;
    let trainings = Trainings {
        request,
        out: &out,
        config: &config.to_toml()?,
        may_change: MAY_CHANGE,
        schedule: &config.training,
        best: (config.data.valid > 0).then_some("lost"),
        command: &format!("temporal_stencil train {} --out {}", common.config.display(), out.display()),
        quiet: common.quiet,
    };
    let method = |seed| Training::new(&config, &sets, seed, threads);
    let ensemble = trainings.run(&Interrupt::install()?, print, method, |_, _, summary| Ok(summary.metrics.clone()))?;
    command::print_ensemble(&ensemble, &config.name, common.json, print)
}

/// Runs with their checkpoints: the best if there was a validation, else the latest.
fn trained(common: &Common, config: &Config) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
    let (out, by_validation) = (common.folder(&config.name), config.data.valid > 0);
    let model = (config.name.as_str(), config.training.keep);
    let runs = Ensemble::trained(&out, &config.to_toml()?, MAY_CHANGE, model, by_validation)?;
    match runs.is_empty() {
        true => Err(Error::parameter("--out", out.display(), "must hold trained models: run `train` first")),
        false => Ok(runs),
    }
}
