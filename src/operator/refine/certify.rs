//! Certificates for a batch of predictions, and repair of those that fail.

use std::time::Instant;

use ndarray::{ArrayViewD, ArrayViewMutD, Axis};

use super::statistics::quantile;
use super::{Estimate, Estimator, EstimatorOptions, March, MarchOptions, Newton, NewtonOptions, Stop, TimeGrid};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::spectral::layout::Dealias;
use crate::stepper::Options;

/// From an estimate to an error: measured on predictions whose error is known, such as a surrogate's validation set.
///
/// An indicator, not a bound: it says what share of predictions *like those it was fitted on* had an error below
/// [`Calibration::upper`]. The bound is [`Estimate::energy_bound`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Median of error over estimate.
    pub ratio: f64,
    /// Factor on top of it that covers the wanted share.
    pub spread: f64,
}

impl Calibration {
    /// Takes [`Estimate::error`] as the error itself.
    pub const NONE: Self = Self { ratio: 1.0, spread: 1.0 };

    /// Fits pairs of [`Estimate::error`] and true relative error, so that the share `coverage` of these errors lies below
    /// the upper value.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the slices differ in length or are empty; [`Error::Parameter`] if `coverage` is not in
    /// `1/2 ..= 1` or a ratio is not positive and finite.
    pub fn fit(estimates: &[f64], errors: &[f64], coverage: f64) -> Result<Self> {
        if estimates.len() != errors.len() || errors.is_empty() {
            return Err(Error::shape("errors", &[estimates.len().max(1)], &[errors.len()]));
        }
        if !(0.5..=1.0).contains(&coverage) {
            return Err(Error::parameter("coverage", coverage, "must be 0.5 to 1"));
        }
        let ratios: Vec<f64> = estimates.iter().zip(errors).map(|(estimate, error)| error / estimate).collect();
        if let Some(bad) = ratios.iter().find(|r| !(**r > 0.0 && r.is_finite())) {
            return Err(Error::parameter("error / estimate", bad, "must be > 0 and finite"));
        }
        let ratio = quantile(&ratios, 0.5);
        Ok(Self { ratio, spread: quantile(&ratios, coverage) / ratio })
    }

    /// Likely error of a prediction with this estimate.
    pub fn error(&self, estimate: &Estimate) -> f64 {
        self.ratio * estimate.error
    }

    /// Error that the wanted share of predictions stays below.
    pub fn upper(&self, estimate: &Estimate) -> f64 {
        self.spread * self.error(estimate)
    }
}

/// What to do with a prediction that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repair {
    /// March from the start, to the certifier's tolerance. The cheaper one.
    March,
    /// Newton sweeps with so many solver steps a frame; the trajectory's error is then that of this step.
    Newton {
        /// Solver steps a frame.
        steps: usize,
    },
}

/// Choices of a [`Certifier`].
#[derive(Clone, Debug, PartialEq)]
pub struct CertifierOptions {
    /// Relative L2 error in space and time that is good enough.
    pub tolerance: f64,
    /// How estimates become errors.
    pub calibration: Calibration,
    /// What to do with the rest.
    pub repair: Repair,
    /// Modes of estimator and solver.
    pub dealias: Dealias,
    /// Order of the finite differences in time.
    pub time_order: usize,
    /// Threads.
    pub threads: usize,
}

impl Default for CertifierOptions {
    /// 1 %, uncalibrated, repair by marching, order 6.
    fn default() -> Self {
        Self {
            tolerance: 1e-2,
            calibration: Calibration::NONE,
            repair: Repair::March,
            dealias: Dealias::Truncate,
            time_order: 6,
            threads: 1,
        }
    }
}

/// What is known about one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Estimate of the prediction; `None` if it held values that are not finite.
    pub before: Option<Estimate>,
    /// Estimate of the repaired frames; `None` for a prediction that was kept.
    pub after: Option<Estimate>,
    /// For a kept prediction the calibrated upper value; for a repaired one the repair's own estimate (of the time
    /// stepping, or of the distance from the solver's trajectory).
    pub error: f64,
    /// Whether that error meets the tolerance.
    pub passes: bool,
}

impl Certificate {
    /// Whether the prediction was replaced.
    pub fn is_repaired(&self) -> bool {
        self.after.is_some()
    }
}

