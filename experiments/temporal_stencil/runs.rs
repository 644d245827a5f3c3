//! Trainings of an experiment of either case, and what they left.

use std::path::PathBuf;

use parseval::run::checkpoint::Checkpoint;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::Ensemble;
use parseval::run::training::{Schedule, Summary, Train};
use parseval::run::{Interrupt, Printer, RunDirectory};
use parseval::{Error, Result};

/// Seed, folder and parameters of a trained model.
pub type Trained = (u64, RunDirectory, Checkpoint);

/// The runs of a configuration.
pub struct Runs<'a> {
    pub common: &'a Common,
    /// Name of the experiment.
    pub name: &'a str,
    /// The resolved configuration, and its values that may differ when a run is resumed.
    pub config: String,
    pub may_change: &'a [&'a str],
    pub schedule: &'a Schedule,
    /// Name of the validation error, if there is a validation.
    pub best: Option<&'a str>,
}

impl Runs<'_> {
    /// Folder of the runs.
    pub fn out(&self) -> PathBuf {
        self.common.folder(self.name)
    }

    /// Trains one model for each seed and prints what [`Trainings::run`] gathers.
    pub fn train<M: Train>(
        &self,
        request: &Request,
        print: Printer,
        method: impl FnMut(u64) -> Result<M>,
        numbers: impl FnMut(&mut M, &RunDirectory, &Summary) -> Result<Vec<(String, f64)>>,
    ) -> Result<()> {
        let (common, out) = (self.common, self.out());
        let trainings = Trainings {
            request,
            out: &out,
            config: &self.config,
            may_change: self.may_change,
            schedule: self.schedule,
            best: self.best,
            command: &format!("temporal_stencil train {} --out {}", common.config.display(), out.display()),
            quiet: common.quiet,
        };
        let ensemble = trainings.run(&Interrupt::install()?, print, method, numbers)?;
        command::print_ensemble(&ensemble, self.name, common.json, print)
    }

    /// The best checkpoint of every seed, the latest if there was no validation.
    pub fn trained(&self) -> Result<Vec<Trained>> {
        let (out, model) = (self.out(), (self.name, self.schedule.keep));
        let runs = Ensemble::trained(&out, &self.config, self.may_change, model, self.best.is_some())?;
        match runs.is_empty() {
            true => Err(Error::parameter("--out", out.display(), "must hold trained models: run `train` first")),
            false => Ok(runs),
        }
    }
}
