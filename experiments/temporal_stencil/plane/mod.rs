//! Kolmogorov flow: learned interpolation on coarse staggered cells, and learned corrections of coarse solvers.

mod classical;
mod config;
mod data;
mod evaluate;
mod train;

use parseval::Result;
use parseval::run::Printer;
use parseval::run::command::{Common, Request};

use super::runs::Runs;
use config::{Config, MAY_CHANGE};
pub use evaluate::evaluate;

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
    let config = Config::load(&common.config, &common.set)?;
    let data = data::read(&config)?;
    let method = |seed| train::Training::new(&config, &data, seed, common.threads());
    runs(common, &config)?
        .train(request, print, method, |method, _, _| evaluate::horizons(&config, &data.test, method.parts()))
}

fn runs<'a>(common: &'a Common, config: &'a Config) -> Result<Runs<'a>> {
    Ok(Runs {
        common,
        name: &config.name,
        config: config.to_toml()?,
        may_change: MAY_CHANGE,
        schedule: &config.training,
        best: (config.data.valid > 0).then_some("decorrelation"),
    })
}
