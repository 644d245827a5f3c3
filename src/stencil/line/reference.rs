//! Reference solutions by the spectral core, and maps between points and cell averages.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use num_complex::Complex64;

use super::equation::Equation;
use super::step::sinc;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::initial::RandomFourier;
use crate::pde::{Burgers, KuramotoSivashinsky, Pde};
use crate::stepper::{Options, Scheme, Stepper};

/// The linear map from `inputs` to `outputs` values on the same period that multiplies mode `m` by `symbol(m)` and keeps
/// the modes `|m| < inputs / 2`; shape `[outputs, inputs]`.
pub fn fourier_map(outputs: usize, inputs: usize, symbol: impl Fn(usize) -> Complex64) -> Array2<f64> {
    let tau = std::f64::consts::TAU;
    let symbols: Vec<Complex64> = (0..inputs.div_ceil(2)).map(symbol).collect();
    Array2::from_shape_fn((outputs, inputs), |(i, j)| {
        let turn = i as f64 / outputs as f64 - j as f64 / inputs as f64;
        let terms = symbols.iter().enumerate().map(|(m, s)| {
            let pairs = if m == 0 { 1.0 } else { 2.0 };
            pairs * (s * Complex64::from_polar(1.0, tau * m as f64 * turn)).re
        });
        terms.sum::<f64>() / inputs as f64
    })
}

/// Factor of mode `m` from point values at `x_j` to averages over `n` cells `[x_i, x_(i+1)]`.
fn average(n: usize, m: usize) -> Complex64 {
    let half = std::f64::consts::PI * m as f64 / n as f64;
    Complex64::from_polar(sinc(half), half)
}

/// Exact averages over `cells` cells of the trigonometric polynomial through `points` values; shape `[cells, points]`.
pub fn averaging(cells: usize, points: usize) -> Array2<f64> {
    fourier_map(cells, points, |m| average(cells, m))
}

/// The same for the modes below the cells' Nyquist mode only.
pub fn resolved_averaging(cells: usize, points: usize) -> Array2<f64> {
    fourier_map(cells, points, |m| if 2 * m < cells { average(cells, m) } else { Complex64::ZERO })
}

/// Point values of the trigonometric polynomial of lowest degree that has the given cell averages; shape
/// `[points, cells]`.
pub fn lifting(points: usize, cells: usize) -> Array2<f64> {
    fourier_map(points, cells, |m| average(cells, m).inv())
}

/// Values on `outputs` points of the modes `|m| <= cut` of `inputs` values.
pub fn truncation(outputs: usize, inputs: usize, cut: usize) -> Array2<f64> {
    fourier_map(outputs, inputs, |m| if m <= cut { Complex64::ONE } else { Complex64::ZERO })
}

/// A spectral solver (ETDRK4, 2/3 rule) of many samples on `points` points.
///
/// # Errors
///
/// Those of [`Stepper::plan`].
pub fn solver(equation: &Equation, points: usize, dt: f64, samples: usize, threads: usize) -> Result<Stepper<f64>> {
    equation.validate()?;
    let grid = Grid::cube(1, points, equation.length())?;
    let options = Options { batch: samples, threads, ..Options::default() };
    fn plan<P: Pde>(pde: &P, grid: &Grid, dt: f64, options: &Options) -> Result<Stepper<f64>> {
        Stepper::plan(pde, grid, Scheme::Etdrk4, dt, options)
    }
    match *equation {
        Equation::KuramotoSivashinsky { .. } => plan(&KuramotoSivashinsky::unit(), &grid, dt, &options),
        Equation::Burgers { nu, .. } => plan(&Burgers { nu }, &grid, dt, &options),
    }
}

/// Runs `frames` frames of `steps` steps from `start: [sample, points]` and shows each frame `[sample, points]`, counted from
/// 1.
///
/// # Errors
///
/// Those of the solver, [`Error::BlowUp`] among them, and of `observe`.
pub fn march(
    stepper: &mut Stepper<f64>,
    start: ArrayView2<f64>,
    frames: usize,
    steps: usize,
    mut observe: impl FnMut(usize, ArrayView2<f64>) -> Result<()>,
) -> Result<()> {
    let (samples, points) = start.dim();
    let start = start.to_owned().into_shape_with_order((samples, 1, points)).expect("one channel");
    let mut state = stepper.load(start.view().into_dyn())?;
    for frame in 1..=frames {
        stepper.advance(&mut state, steps)?;
        let fields = stepper.store(&state).into_shape_with_order((samples, points)).expect("one channel");
        observe(frame, fields.view())?;
    }
    Ok(())
}

