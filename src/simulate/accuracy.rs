//! How good the stored solution is, measured.
//!
//! A sample is solved twice more from its own first frame: with half the step, and with half the step on twice the points.
//! The first differs from the stored solution by the error of the time stepping, the second from the first by that of the
//! grid (both to leading order; a step of half the size keeps the fine grid stable). Both are given at every stored frame
//! as the relative L2 difference over all channels at the stored points,
//!
//! ```text
//! e(t) = |u(t) - v(t)| / |v(t)| .
//! ```
//!
//! Rounding to the precision of the file, 3e-8 for `f32`, comes on top. In a chaotic flow errors grow with the largest
//! Lyapunov exponent until they are as large as the solution; [`Accuracy::horizon`] is the time until which the stored
//! solution can be taken as *the* solution. After that it is right in a statistical sense only.

use ndarray::Axis;

use super::simulation::{Simulation, Trajectory};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::Resample;

/// What is stored as the error in time.
pub const TIME_METHOD: &str =
    "relative L2 difference at the final time to a run with half the step, from the first frame";

/// What is stored as the error in space.
pub const SPACE_METHOD: &str =
    "relative L2 difference at the final time between n and 2n points, both with half the step, from the first frame";

/// Difference up to which a solution counts as resolved.
pub const RESOLVED: f64 = 1e-3;

/// Relative L2 differences at every stored frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// To half the step.
    pub time: Vec<f64>,
    /// Between the grid and twice the points.
    pub space: Vec<f64>,
}

impl Accuracy {
    /// The time of the last frame up to which both differences stay below [`RESOLVED`].
    pub fn horizon(&self, times: &[f64]) -> f64 {
        let resolved = self.time.iter().zip(&self.space).take_while(|(t, s)| **t < RESOLVED && **s < RESOLVED);
        times[resolved.count().max(1) - 1]
    }
}

/// Steps of the sample itself that cost as much as [`measure`]: twice as many steps, on the grid and on one of `2^d` times
/// the points.
pub fn cost(simulation: &Simulation) -> u64 {
    let steps = simulation.steps();
    (steps.frames * steps.per_frame) as u64 * (2 + (2 << simulation.grid().dim()))
}

/// Measures the accuracy of a computed sample; `progress` gets the share of the work done, at most 1 in all.
///
/// # Errors
///
/// What the two runs may give.
pub fn measure(
    simulation: &Simulation,
    sample: &Trajectory,
    threads: usize,
    mut progress: impl FnMut(f64),
) -> Result<Accuracy> {
    let (grid, dt) = (simulation.grid(), 0.5 * simulation.recipe().time.dt);
    let fine_grid = grid.with_shape(&grid.shape().iter().map(|n| 2 * n).collect::<Vec<_>>())?;
    let mut half = simulation.plan(grid, dt, threads)?;
    let mut fine = simulation.plan(&fine_grid, dt, threads)?;
    let mut half_state = half.load(sample.start.view())?;
    let mut fine_state = fine.load(refine(grid, &fine_grid, sample)?.view())?;
    let steps = simulation.steps();
    let stride = simulation.recipe().output.stride;
    let mut accuracy = Accuracy { time: vec![0.0], space: vec![0.0] };
    for frame in 1..=steps.frames {
        half.advance(&mut half_state, 2 * steps.per_frame)?;
        fine.advance(&mut fine_state, 2 * steps.per_frame)?;
        let mut at_half = simulation.empty_fields();
        let mut at_fine = simulation.empty_fields();
        simulation.append_every(stride, &mut at_half, &half.store(&half_state).index_axis_move(Axis(0), 0));
        simulation.append_every(2 * stride, &mut at_fine, &fine.store(&fine_state).index_axis_move(Axis(0), 0));
        let stored = sample.fields.iter().zip(&at_half).map(|(all, one)| &all[frame * one.len()..][..one.len()]);
        accuracy.time.push(difference(stored, at_half.iter().map(Vec::as_slice)));
        accuracy.space.push(difference(at_half.iter().map(Vec::as_slice), at_fine.iter().map(Vec::as_slice)));
        progress(1.0 / steps.frames as f64);
    }
    Ok(accuracy)
}

