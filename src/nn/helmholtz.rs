//! Divergence-free fields by construction.

use std::sync::Arc;

use num_complex::Complex;

use super::frames::Frames;
use super::kernel::expect_shape;
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::symbol;

/// Plan of the Helmholtz decomposition on a box of 2 or 3 dimensions: Leray projection, vorticity and velocity as
/// operations, with the definitions of [`Derivatives`](crate::spectral::Derivatives) (first derivatives are zero at the
/// Nyquist mode).
///
/// Vector fields have shape `[.., d, space]`. A vorticity has shape `[.., space]` in 2-D and `[.., 3, space]` in 3-D.
///
/// # Example
///
/// ```
/// use parseval::{autodiff::{Parameters, Tape}, field::Grid, nn::Helmholtz};
///
/// let grid = Grid::cube(2, 8, 1.0)?;
/// let plan = Helmholtz::plan(&grid)?;
/// let mut tape = Tape::<f64>::new(Parameters::new(), 1)?;
/// let noise: Vec<f64> = (0..128).map(|i| (37.0 * i as f64).sin()).collect();
/// let u = tape.variable(&[1, 2, 8, 8], &noise)?;
/// let v = plan.leray(&mut tape, u)?;
/// let w = plan.leray(&mut tape, v)?; // a projection: twice is once
/// assert!(tape.values(v).iter().zip(tape.values(w)).all(|(v, w)| (v - w).abs() < 1e-14));
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Helmholtz<T: Real> {
    modes: Arc<Modes<T>>,
}

impl<T: Real> Helmholtz<T> {
    /// Plans the operations of a grid.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the grid has one axis only.
    pub fn plan(grid: &Grid) -> Result<Self> {
        if grid.dim() == 1 {
            return Err(Error::parameter("grid", "1-D", "must have 2 or 3 axes"));
        }
        // Below Nyquist of each axis, as the first derivative there is zero.
        let k = |m: &[i64]| {
            let mut k = [0.0; 3];
            for (axis, k) in k.iter_mut().enumerate().take(m.len()) {
                let is_nyquist = symbol::is_nyquist(grid.shape()[axis], m[axis]);
                *k = if is_nyquist { 0.0 } else { m[axis] as f64 * grid.k_unit(axis) };
            }
            k
        };
        let inverse = |x: f64| T::of(if x == 0.0 { 0.0 } else { 1.0 / x });
        let square = |k: [f64; 3]| k.iter().map(|k| k * k).sum::<f64>();
        let mode = symbol::over_modes(grid, |m| Mode {
            k: k(m).map(T::of),
            inverse_laplacian: inverse(symbol::mode_k_squared(grid, m)),
            inverse_square: inverse(square(k(m))),
        });
        let modes = Modes { frames: Frames::plan(grid, grid.dim()), modes: mode.into_iter().collect() };
        Ok(Self { modes: Arc::new(modes) })
    }

    /// Records the Leray projection `u - k (k . u) / |k|^2`, the nearest field without divergence; `[.., d, space]` to the
    /// same. The mean passes unchanged.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the trailing axes are not those of a vector field on the grid.
    pub fn leray(&self, tape: &mut Tape<T>, u: Var) -> Result<Var> {
        self.apply(tape, u, Map::Leray)
    }

    /// Records the vorticity of a velocity, `curl u` (in 2-D `omega = v_x - u_y`).
    ///
    /// # Errors
    ///
    /// As [`Helmholtz::leray`].
    pub fn vorticity(&self, tape: &mut Tape<T>, u: Var) -> Result<Var> {
        self.apply(tape, u, Map::Curl { of: Form::Velocity, inverts: false })
    }

    /// Records the velocity of a vorticity (Biot-Savart): `-lap psi = omega`, `u = curl psi` (in 2-D
    /// `(psi_y, -psi_x)`), with zero mean and zero divergence.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the trailing axes are not those of a vorticity on the grid.
    pub fn velocity(&self, tape: &mut Tape<T>, omega: Var) -> Result<Var> {
        self.apply(tape, omega, Map::Curl { of: Form::Vorticity, inverts: true })
    }

    fn apply(&self, tape: &mut Tape<T>, x: Var, map: Map) -> Result<Var> {
        tape.apply(Diagonal { modes: self.modes.clone(), map }, &[x])
    }
}

/// What is known of a mode.
struct Mode<T> {
    /// Wavenumber of first derivatives.
    k: [T; 3],
    /// `1 / |k|^2` with the Nyquist modes; zero for the mean.
    inverse_laplacian: T,
    /// `1 / |k|^2` of the wavenumber above; zero where it vanishes.
    inverse_square: T,
}

struct Modes<T: Real> {
    frames: Frames<T>,
    modes: Vec<Mode<T>>,
}

/// Whether a field is a velocity or a vorticity, which in 2-D is a scalar.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Velocity,
    Vorticity,
}

