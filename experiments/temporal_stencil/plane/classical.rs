//! The classical solvers that a model is measured beside.

use std::time::Instant;

use ndarray::{Array5, ArrayD, ArrayView5, Axis, Ix3, s};
use num_complex::Complex64;
use parseval::autodiff::Workers;
use parseval::field::Grid;
use parseval::spectral::{Resample, Transform};
use parseval::stencil::plane::data::spectral_solver;
use parseval::stencil::plane::{FiniteVolume, Interpolation, StaggeredFilter, coarsen};
use parseval::stepper::{State, Stepper};
use parseval::{Error, Result};

use super::config::Config;
use super::data::Test;
use super::evaluate::times;
use super::train::Precision;

/// A predicted test, with what it costs.
pub struct Run {
    /// Method.
    pub label: String,
    /// `[sample, time, 2, n, n]`; zeros where it blew up.
    pub frames: Array5<Precision>,
    /// Floating-point operations a sample and time unit.
    pub flop: f64,
    /// Seconds a sample and time unit, on one thread in the precision of the models.
    pub seconds: f64,
}

/// Finite volumes without model: `n` cells, `steps` a time unit.
pub fn volumes(config: &Config, test: &Test, [n, steps]: [usize; 2], threads: usize) -> Result<Run> {
    let cells = config.data.n;
    if !n.is_multiple_of(cells) {
        return Err(Error::parameter(
            "evaluate.volumes",
            n,
            format!("must be a multiple of the model's {cells} cells"),
        ));
    }
    let solver = FiniteVolume::<f64>::plan(&config.flow, n, 1.0 / steps as f64)?;
    let (_, times) = times(config);
    let filter = StaggeredFilter::plan(&config.flow, test.start.dim().1, n)?;
    let mut state = Vec::new();
    for spectrum in start(config, test)? {
        state.extend(filter.apply(spectrum.view())?);
    }
    let samples = test.start.dim().0;
    let mut frames = Array5::zeros((samples, times.len(), 2, cells, cells));
    let workers = Workers::new(threads)?;
    for frame in 0..times.len() {
        if frame > 0
            && solver.advance(&workers, Interpolation::VanLeer, &mut state, steps_between(&times, steps)?).is_err()
        {
            break;
        }
        for (sample, values) in state.chunks_exact(2 * n * n).enumerate() {
            let view = ndarray::ArrayView3::from_shape((2, n, n), values).expect("whole samples");
            put(&mut frames, sample, frame, &coarsen(view, n / cells)?);
        }
    }
    let mut one: Vec<Precision> = state[..2 * n * n].iter().map(|&x| x as Precision).collect();
    let (worker, timed) = (Workers::new(1)?, FiniteVolume::<Precision>::plan(&config.flow, n, 1.0 / steps as f64)?);
    let seconds = seconds(|| timed.advance(&worker, Interpolation::VanLeer, &mut one, steps).unwrap_or(()));
    let flop = steps as f64 * solver.flops(Interpolation::VanLeer);
    Ok(Run { label: format!("FV-{n}, {steps} steps"), frames, flop, seconds })
}

/// The spectral solver on `n` points, `steps` a time unit, from the truncated truth.
pub fn spectral(config: &Config, test: &Test, [n, steps]: [usize; 2], threads: usize) -> Result<Run> {
    let (fine, samples) = (test.start.dim().1, test.start.dim().0);
    let resample = Resample::<f64>::plan(&grid(config, fine)?, &grid(config, n)?)?;
    let omega = resample.apply(test.start.view().insert_axis(Axis(1)).into_dyn());
    let mut solver = spectral_solver(&config.flow, n, 1.0 / steps as f64, samples, threads)?;
    let state = solver.load(omega.view())?;
    let frames = free_run(config, &mut solver, state, n, steps)?;
    let (flop, seconds) = spectral_cost(config, test, n, steps)?;
    Ok(Run { label: format!("PS-{n}, {steps} steps"), frames, flop, seconds })
}

