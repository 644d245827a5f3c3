//! `temporal_stencil evaluate` in two dimensions.

use ndarray::{Array5, s};
use parseval::autodiff::Tape;
use parseval::run::Printer;
use parseval::stencil::plane::{TemporalStencil, metric};
use parseval::{Error, Result};

use super::config::Config;
use super::data::Data;
use super::train::{Precision, predict};
use crate::Experiment;

/// Steps of the model between compared frames, the number of those, and their times.
pub fn times(config: &Config) -> (usize, Vec<f64>) {
    let dt = config.data.dt;
    let every = (config.evaluate.spacing / dt).round().max(1.0) as usize;
    let frames = (config.data.time / (every as f64 * dt) + 1e-9).floor() as usize + 1;
    (every, (0..frames).map(|k| k as f64 * every as f64 * dt).collect())
}

/// The truth at the compared times.
pub fn truth(config: &Config, data: &Data) -> Array5<Precision> {
    let (every, times) = times(config);
    let frames = data.test.slice(s![.., config.data.past - 1..;every as isize, .., .., ..]);
    frames.slice(s![.., ..times.len(), .., .., ..]).to_owned()
}

/// `T95` and `T80` of the test; zeros after a blow-up.
pub fn horizons(
    config: &Config,
    data: &Data,
    model: &TemporalStencil<Precision>,
    tape: &mut Tape<Precision>,
) -> Result<Vec<(String, f64)>> {
    let (every, times) = times(config);
    let prediction = match predict(model, tape, data.test.view(), config.data.past, (times.len(), every)) {
        Ok(prediction) => prediction,
        Err(Error::BlowUp { .. }) => Array5::zeros(truth(config, data).raw_dim()),
        Err(error) => return Err(error),
    };
    let correlations = metric::correlations(prediction.view(), truth(config, data).view())?;
    let of = |threshold: f64| metric::horizon_of_mean(&times, correlations.view(), threshold, 0, 0).time;
    Ok(vec![("test/T95".to_owned(), of(0.95)), ("test/T80".to_owned(), of(0.8))])
}

pub fn evaluate(_experiment: &Experiment, _print: Printer) -> Result<()> {
    Ok(())
}