/// What a reference is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Points of the spectral solver.
    pub points: usize,
    /// Its steps between two frames.
    pub steps: usize,
    /// Time between two frames.
    pub dt: f64,
    /// Time that is left out at the start.
    pub warm_up: f64,
    /// Highest mode of the random start.
    pub cut: usize,
    /// Largest absolute value of the start.
    pub amplitude: f64,
}

/// Fields on the reference's points at frame 0, after the warm-up, one a seed: `[sample, points]`.
///
/// # Errors
///
/// Those of [`solver`] and [`march`].
pub fn starts(equation: &Equation, recipe: &Recipe, seeds: Range<u64>, threads: usize) -> Result<Array2<f64>> {
    let samples = seeds.clone().count();
    if samples == 0 || recipe.steps == 0 {
        let (name, value) = if samples == 0 { ("samples", samples) } else { ("steps", recipe.steps) };
        return Err(Error::parameter(name, value, "must be >= 1"));
    }
    let grid = Grid::cube(1, recipe.points, equation.length())?;
    let series = RandomFourier { max: Some(recipe.amplitude), ..RandomFourier::new(recipe.cut) };
    let mut fields = Array2::zeros((samples, recipe.points));
    for (seed, mut row) in seeds.zip(fields.rows_mut()) {
        let field = series.sample(&grid, seed)?;
        row.assign(&field.into_shape_with_order(recipe.points).expect("one axis"));
    }
    let frames = (recipe.warm_up / recipe.dt).ceil() as usize;
    if frames > 0 {
        let mut stepper = solver(equation, recipe.points, recipe.dt / recipe.steps as f64, samples, threads)?;
        let start = fields.clone();
        march(&mut stepper, start.view(), 1, frames * recipe.steps, |_, last| {
            fields.assign(&last);
            Ok(())
        })?;
    }
    Ok(fields)
}

/// Cell averages `[sample, time, cells]` at `frames` frames, the first of them of `start`.
///
/// # Errors
///
/// Those of [`solver`] and [`march`].
pub fn averages(
    equation: &Equation,
    recipe: &Recipe,
    start: ArrayView2<f64>,
    cells: usize,
    frames: usize,
    threads: usize,
) -> Result<Array3<f64>> {
    let map = averaging(cells, recipe.points);
    let mut values = Array3::zeros((start.nrows(), frames, cells));
    values.index_axis_mut(Axis(1), 0).assign(&start.dot(&map.t()));
    let mut stepper = solver(equation, recipe.points, recipe.dt / recipe.steps as f64, start.nrows(), threads)?;
    march(&mut stepper, start, frames.saturating_sub(1), recipe.steps, |frame, fields| {
        values.slice_mut(s![.., frame, ..]).assign(&fields.dot(&map.t()));
        Ok(())
    })?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_of_a_mode_are_exact_and_lifting_takes_them_back() {
        let (cells, points) = (8, 32);
        let tau = std::f64::consts::TAU;
        let field = ndarray::Array1::from_shape_fn(points, |j| (2.0 * tau * j as f64 / points as f64 + 0.3).sin());
        let averages = averaging(cells, points).dot(&field);
        for (i, value) in averages.iter().enumerate() {
            let (from, to) = (i as f64 / cells as f64, (i + 1) as f64 / cells as f64);
            let primitive = |x: f64| -(2.0 * tau * x + 0.3).cos() / (2.0 * tau);
            // 32 roundings.
            assert!((value - (primitive(to) - primitive(from)) * cells as f64).abs() < 1e-13);
        }
        let back = lifting(points, cells).dot(&averages);
        assert!(back.iter().zip(&field).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn cell_averages_of_the_reference_do_not_depend_on_its_points() {
        let equation = Equation::KuramotoSivashinsky { length: 64.0 };
        let recipe = |points| Recipe { points, steps: 8, dt: 0.25, warm_up: 10.0, cut: 6, amplitude: 1.0 };
        let run = |points: usize| {
            let start = starts(&equation, &recipe(points), 5..7, 1).unwrap();
            averages(&equation, &recipe(points), start.view(), 32, 9, 1).unwrap()
        };
        let worst = (&run(128) - &run(256)).iter().fold(0.0f64, |w, d| w.max(d.abs()));
        // 42 modes hold the solution to some 1e-6 of its size, twelve time units long.
        assert!(worst < 3e-5, "{worst:e}");
    }
}