impl Form {
    fn components(self, dim: usize) -> usize {
        if dim == 2 && self == Self::Vorticity { 1 } else { dim }
    }
}

/// A real linear map of one mode.
#[derive(Clone, Copy)]
enum Map {
    Leray,
    /// The curl of one form, which is the other form; of `(-lap)^-1` of it, if it inverts.
    Curl {
        of: Form,
        inverts: bool,
    },
}

impl Map {
    fn input(self) -> Form {
        match self {
            Self::Leray => Form::Velocity,
            Self::Curl { of, .. } => of,
        }
    }

    fn output(self) -> Form {
        match self {
            Self::Leray | Self::Curl { of: Form::Vorticity, .. } => Form::Velocity,
            Self::Curl { of: Form::Velocity, .. } => Form::Vorticity,
        }
    }

    /// The projection is orthogonal; the adjoint of the curl of a velocity is that of a vorticity, and `-lap` is
    /// symmetric.
    fn adjoint(self) -> Self {
        match self {
            Self::Leray => self,
            Self::Curl { inverts, .. } => Self::Curl { of: self.output(), inverts },
        }
    }

    /// Image of the components of one mode.
    #[inline(always)]
    fn apply<T: Real>(self, mode: &Mode<T>, dim: usize, u: [Complex<T>; 3]) -> [Complex<T>; 3] {
        let [kx, ky, kz] = mode.k;
        let i = |z: Complex<T>| Complex::new(-z.im, z.re);
        match self {
            Self::Leray => {
                let potential = (u[0] * kx + u[1] * ky + u[2] * kz) * mode.inverse_square;
                [u[0] - potential * kx, u[1] - potential * ky, u[2] - potential * kz]
            }
            Self::Curl { of, inverts } => {
                let u = if inverts { u.map(|u| u * mode.inverse_laplacian) } else { u };
                match (dim, of) {
                    (2, Form::Velocity) => [i(u[1] * kx - u[0] * ky), u[2], u[2]],
                    (2, Form::Vorticity) => [i(u[0] * ky), i(-u[0] * kx), u[2]],
                    _ => [u[2] * ky - u[1] * kz, u[0] * kz - u[2] * kx, u[1] * kx - u[0] * ky].map(i),
                }
            }
        }
    }
}

/// A map that acts on every mode by itself.
struct Diagonal<T: Real> {
    modes: Arc<Modes<T>>,
    map: Map,
}

impl<T: Real> Diagonal<T> {
    /// Writes the image of `x` into `y`, or adds it.
    fn apply(&self, workers: &Workers<T>, map: Map, x: &[T], y: &mut [T], add: bool) {
        let Modes { frames, modes } = &*self.modes;
        let dim = frames.grid().dim();
        let [inputs, outputs] = [map.input(), map.output()].map(|form| form.components(dim));
        let points = frames.grid().points();
        workers.pieces(y, outputs * points, outputs * points, |index, y, image| {
            frames.with(|memory| {
                frames.forward(&x[index * inputs * points..][..inputs * points], memory);
                for (at, mode) in modes.iter().enumerate() {
                    let mut u = [Complex::new(T::zero(), T::zero()); 3];
                    for (c, u) in u.iter_mut().enumerate().take(inputs) {
                        *u = memory.hat[c * modes.len() + at];
                    }
                    for (c, u) in map.apply(mode, dim, u).into_iter().enumerate().take(outputs) {
                        memory.hat[c * modes.len() + at] = u;
                    }
                }
                if add {
                    frames.inverse(memory, image);
                    y.iter_mut().zip(image.iter()).for_each(|(y, &v)| *y += v);
                } else {
                    frames.inverse(memory, y);
                }
            });
        });
    }

    /// Trailing axes of a form.
    fn trailing(&self, form: Form) -> Vec<usize> {
        let space = self.modes.frames.grid().shape();
        match form.components(space.len()) {
            1 => space.to_vec(),
            components => [&[components], space].concat(),
        }
    }
}

