//! The classical rows of every table: what the solver reaches, and for how many seconds.

use std::time::Instant;

use ndarray::{ArrayD, ArrayViewD, Axis};

use super::march::{rollout, store};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::spectral::layout::Dealias;
use crate::spectral::{Resample, Sobolev, SobolevKind};
use crate::stepper::{Options, Scheme, Stepper};

/// Which rows [`anchors`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct AnchorOptions {
    /// Points along the first axis; the others in proportion.
    pub resolutions: Vec<usize>,
    /// Solver steps; each must divide the time between frames.
    pub dts: Vec<f64>,
    /// Modes of the solver.
    pub dealias: Dealias,
    /// Threads; samples are shared out among them.
    pub threads: usize,
}

/// How the frames of a row were made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnchorMethod {
    /// The start, repeated.
    Persistence,
    /// ETDRK4 on `n` points along the first axis with step `dt`.
    Etdrk4 {
        /// Points.
        n: usize,
        /// Solver step.
        dt: f64,
    },
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// How the frames were made.
    pub method: AnchorMethod,
    /// Relative L2 error in space and time, mean over the samples that did not blow up; not a number if all did.
    pub l2: f64,
    /// The same in `H^1`, weight `1 + |k|^2`.
    pub h1: f64,
    /// Wall time a sample: resampling of the start, all steps, frames on the grid of the reference. Planning is not counted.
    pub seconds: f64,
    /// Samples that blew up.
    pub blow_ups: usize,
}

/// Persistence, then ETDRK4 from the first frame at every resolution and step: the error-cost curve that a surrogate has to
/// beat.
///
/// # Arguments
///
/// * `references`: trajectories on `grid`, `[batch, frame, channel, x, ..]`, a frame every `dt_out`; the first frame is the
///   start and is not scored. It is carried to each resolution by truncation or padding of its spectrum.
///
/// # Errors
///
/// [`Error::Shape`] for another shape, or fewer than two frames; [`Error::Parameter`] if a step does not divide `dt_out`, a
/// resolution does not fit the grid's proportions, or the equation refuses the grid.
pub fn anchors<P: Pde>(
    pde: &P,
    grid: &Grid,
    dt_out: f64,
    references: ArrayViewD<'_, f64>,
    options: &AnchorOptions,
) -> Result<Vec<Anchor>> {
    let head = |axis: usize| references.shape().get(axis).copied().unwrap_or(0);
    let expected = [&[head(0).max(1), head(1).max(2), P::CHANNELS], grid.shape()].concat();
    if references.shape() != expected {
        return Err(Error::shape("references", &expected, references.shape()));
    }
    let score = Score {
        l2: Sobolev::plan(grid, 0.0, SobolevKind::Inhomogeneous)?,
        h1: Sobolev::plan(grid, 1.0, SobolevKind::Inhomogeneous)?,
        references: references.view(),
    };
    let outputs = expected[1] - 1;
    let began = Instant::now();
    let constant: Vec<Option<ArrayD<f64>>> = references
        .axis_iter(Axis(0))
        .map(|u| u.index_axis(Axis(0), 0).insert_axis(Axis(0)).broadcast(u.shape()).map(|u| u.to_owned()))
        .collect();
    let mut rows = vec![score.row(AnchorMethod::Persistence, began.elapsed().as_secs_f64(), &constant)];
    for &n in &options.resolutions {
        let shape: Vec<usize> = grid.shape().iter().map(|&points| n * points / grid.shape()[0]).collect();
        if shape.iter().zip(grid.shape()).any(|(&m, &points)| m * grid.shape()[0] != n * points) {
            return Err(Error::parameter("resolution", n, "must keep the proportions of the grid"));
        }
        let own = grid.with_shape(&shape)?;
        let (down, up) = (Resample::plan(grid, &own)?, Resample::plan(&own, grid)?);
        let plan = |batch: usize, dt: f64| {
            let stepper =
                Options { batch, threads: options.threads, dealias: options.dealias.clone(), ..Options::default() };
            Stepper::<f64>::plan(pde, &own, Scheme::Etdrk4, dt, &stepper)
        };
        let writer = plan(outputs, dt_out)?;
        for &dt in &options.dts {
            let steps = (dt_out / dt).round();
            if !(steps >= 1.0 && (steps * dt / dt_out - 1.0).abs() < 1e-9) {
                return Err(Error::parameter("dt", dt, format!("must divide the time between frames, {dt_out}")));
            }
            let mut stepper = plan(expected[0], dt_out / steps)?;
            let began = Instant::now();
            let starts = down.apply(references.index_axis(Axis(1), 0));
            let (runs, _) = rollout(&mut stepper, starts.view(), outputs, steps as usize)?;
            let frames: Vec<_> = runs
                .iter()
                .zip(starts.axis_iter(Axis(0)))
                .map(|(run, start)| run.as_ref().map(|run| up.apply(store(&writer, start, run).view())))
                .collect();
            rows.push(score.row(AnchorMethod::Etdrk4 { n, dt }, began.elapsed().as_secs_f64(), &frames));
        }
    }
    Ok(rows)
}

