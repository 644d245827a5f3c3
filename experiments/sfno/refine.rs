//! `sfno refine`: estimates without the truth, repairs, and what they cost.

use std::time::Instant;

use ndarray::{ArrayD, ArrayView5, Axis, Slice};
use parseval::operator::refine::{
    Certifier, CertifierOptions, Estimator, EstimatorOptions, Objective, PaperOptions, Repair, TimeGrid, spearman,
};
use parseval::optim::{Adam, AdamOptions, Lbfgs, LbfgsOptions, Limits, Optimizer};
use parseval::pde::Pde;
use parseval::run::Printer;
use parseval::run::table::{Cell, Table};
use parseval::simulate::WithPde;
use parseval::{Error, Result};
use serde_json::json;

use crate::Experiment;
use crate::train::{Precision, load, predict, predictor};
use crate::windows::{channels_first, errors};

/// How predictions are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The solver marches again from the last shown frame, for those that fail.
    March,
    /// Linearised marches (Newton) for those that fail.
    Newton,
    /// L-BFGS on the coupled residual, with the parabolic preconditioner, for those that fail.
    LastLayer,
    /// The published fine-tuning of all: Adam on the residual whose time derivative the solver supplies.
    Paper,
}

/// Frequencies in time of the correction that `paper` and `last-layer` may make.
const TERMS: usize = 6;

/// Rate of the published fine-tuning, whose unknowns are of the size of the coefficients of the field.
const PAPER_RATE: f64 = 1e-4;

pub fn refine(experiment: &Experiment, mode: Mode, print: Printer) -> Result<()> {
    let Experiment { config, source, threads, .. } = experiment;
    let (seed, _, checkpoint) = experiment.trained()?.swap_remove(0);
    let mut model = predictor::<Precision>(config, source, seed, *threads)?;
    load(&mut model, &checkpoint.model)?;
    let test = source.windows::<Precision>(config, &source.test)?.first(config.refine.windows);
    let (frames, batch) = (config.data.output_frames, config.data.batch);
    let began = Instant::now();
    let prediction = predict(&mut model, test.input(), frames, batch)?;
    let predict_seconds = began.elapsed().as_secs_f64() / test.len() as f64;
    let truth = test.trajectories();
    let mut trajectories = truth.clone();
    // [window, channel, time, x, y] after the known start.
    let predicted = prediction.permuted_axes([0, 2, 1, 3, 4]).mapv(f64::from);
    trajectories.slice_axis_mut(Axis(1), Slice::from(1..)).assign(&predicted);
    let work = Work { experiment, mode, truth, trajectories, predict_seconds, print };
    source.equation()?.with(source.grid(), work)?
}

/// What is known of a prediction before it is repaired.
struct Before {
    /// Its true relative L2 error, which a user does not know.
    error: f64,
    /// The indicator of that error.
    indicator: f64,
    /// The coupled residual in H^-1.
    coupled: f64,
    /// The published residual.
    published: f64,
}

struct Work<'a> {
    experiment: &'a Experiment,
    mode: Mode,
    /// `[window, frame, channel, x, y]`, the first frame being the known start.
    truth: ArrayD<f64>,
    trajectories: ArrayD<f64>,
    predict_seconds: f64,
    print: Printer,
}