impl<T: Real> Operation<T> for Diagonal<T> {
    fn name(&self) -> &'static str {
        match self.map {
            Map::Leray => "leray",
            Map::Curl { of: Form::Velocity, .. } => "vorticity",
            Map::Curl { of: Form::Vorticity, .. } => "velocity",
        }
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let trailing = self.trailing(self.map.input());
        let leading = inputs[0].len().saturating_sub(trailing.len());
        expect_shape(Operation::<T>::name(self), &trailing, &inputs[0][leading..])?;
        Ok([&inputs[0][..leading], &self.trailing(self.map.output())].concat())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        self.apply(workers, self.map, inputs[0].values, output, false);
    }
    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (values, weight) = input.target();
        self.apply(workers, self.map.adjoint(), cotangent, values, weight != T::zero());
    }
    fn jvp(&self, workers: &Workers<T>, _: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Some(tangent) = tangents[0] else { return false };
        self.apply(workers, self.map, tangent, output, false);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use ndarray::ArrayD;

    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;
    use crate::spectral::Derivatives;

    const MAPS: [Map; 3] = [
        Map::Leray,
        Map::Curl { of: Form::Velocity, inverts: false },
        Map::Curl { of: Form::Vorticity, inverts: true },
    ];

    fn grids() -> [Grid; 3] {
        [
            Grid::new(&[8, 10], &[TAU, TAU]).unwrap(),
            Grid::new(&[7, 9], &[2.0, 5.0]).unwrap(),
            Grid::new(&[6, 5, 4], &[1.0, 2.0, 3.0]).unwrap(),
        ]
    }

    fn operation(grid: &Grid, map: Map) -> Diagonal<f64> {
        Diagonal { modes: Helmholtz::plan(grid).unwrap().modes, map }
    }

    fn input(grid: &Grid, map: Map) -> (Vec<usize>, Vec<f64>) {
        noise(&[vec![2, 3], operation(grid, map).trailing(map.input())].concat(), 1)
    }

    #[test]
    fn operations_are_those_of_the_spectral_plan() {
        for grid in grids() {
            let derivatives = Derivatives::<f64>::plan(&grid);
            for map in MAPS {
                let (shape, values) = input(&grid, map);
                let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
                let x = tape.variable(&shape, &values).unwrap();
                let y = tape.apply(operation(&grid, map), &[x]).unwrap();
                let x = ArrayD::from_shape_vec(shape, values).unwrap();
                let expected = match map {
                    Map::Leray => derivatives.leray(x.view()),
                    Map::Curl { of: Form::Velocity, .. } => derivatives.curl(x.view()),
                    Map::Curl { of: Form::Vorticity, .. } => derivatives.biot_savart(x.view()),
                };
                assert_eq!(tape.shape(y), expected.shape());
                // Wavenumbers are up to 20.
                assert!(tape.values(y).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
            }
        }
    }

    #[test]
    fn a_projected_field_has_no_divergence() {
        // White noise of 32^2 points, Nyquist modes included, on the box of length one.
        let grid = Grid::cube(2, 32, 1.0).unwrap();
        let plan = Helmholtz::<f64>::plan(&grid).unwrap();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let (shape, values) = noise(&[1, 2, 32, 32], 1);
        let u = tape.variable(&shape, &values).unwrap();
        let u = plan.leray(&mut tape, u).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let u = ArrayD::from_shape_vec(shape, tape.values(u).to_vec()).unwrap();
        let rms = |x: &ArrayD<f64>| (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64).sqrt();
        // Relative to the size of the derivatives that cancel.
        let gradient = rms(&derivatives.derivative(u.view(), 0, 1));
        assert!(rms(&derivatives.divergence(u.view())) < 1e-14 * gradient);
    }

    #[test]
    fn velocity_of_the_vorticity_is_the_velocity() {
        // Odd sizes: no Nyquist mode is lost. Mean zero and no divergence by construction.
        let grid = Grid::new(&[9, 7], &[TAU, TAU]).unwrap();
        let plan = Helmholtz::<f64>::plan(&grid).unwrap();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let (shape, values) = noise(&[2, 9, 7], 1);
        let omega = tape.variable(&shape, &values).unwrap();
        let u = plan.velocity(&mut tape, omega).unwrap();
        let omega = plan.vorticity(&mut tape, u).unwrap();
        let again = plan.velocity(&mut tape, omega).unwrap();
        assert_eq!(tape.shape(u), [2, 2, 9, 7]);
        assert!(tape.values(u).iter().zip(tape.values(again)).all(|(u, v)| (u - v).abs() < 1e-14));
    }

    #[test]
    fn adjoints_are_transposes() {
        for grid in grids() {
            for map in MAPS {
                assert_derivatives(|| operation(&grid, map), &[input(&grid, map)]);
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let grid = Grid::cube(2, 16, 1.0).unwrap();
        let (single, double) = (Helmholtz::plan(&grid).unwrap(), Helmholtz::plan(&grid).unwrap());
        let u = [noise(&[7, 2, 16, 16], 1)];
        assert_threads_agree(&u, |t, v| single.leray(t, v[0]), |t, v| double.vorticity(t, v[0]));
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let plan = Helmholtz::<f64>::plan(&Grid::cube(2, 4, 1.0).unwrap()).unwrap();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[3, 4, 4], &[0.0; 48]).unwrap();
        let error = plan.leray(&mut tape, x).unwrap_err().to_string();
        assert_eq!(error, "leray: expected shape [2, 4, 4], got [3, 4, 4]");
        assert!(plan.velocity(&mut tape, x).is_ok());
        assert!(Helmholtz::<f64>::plan(&Grid::cube(1, 8, 1.0).unwrap()).is_err());
    }
}