/// The spectral solver, begun at the first past frame with nothing beyond the cells' Nyquist mode; the resolved modes are
/// replaced by those of the frames every 0.1 up to the present.
pub fn insertion(config: &Config, test: &Test, [n, steps]: [usize; 2], threads: usize) -> Result<Run> {
    let (past, dt, cells) = (config.data.past, config.data.dt, config.data.n);
    let samples = test.frames.dim().0;
    let filter = StaggeredFilter::plan(&config.flow, n, cells)?;
    let mut solver = spectral_solver(&config.flow, n, 1.0 / steps as f64, samples, threads)?;
    let every = (0.1 / dt).round().max(1.0) as usize;
    // Insertions at the present, and so many spacings before it.
    let count = (past - 1) / every;
    let mut state: Option<State<f64>> = None;
    for k in 0..=count {
        let frame = past - 1 - (count - k) * every;
        let mut spectrum = match &mut state {
            Some(state) => {
                solver.advance(state, ((every as f64 * dt) * steps as f64).round() as usize)?;
                solver.to_half(state)
            }
            None => ArrayD::<Complex64>::zeros(vec![samples, 1, n, n / 2 + 1]),
        };
        for sample in 0..samples {
            let truth = filter.invert(test.frames.slice(s![sample, frame, .., .., ..]))?;
            let mut to = spectrum.index_axis_mut(Axis(0), sample);
            for ((index, value), new) in to.indexed_iter_mut().zip(&truth) {
                if filter.resolves(index[1], index[2]) {
                    *value = *new;
                }
            }
        }
        state = Some(solver.from_half(spectrum.view())?);
    }
    let frames = free_run(config, &mut solver, state.expect("at least the present is inserted"), n, steps)?;
    let (flop, seconds) = spectral_cost(config, test, n, steps)?;
    let label = format!("PS-{n}, {steps} steps, truth inserted over {:.2}", (count * every) as f64 * dt);
    Ok(Run { label, frames, flop, seconds })
}

fn free_run(
    config: &Config,
    solver: &mut Stepper<f64>,
    mut state: State<f64>,
    n: usize,
    steps: usize,
) -> Result<Array5<Precision>> {
    let (_, times) = times(config);
    let (cells, samples) = (config.data.n, solver.batch());
    let mut frames = Array5::zeros((samples, times.len(), 2, cells, cells));
    // A field on fewer points than cells is filtered on the grid of the cells.
    let fine = n.max(cells);
    let filter = StaggeredFilter::plan(&config.flow, fine, cells)?;
    let up = (fine > n).then(|| Resample::<f64>::plan(&grid(config, n)?, &grid(config, fine)?)).transpose()?;
    for frame in 0..times.len() {
        if frame > 0 && solver.advance(&mut state, steps_between(&times, steps)?).is_err() {
            break;
        }
        let half = match &up {
            Some(up) => up.target().forward(up.apply(solver.store(&state).view()).view()),
            None => solver.to_half(&state),
        };
        for sample in 0..samples {
            let spectrum = half.index_axis(Axis(0), sample).index_axis_move(Axis(0), 0);
            put(&mut frames, sample, frame, &filter.apply(spectrum)?);
        }
    }
    Ok(frames)
}

/// Sixteen real transforms a step of four stages, and their pointwise work.
fn spectral_cost(config: &Config, test: &Test, n: usize, steps: usize) -> Result<(f64, f64)> {
    let resample = Resample::<f64>::plan(&grid(config, test.start.dim().1)?, &grid(config, n)?)?;
    let omega = resample.apply(test.start.slice(s![..1, .., ..]).insert_axis(Axis(1)).into_dyn());
    let mut solver = spectral_solver::<Precision>(&config.flow, n, 1.0 / steps as f64, 1, 1)?;
    let mut state = solver.load(omega.mapv(|x| x as Precision).view())?;
    let seconds = seconds(|| solver.advance(&mut state, steps).unwrap_or(()));
    let points = (n * n) as f64;
    Ok((steps as f64 * points * (16.0 * 2.5 * points.log2() + 4.0 * 25.0), seconds))
}

/// Spectra of the vorticity at the start of the test.
fn start(config: &Config, test: &Test) -> Result<Vec<ArrayD<Complex64>>> {
    let transform = Transform::<f64>::plan(&grid(config, test.start.dim().1)?);
    Ok(test.start.axis_iter(Axis(0)).map(|omega| transform.forward(omega.into_dyn())).collect())
}

fn grid(config: &Config, n: usize) -> Result<Grid> {
    Grid::cube(2, n, config.flow.length)
}

fn steps_between(times: &[f64], steps: usize) -> Result<usize> {
    let count = times[1] * steps as f64;
    match (count - count.round()).abs() < 1e-6 && count > 0.5 {
        true => Ok(count.round() as usize),
        false => Err(Error::parameter("evaluate steps", steps, format!("must be whole in the spacing {}", times[1]))),
    }
}

fn put(frames: &mut Array5<Precision>, sample: usize, frame: usize, field: &ArrayD<f64>) {
    let field = field.view().into_dimensionality::<Ix3>().expect("a staggered field");
    frames.slice_mut(s![sample, frame, .., .., ..]).zip_mut_with(&field, |to, &from| *to = from as Precision);
}

/// The least of three timings.
pub fn seconds(mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(time).fold(f64::INFINITY, f64::min)
}

/// The last frame of every sample.
pub fn last_frames(frames: ArrayView5<Precision>) -> Vec<ndarray::Array3<Precision>> {
    let last = frames.dim().1 - 1;
    (0..frames.dim().0).map(|sample| frames.slice(s![sample, last, .., .., ..]).to_owned()).collect()
}