struct Score<'a> {
    l2: Sobolev<f64>,
    h1: Sobolev<f64>,
    references: ArrayViewD<'a, f64>,
}

impl Score<'_> {
    fn row(&self, method: AnchorMethod, seconds: f64, frames: &[Option<ArrayD<f64>>]) -> Anchor {
        let samples = frames.iter().zip(self.references.axis_iter(Axis(0)));
        let finished: Vec<_> = samples.filter_map(|(u, reference)| Some((u.as_ref()?, reference))).collect();
        let mean = |norm: &Sobolev<f64>| {
            let error = |(u, reference): &(&ArrayD<f64>, ArrayViewD<'_, f64>)| {
                let [u, reference] = [u.view(), reference.view()].map(|u| u.slice_axis_move(Axis(0), (1..).into()));
                norm.relative_error(u, reference)
            };
            finished.iter().map(error).sum::<f64>() / finished.len() as f64
        };
        Anchor {
            method,
            l2: mean(&self.l2),
            h1: mean(&self.h1),
            seconds: seconds / frames.len() as f64,
            blow_ups: frames.len() - finished.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::stack;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_solver_beats_persistence_by_many_orders_and_blow_up_is_reported() {
        let (a, b) = (reference(), trajectory(2));
        let references = stack(Axis(0), &[a.view(), b.view()]).unwrap();
        let options = AnchorOptions {
            resolutions: vec![32, 64],
            dts: vec![0.2, 0.1, 0.05],
            dealias: Dealias::Truncate,
            threads: 1,
        };
        let rows = anchors(&flow(), &grid(), DT_OUT, references.view(), &options).unwrap();
        rows.iter().for_each(|r| println!("{r:?}"));
        assert_eq!(rows.len(), 7);
        assert!(rows[0].method == AnchorMethod::Persistence && rows[0].l2 > 0.05);
        let row = |n: usize, dt: f64| *rows.iter().find(|r| r.method == AnchorMethod::Etdrk4 { n, dt }).unwrap();
        // Measured before by other code on this flow: 2e-7 at 64 and dt 0.1, 2e-4 at 32 (truncation) at any step.
        assert!(row(64, 0.1).l2 < 1e-6 && row(64, 0.1).blow_ups == 0);
        assert!((1e-6..3e-3).contains(&row(32, 0.2).l2) && row(32, 0.05).l2 < 3e-3);
        // Halving the step divides the error by 16, within a factor 2.
        let order = (row(64, 0.1).l2 / row(64, 0.05).l2).log2();
        assert!((order - 4.0).abs() < 1.0, "{order}");
        // A relative H^1 error weighs the small scales, where the error is.
        assert!(row(64, 0.1).h1 > row(64, 0.1).l2);

        let wild = 1e4 * &references;
        let rows = anchors(&flow(), &grid(), DT_OUT, wild.view(), &options).unwrap();
        assert!(rows[0].blow_ups == 0 && rows[1..].iter().all(|r| r.blow_ups == 2 && r.l2.is_nan()), "{rows:?}");
    }

    #[test]
    fn steps_and_resolutions_that_do_not_fit_are_refused() {
        let references = reference().view().insert_axis(Axis(0));
        let options = |n: usize, dt: f64| AnchorOptions {
            resolutions: vec![n],
            dts: vec![dt],
            dealias: Dealias::Truncate,
            threads: 1,
        };
        for bad in [options(64, 0.15), options(64, 0.4), options(2, 0.1)] {
            assert!(anchors(&flow(), &grid(), DT_OUT, references.view(), &bad).is_err());
        }
        assert!(anchors(&flow(), &grid(), DT_OUT, reference().view(), &options(32, 0.2)).is_err());
    }
}