/// Result of [`Certifier::certify`].
#[derive(Clone, Debug, PartialEq)]
pub struct Certified {
    /// One a sample.
    pub certificates: Vec<Certificate>,
    /// Wall time of the estimates of all predictions.
    pub estimate_seconds: f64,
    /// Wall time of all repairs.
    pub repair_seconds: f64,
    /// Wall time of the estimates of repaired frames.
    pub check_seconds: f64,
}

impl Certified {
    /// Number of predictions that were replaced.
    pub fn repaired(&self) -> usize {
        self.certificates.iter().filter(|c| c.is_repaired()).count()
    }
}

/// Estimates a batch of predictions and repairs those, and only those, whose certificate fails.
///
/// The estimate cannot fall below the error of the differences in time. If the frames are so far apart that the floor of a
/// perfect trajectory ([`Certificate::after`] shows it) is above the tolerance, every prediction fails.
pub struct Certifier<P: Pde> {
    estimator: Estimator,
    march: March<P>,
    newton: Option<Newton>,
    options: CertifierOptions,
}

impl<P: Pde> Certifier<P> {
    /// Plans certificates for trajectories of `frames` frames, the start included, one every `dt_out`.
    ///
    /// # Errors
    ///
    /// As [`TimeGrid::uniform`], [`Estimator::plan`], [`March::plan`] and [`Newton::plan`].
    pub fn plan(pde: &P, grid: &Grid, dt_out: f64, frames: usize, options: &CertifierOptions) -> Result<Self> {
        let CertifierOptions { tolerance, repair, dealias, time_order, threads, .. } = options.clone();
        let time = TimeGrid::uniform(frames, dt_out, time_order)?;
        let estimator_options = EstimatorOptions { dealias: dealias.clone(), threads, ..EstimatorOptions::default() };
        let march_options = MarchOptions { tolerance, dealias: dealias.clone(), threads, ..MarchOptions::default() };
        let newton = match repair {
            Repair::March => None,
            Repair::Newton { steps } => {
                Some(Newton::plan(pde, grid, dt_out, steps, &Options { threads, dealias, ..Options::default() })?)
            }
        };
        Ok(Self {
            estimator: Estimator::plan(pde, grid, &time, &estimator_options)?,
            march: March::plan(pde, grid, dt_out, frames - 1, &march_options)?,
            newton,
            options: options.clone(),
        })
    }

    /// Certifies predictions, and replaces in place those that fail.
    ///
    /// # Arguments
    ///
    /// * `starts`: known states at the first frame's time, `[batch, channel, x, ..]`.
    /// * `predictions`: `[batch, frame, channel, x, ..]`. Values that are not finite count as failure.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for other shapes; [`Error::Parameter`] if a start is not finite; [`Error::BlowUp`] if even the
    /// smallest step of a march is unstable.
    pub fn certify(
        &mut self,
        starts: ArrayViewD<'_, f64>,
        mut predictions: ArrayViewMutD<'_, f64>,
    ) -> Result<Certified> {
        if starts.ndim() == 0 || predictions.ndim() == 0 || starts.shape()[0] != predictions.shape()[0] {
            return Err(Error::shape("starts", predictions.shape(), starts.shape()));
        }
        let began = Instant::now();
        let mut certificates = Vec::with_capacity(starts.shape()[0]);
        for (start, frames) in starts.axis_iter(Axis(0)).zip(predictions.axis_iter(Axis(0))) {
            let before = match frames.iter().all(|u| u.is_finite()) {
                true => Some(self.estimator.coupled(start, frames)?),
                false => None,
            };
            let error = before.as_ref().map_or(f64::INFINITY, |e| self.options.calibration.upper(e));
            let passes = error <= self.options.tolerance;
            certificates.push(Certificate { before, after: None, error, passes });
        }
        let estimate_seconds = began.elapsed().as_secs_f64();
        let failed: Vec<usize> = (0..certificates.len()).filter(|&s| !certificates[s].passes).collect();
        let began = Instant::now();
        let repaired = self.repair(&failed, starts.view(), &mut predictions, &mut certificates)?;
        let repair_seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        for sample in repaired {
            let after =
                self.estimator.coupled(starts.index_axis(Axis(0), sample), predictions.index_axis(Axis(0), sample))?;
            certificates[sample].after = Some(after);
        }
        let check_seconds = began.elapsed().as_secs_f64();
        Ok(Certified { certificates, estimate_seconds, repair_seconds, check_seconds })
    }

