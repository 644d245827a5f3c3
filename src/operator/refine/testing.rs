//! Trajectories and errors for the tests of this folder.

use std::sync::LazyLock;
use std::time::Instant;

use ndarray::{ArrayD, Axis, Slice};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::TimeGrid;
use crate::field::Grid;
use crate::initial::GaussianField;
use crate::pde::NavierStokes2d;
use crate::spectral::{Transform, symbol};
use crate::stepper::{Options, Scheme, Stepper};

/// Viscosity of the flow.
pub const NU: f64 = 1e-3;
/// Time between frames.
pub const DT_OUT: f64 = 0.2;

pub fn flow() -> NavierStokes2d {
    NavierStokes2d::fno(NU)
}

pub fn grid() -> Grid {
    Grid::cube(2, 64, 1.0).unwrap()
}

/// 40 predicted frames and the start, `T = 8`.
pub fn time() -> TimeGrid {
    TimeGrid::uniform(41, DT_OUT, 6).unwrap()
}

/// The forced flow of the Fourier-neural-operator data at `t = 10 .. 18`, by small steps: `[frame, 1, x, y]`.
pub fn reference() -> &'static ArrayD<f64> {
    static TRAJECTORY: LazyLock<ArrayD<f64>> = LazyLock::new(|| trajectory(1));
    &TRAJECTORY
}

/// The trajectory of a seed; 16 steps a frame.
pub fn trajectory(seed: u64) -> ArrayD<f64> {
    let omega = GaussianField::fno_navier_stokes().sample(&grid(), seed).unwrap();
    let mut stepper =
        Stepper::<f64>::plan(&flow(), &grid(), Scheme::Etdrk4, DT_OUT / 16.0, &Options::default()).unwrap();
    let mut state = stepper.load(omega.view()).unwrap();
    stepper.advance(&mut state, 50 * 16).unwrap();
    let mut frames = vec![stepper.store(&state).index_axis_move(Axis(0), 0)];
    stepper
        .rollout(&mut state, 40, 16, |_, _, field| {
            frames.push(field.index_axis_move(Axis(0), 0));
            Ok(())
        })
        .unwrap();
    ndarray::stack(Axis(0), &frames.iter().map(|f| f.view()).collect::<Vec<_>>()).unwrap()
}

/// White noise of variance 1.
pub fn noise(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    ArrayD::from_shape_fn(shape, |_| rng.sample(StandardNormal))
}

/// How an error varies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `|m| <= 4` in space; three slow cosines in time.
    Smooth,
    /// `|m| <= 4` in space; independent from frame to frame.
    RoughInTime,
    /// All modes up to the 2/3 cut with equal power; slow in time.
    RoughInSpace,
}

pub const KINDS: [Kind; 3] = [Kind::Smooth, Kind::RoughInTime, Kind::RoughInSpace];

/// A prediction: the trajectory plus an error of that kind and relative size in space and time, growing from zero at the
/// first frame as a surrogate's does.
pub fn perturbed(trajectory: &ArrayD<f64>, kind: Kind, size: f64, seed: u64) -> ArrayD<f64> {
    let grid = grid();
    let transform = Transform::plan(&grid);
    let cut = if kind == Kind::RoughInSpace { 21 } else { 4 };
    let mask = symbol::over_modes(&grid, |m| {
        let kept = m.iter().all(|&m| m.abs() <= cut) && m.iter().any(|&m| m != 0);
        if kept { 1.0 } else { 0.0 }
    });
    let shape = trajectory.shape();
    let fields: Vec<ArrayD<f64>> = (0..shape[0])
        .map(|i| {
            transform.inverse((transform.forward(noise(grid.shape(), 1000 * seed + i as u64).view()) * &mask).view())
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let phases: [f64; 3] = std::array::from_fn(|_| rng.random_range(0.0..std::f64::consts::TAU));
    let mut error = ArrayD::<f64>::zeros(shape);
    for (m, mut frame) in error.axis_iter_mut(Axis(0)).enumerate() {
        let mut frame = frame.index_axis_mut(Axis(0), 0);
        let ramp = (m as f64 / 5.0).min(1.0);
        if kind == Kind::RoughInTime {
            frame.scaled_add(ramp, &fields[m]);
        } else {
            let t = m as f64 * DT_OUT;
            for (j, phase) in phases.iter().enumerate() {
                frame.scaled_add((0.4 * (j + 1) as f64 * t + phase).cos() * ramp, &fields[j]);
            }
        }
    }
    let scale = size * square(trajectory).sqrt() / square(&error).sqrt();
    trajectory + &(error * scale)
}

/// `sum_m omega_m |u_m|^2` but for a factor.
fn square(u: &ArrayD<f64>) -> f64 {
    let squares: Vec<f64> = u.axis_iter(Axis(0)).map(|u| u.iter().map(|u| u * u).sum()).collect();
    time().integrate(&squares)
}

/// Relative L2 error in space and time.
pub fn relative(u: &ArrayD<f64>, reference: &ArrayD<f64>) -> f64 {
    (square(&(u - reference)) / square(reference)).sqrt()
}

/// The first frame.
pub fn start(trajectory: &ArrayD<f64>) -> ArrayD<f64> {
    trajectory.index_axis(Axis(0), 0).to_owned()
}

/// The frames from `first` on.
pub fn later(trajectory: &ArrayD<f64>, first: usize) -> ArrayD<f64> {
    trajectory.slice_axis(Axis(0), Slice::from(first..)).to_owned()
}

/// CPU seconds of this thread so far where the system tells them, else wall seconds: ratios of the former survive a busy
/// machine.
pub fn cpu_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|s| s.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| 1e-9 * ns)
}