/// The first frame on twice the points, by its Fourier series.
fn refine(grid: &Grid, fine: &Grid, sample: &Trajectory) -> Result<ndarray::ArrayD<f64>> {
    Ok(Resample::plan(grid, fine)?.apply(sample.start.view()))
}

/// `|u - v| / |v|`, with `|u - v|` itself if `v` is zero.
fn difference<'a>(u: impl Iterator<Item = &'a [f64]>, v: impl Iterator<Item = &'a [f64]>) -> f64 {
    let (mut square, mut norm) = (0.0, 0.0);
    for (u, v) in u.zip(v) {
        for (u, v) in u.iter().zip(v) {
            square += (u - v) * (u - v);
            norm += v * v;
        }
    }
    (square / if norm > 0.0 { norm } else { 1.0 }).sqrt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::initial::{Kdv, Soliton};
    use crate::simulate::Recipe;

    const SOLITONS: &str = r#"
        [dataset]
        name = "solitons"
        samples = 1
        [equation]
        id = "korteweg_de_vries"
        a = 6
        b = 1
        [grid]
        n = 256
        length = 60
        [initial]
        kind = "solitons"
        solitons = [{ k = 1.2, x0 = 20 }, { k = 0.8, x0 = 30 }]
        [time]
        dt = 0.01
        t_end = 4
        save_every = 1
    "#;

    fn measured(overrides: &[&str]) -> (Simulation, Trajectory, Accuracy) {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        let simulation = Simulation::new(Recipe::parse(SOLITONS, &overrides).unwrap(), Path::new(".")).unwrap();
        let mut stepper = simulation.plan(simulation.grid(), simulation.recipe().time.dt, 1).unwrap();
        let sample = simulation.run(0, &mut stepper, |_| {}).unwrap();
        let accuracy = measure(&simulation, &sample, 1, |_| {}).unwrap();
        (simulation, sample, accuracy)
    }

    #[test]
    fn measured_error_is_the_error_against_the_exact_solution() {
        let (simulation, sample, accuracy) = measured(&[]);
        let solitons = [Soliton { k: 1.2, x0: 20.0 }, Soliton { k: 0.8, x0: 30.0 }];
        for (frame, t) in simulation.times().into_iter().enumerate().skip(1) {
            let exact = Kdv { a: 6.0, b: 1.0 }.solitons(simulation.grid(), &solitons, t).unwrap();
            let stored = &sample.fields[0][frame * 256..][..256];
            let error = difference([stored].into_iter(), [exact.as_slice().unwrap()].into_iter());
            // Time error dominates; the run with half the step has 1/16 of it, so the difference lacks 6 per cent.
            let ratio = accuracy.time[frame] / error;
            assert!((0.85..1.0).contains(&ratio), "{frame}: {} {error}", accuracy.time[frame]);
            assert!(accuracy.space[frame] < 0.1 * error);
        }
    }

    #[test]
    fn half_the_step_has_a_sixteenth_of_the_error_in_time() {
        let [coarse, fine] = ["time.dt=0.01", "time.dt=0.005"].map(|dt| measured(&[dt]).2.time[4]);
        let order = (coarse / fine).log2();
        assert!((order - 4.0).abs() < 0.2, "order {order}");
    }

    #[test]
    fn too_few_points_show_as_error_in_space_and_end_the_horizon() {
        let (simulation, _, accuracy) = measured(&["grid.n=64", "output.stride=2"]);
        // 21 modes on 60 lengths: a soliton of width 1 is cut at exp(-pi k / 1.2) = 3e-3.
        assert!(accuracy.space[4] > 1e-3 && accuracy.space[4] > 100.0 * accuracy.time[4]);
        assert_eq!(accuracy.space[0], 0.0);
        assert!(accuracy.horizon(&simulation.times()) < 4.0);
    }
}
