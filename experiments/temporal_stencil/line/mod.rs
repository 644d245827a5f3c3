//! One-dimensional cases: Kuramoto-Sivashinsky and Burgers.

mod config;
mod data;
mod evaluate;
mod methods;
mod training;

use parseval::Result;
use parseval::run::Printer;
use parseval::run::command::{Common, Request};

use config::{Config, MAY_CHANGE};
use data::Sets;
pub use evaluate::evaluate;
use training::Training;

use super::runs::Runs;

/// Trains one model for each seed.
pub fn train(common: &Common, request: &Request, print: Printer) -> Result<()> {
    let config = Config::load(&common.config, &common.set)?;
    let files = config.files()?;
    files.iter().flat_map(|files| files.notes()).for_each(|note| print.note(note));
    let threads = common.threads();
    let sets = Sets::for_training(&config, threads)?;
    let method = |seed| Training::new(&config, &sets, seed, threads);
    runs(common, &config)?.train(request, print, method, |_, _, summary| Ok(summary.metrics.clone()))
}

fn runs<'a>(common: &'a Common, config: &'a Config) -> Result<Runs<'a>> {
    Ok(Runs {
        common,
        name: &config.name,
        config: config.to_toml()?,
        may_change: MAY_CHANGE,
        schedule: &config.training,
        best: (config.data.valid > 0).then_some("lost"),
    })
}