impl WithPde for Work<'_> {
    type Output = Result<()>;

    fn call<P: Pde>(mut self, pde: P) -> Result<()> {
        let Experiment { config, source, threads, json, .. } = self.experiment;
        let (grid, dt, settings) = (source.grid(), source.dt, config.refine);
        let frames = self.truth.shape()[1];
        let time = TimeGrid::uniform(frames, dt, 6.min(frames - 1))?;
        let options = EstimatorOptions { threads: *threads, ..EstimatorOptions::default() };
        let mut estimator = Estimator::plan(&pde, grid, &time, &options)?;
        let paper = PaperOptions::default();
        let mut rows = Vec::new();
        for (truth, guess) in self.truth.outer_iter().zip(self.trajectories.outer_iter()) {
            let error = window_error(grid, guess.view(), truth.view())?;
            let coupled = estimator.coupled(guess.index_axis(Axis(0), 0), guess.view())?;
            let published = estimator.paper(guess.view(), &paper)?;
            rows.push(Before {
                error,
                indicator: coupled.error,
                coupled: coupled.residual,
                published: published.intended,
            });
        }
        let began = Instant::now();
        let repaired = match self.mode {
            Mode::March | Mode::Newton => {
                let repair = match self.mode {
                    Mode::March => Repair::March,
                    _ => Repair::Newton { steps: settings.steps },
                };
                let options = CertifierOptions {
                    tolerance: settings.tolerance,
                    repair,
                    time_order: 6.min(frames - 1),
                    threads: *threads,
                    ..CertifierOptions::default()
                };
                let starts = self.truth.index_axis(Axis(1), 0).to_owned();
                let mut certifier = Certifier::plan(&pde, grid, dt, frames, &options)?;
                certifier.certify(starts.view(), self.trajectories.view_mut())?.repaired()
            }
            Mode::Paper | Mode::LastLayer => {
                let mut count = 0;
                for (window, row) in rows.iter().enumerate() {
                    if self.mode == Mode::LastLayer && row.indicator <= settings.tolerance {
                        continue;
                    }
                    count += 1;
                    let guess = self.trajectories.index_axis(Axis(0), window).to_owned();
                    let tuned = self.fine_tune(&pde, &time, &options, guess)?;
                    self.trajectories.index_axis_mut(Axis(0), window).assign(&tuned);
                }
                count
            }
        };
        let seconds = began.elapsed().as_secs_f64() / rows.len() as f64;
        let after = self.truth.outer_iter().zip(self.trajectories.outer_iter());
        let after: Vec<f64> = after.map(|(t, g)| window_error(grid, g.view(), t.view())).collect::<Result<_>>()?;

        let windows = channels_first(self.truth.view());
        let (after_l2, after_h1) = errors(grid, channels_first(self.trajectories.view()).view(), windows.view())?;
        let column = |f: fn(&Before) -> f64| rows.iter().map(f).collect::<Vec<f64>>();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let truth = column(|r| r.error);
        let rank = |estimates: Vec<f64>| if rows.len() > 2 { spearman(&truth, &estimates) } else { f64::NAN };
        let mut table = Table::new(
            format!(
                "{}, {} windows, tolerance {:e}, repair: {:?}",
                config.name,
                rows.len(),
                settings.tolerance,
                self.mode
            ),
            &["quantity", "value"],
        );
        for (name, value) in [
            ("mean relative L2 error of the predictions", mean(&truth)),
            ("mean of its indicator, the coupled residual weighed", mean(&column(|r| r.indicator))),
            ("Spearman correlation with the error: indicator", rank(column(|r| r.indicator))),
            ("Spearman correlation with the error: coupled H-1 residual", rank(column(|r| r.coupled))),
            ("Spearman correlation with the error: published residual", rank(column(|r| r.published))),
            ("mean published residual (does not see the error)", mean(&column(|r| r.published))),
            ("windows repaired", repaired as f64),
            ("mean relative L2 error after", mean(&after)),
            ("relative L2, start frame included, after", after_l2),
            ("relative H1, start frame included, after", after_h1),
            ("seconds a window: prediction", self.predict_seconds),
            ("seconds a window: estimate and repair", seconds),
        ] {
            table.row([name.into(), Cell::Number(value)])?;
        }
        let per_window: Vec<_> = rows
            .iter()
            .zip(&after)
            .map(|(r, after)| json!({"error": r.error, "indicator": r.indicator, "coupled": r.coupled, "published": r.published, "error_after": after}))
            .collect();
        let results = json!({"table": table.json(), "windows": per_window});
        let path = self.experiment.out.join(format!("refine-{:?}.json", self.mode).to_lowercase());
        std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;
        match json {
            true => self.print.line(results),
            false => self.print.line(table.text()),
        }
    }
}

impl Work<'_> {
    /// Minimises a residual over the first cosines in time and all modes in space that the solver keeps: what opening the
    /// last spectral layer without truncation leaves to be trained.
    fn fine_tune<P: Pde>(
        &self,
        pde: &P,
        time: &TimeGrid,
        options: &EstimatorOptions,
        guess: ArrayD<f64>,
    ) -> Result<ArrayD<f64>> {
        let (grid, terms) = (self.experiment.source.grid(), TERMS.min(guess.shape()[0]));
        let iterations = self.experiment.config.refine.iterations;
        let start = guess.index_axis(Axis(0), 0).to_owned();
        if self.mode == Mode::Paper {
            let mut objective = Objective::paper(pde, grid, time, &PaperOptions::default(), guess.view(), terms)?;
            let mut x = vec![0.0; objective.len()];
            let mut gradient = x.clone();
            let mut adam = Adam::new(x.len(), AdamOptions::default())?;
            for _ in 0..iterations {
                objective.value_and_gradient(&x, &mut gradient);
                adam.step(&mut x, &gradient, PAPER_RATE);
            }
            return Ok(objective.corrected(&x));
        }
        let mut objective = Objective::coupled(pde, grid, time, options, start.view(), guess.view(), guess.shape()[0])?;
        let scale: Vec<f64> = objective.preconditioner(1.0);
        // Modes that the solver does not keep have no part in the objective, nor a scale.
        let diagonal = scale.iter().map(|&p| if p > 0.0 { p * p } else { 1.0 }).collect();
        let mut x = vec![0.0; objective.len()];
        let mut lbfgs = Lbfgs::new(x.len(), LbfgsOptions::default())?.with_preconditioner(diagonal)?;
        let limits = Limits { max_iterations: iterations, gradient_tolerance: 0.0, ..Limits::default() };
        lbfgs.minimize(&mut x, &limits, |x, gradient| objective.value_and_gradient(x, gradient));
        Ok(objective.corrected(&x))
    }
}

/// Relative L2 error of `[frame, channel, x, y]`, the known start not counted.
fn window_error(
    grid: &parseval::field::Grid,
    guess: ndarray::ArrayViewD<f64>,
    truth: ndarray::ArrayViewD<f64>,
) -> Result<f64> {
    let later = |u: &ndarray::ArrayViewD<f64>| {
        let part = u.slice_axis(Axis(0), Slice::from(1..)).to_owned();
        channels_first(part.insert_axis(Axis(0)).view())
    };
    let (guess, truth) = (later(&guess), later(&truth));
    let (guess, truth): (ArrayView5<f64>, ArrayView5<f64>) = (guess.view(), truth.view());
    Ok(errors(grid, guess, truth)?.0)
}