    /// Replaces the failed predictions; which of them it could.
    fn repair(
        &mut self,
        failed: &[usize],
        starts: ArrayViewD<'_, f64>,
        predictions: &mut ArrayViewMutD<'_, f64>,
        certificates: &mut [Certificate],
    ) -> Result<Vec<usize>> {
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let mut repairs = Vec::with_capacity(failed.len());
        match &mut self.newton {
            None => {
                let marched = self.march.run(starts.select(Axis(0), failed).view()).map_err(|error| match error {
                    // The number in the batch instead of that among the failed.
                    Error::BlowUp { sample, step, t } => Error::BlowUp { sample: failed[sample], step, t },
                    other => other,
                })?;
                repairs.extend(failed.iter().zip(marched).map(|(&sample, m)| (sample, m.frames, m.error, m.stop)));
            }
            Some(newton) => {
                let options = NewtonOptions { tolerance: self.options.tolerance, ..NewtonOptions::default() };
                for &sample in failed {
                    let (start, guess) = (starts.index_axis(Axis(0), sample), predictions.index_axis(Axis(0), sample));
                    let refined = if certificates[sample].before.is_some() {
                        newton.refine(start, guess, &options)?
                    } else {
                        // Nothing of the prediction can be used: from persistence.
                        let constant = start.clone().insert_axis(Axis(0));
                        newton.refine(
                            start,
                            constant.broadcast(guess.shape()).expect("shapes were checked"),
                            &options,
                        )?
                    };
                    if refined.stop != Stop::Diverged {
                        repairs.push((sample, refined.frames, refined.error, refined.stop));
                    }
                }
            }
        }
        for (sample, frames, error, stop) in &repairs {
            predictions.index_axis_mut(Axis(0), *sample).assign(frames);
            certificates[*sample].error = *error;
            certificates[*sample].passes = *stop == Stop::Converged;
        }
        Ok(repairs.into_iter().map(|repair| repair.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, stack};

    use super::super::testing::*;
    use super::*;

    /// Twelve predictions of three flows, numbers 2, 5 and 9 of them wrong by 10 %, the others by 0.3 %.
    fn batch() -> (ArrayD<f64>, ArrayD<f64>, ArrayD<f64>) {
        let flows = [reference().clone(), trajectory(2), trajectory(3)];
        let of = |f: &dyn Fn(usize) -> ArrayD<f64>| {
            let all: Vec<_> = (0..12).map(f).collect();
            stack(Axis(0), &all.iter().map(|u| u.view()).collect::<Vec<_>>()).unwrap()
        };
        let size = |i: usize| if BAD.contains(&i) { 0.1 } else { 0.003 };
        (
            of(&|i| start(&flows[i % 3])),
            of(&|i| perturbed(&flows[i % 3], KINDS[(i / 3) % 3], size(i), 50 + i as u64)),
            of(&|i| flows[i % 3].clone()),
        )
    }

    const BAD: [usize; 3] = [2, 5, 9];

    fn error(u: &ArrayD<f64>, reference: &ArrayD<f64>, sample: usize) -> f64 {
        let [u, reference] = [u, reference].map(|u| u.index_axis(Axis(0), sample).to_owned());
        relative(&u, &reference)
    }

    #[test]
    fn exactly_the_bad_predictions_are_replaced() {
        let (starts, predictions, truth) = batch();
        for repair in [Repair::March, Repair::Newton { steps: 2 }] {
            let options = CertifierOptions { tolerance: 0.02, repair, ..CertifierOptions::default() };
            let mut certifier = Certifier::plan(&flow(), &grid(), DT_OUT, 41, &options).unwrap();
            let mut frames = predictions.clone();
            frames[[9, 20, 0, 3, 3]] = f64::NAN;
            let certified = certifier.certify(starts.view(), frames.view_mut()).unwrap();
            assert_eq!(certified.repaired(), 3);
            for (sample, certificate) in certified.certificates.iter().enumerate() {
                assert_eq!(certificate.is_repaired(), BAD.contains(&sample), "{sample}");
                assert!(certificate.passes);
                assert_eq!(certificate.before.is_none(), sample == 9);
                let error = error(&frames, &truth, sample);
                assert!(error < 0.02, "{sample}: {error}");
                match &certificate.after {
                    None => assert_eq!(frames.index_axis(Axis(0), sample), predictions.index_axis(Axis(0), sample)),
                    Some(after) => assert!(after.error < 1e-2 && error < 1e-3, "{} {error}", after.error),
                }
            }
            println!(
                "{repair:?}: estimates {:.4} s, repair of {} {:.4} s, check {:.4} s",
                certified.estimate_seconds,
                certified.repaired(),
                certified.repair_seconds,
                certified.check_seconds
            );
        }
    }

    #[test]
    fn good_batches_cost_their_estimates_only() {
        let (starts, _, truth) = batch();
        let mut certifier = Certifier::plan(&flow(), &grid(), DT_OUT, 41, &CertifierOptions::default()).unwrap();
        let mut frames = truth.clone();
        let certified = certifier.certify(starts.view(), frames.view_mut()).unwrap();
        assert_eq!((certified.repaired(), &frames), (0, &truth));
        let fewer = starts.slice_axis(Axis(0), (1..).into());
        assert!(matches!(certifier.certify(fewer, frames.view_mut()), Err(Error::Shape { .. })));
    }

    #[test]
    #[ignore = "timing: seconds of a core"]
    fn costs_side_by_side() {
        use crate::spectral::Resample;
        use crate::stepper::{Scheme, Stepper};
        for (n, steps) in [(64, 2), (256, 8)] {
            let grid = Grid::cube(2, n, 1.0).unwrap();
            let u = Resample::plan(&super::super::testing::grid(), &grid).unwrap().apply(reference().view());
            let start = start(&u);
            let mut estimator = Estimator::plan(&flow(), &grid, &time(), &EstimatorOptions::default()).unwrap();
            let mut newton = Newton::plan(&flow(), &grid, DT_OUT, steps, &Options::default()).unwrap();
            let dt = DT_OUT / steps as f64;
            let mut stepper = Stepper::<f64>::plan(&flow(), &grid, Scheme::Etdrk4, dt, &Options::default()).unwrap();
            let march_options = MarchOptions { first_steps: steps / 2, ..MarchOptions::default() };
            let march = March::plan(&flow(), &grid, DT_OUT, 40, &march_options).unwrap();
            let sweep = NewtonOptions { tolerance: 0.0, max_sweeps: 1 };
            let mut best = [f64::INFINITY; 5];
            for _ in 0..5 {
                let mut time = |i: usize, f: &mut dyn FnMut()| {
                    let began = cpu_seconds();
                    f();
                    best[i] = best[i].min(cpu_seconds() - began);
                };
                time(0, &mut || drop(estimator.coupled(start.view(), u.view()).unwrap()));
                time(1, &mut || drop(estimator.paper(u.view(), &Default::default()).unwrap()));
                time(2, &mut || {
                    let mut state = stepper.load(start.view()).unwrap();
                    stepper.rollout(&mut state, 40, steps, |_, _, _| Ok(())).unwrap();
                });
                time(3, &mut || drop(march.run(start.view().insert_axis(Axis(0))).unwrap()));
                time(4, &mut || drop(newton.refine(start.view(), u.view(), &sweep).unwrap()));
            }
            println!(
                "{n}: [estimate, paper, march of {steps} steps a frame, checked march, Newton sweep] {best:.4?} s"
            );
            assert!(best[0] < best[2] && best[4] < 5.0 * best[2], "{best:?}");
        }
    }

    #[test]
    fn calibration_covers_the_share_it_was_asked_for() {
        let u = reference();
        let options = EstimatorOptions::default();
        let mut estimator = Estimator::plan(&flow(), &grid(), &time(), &options).unwrap();
        let mut draw = |seed: u64| {
            let size = 10f64.powf(-3.0 + 2.0 * (seed % 7) as f64 / 6.0);
            let prediction = perturbed(u, KINDS[seed as usize % 3], size, seed);
            (estimator.coupled(start(u).view(), prediction.view()).unwrap(), relative(&prediction, u))
        };
        let fitted: Vec<_> = (0..30).map(|i| draw(500 + i)).collect();
        let estimates: Vec<f64> = fitted.iter().map(|f| f.0.error).collect();
        let errors: Vec<f64> = fitted.iter().map(|f| f.1).collect();
        let calibration = Calibration::fit(&estimates, &errors, 0.9).unwrap();
        let covered = (0..30).map(|i| draw(900 + i)).filter(|(e, error)| *error <= calibration.upper(e)).count();
        // 27 expected; the binomial spread over 30 draws, and of the fitted quantile, is about 2 each.
        assert!(covered >= 22, "{covered} of 30, {calibration:?}");
        assert!(Calibration::fit(&estimates, &errors[1..], 0.9).is_err());
        assert!(Calibration::fit(&estimates, &errors, 0.2).is_err());
    }
}
