//! Conserved and balanced quantities, evaluated on physical states.

use ndarray::{ArrayD, ArrayViewD, Axis};
use num_complex::Complex64;

use super::Pde;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::{Transform, symbol};

type Functional = Box<dyn Fn(&Snapshot) -> f64 + Send + Sync>;

/// A functional of the state together with its rate of change under the equation.
///
/// All values are averages over the box, `<.> = (1 / volume) int . dx`. A conserved quantity has rate zero, in exact
/// time also for the truncated system; for others the rate is the right-hand side of the balance, for example
/// `dE/dt = -2 nu Z - 2 drag E + <psi f>`.
pub struct Invariant {
    name: &'static str,
    value: Functional,
    rate: Option<Functional>,
}

impl Invariant {
    /// A quantity that does not change.
    pub fn conserved(name: &'static str, value: impl Fn(&Snapshot) -> f64 + Send + Sync + 'static) -> Self {
        Self { name, value: Box::new(value), rate: None }
    }

    /// A quantity that changes at a known rate.
    pub fn balanced(
        name: &'static str,
        value: impl Fn(&Snapshot) -> f64 + Send + Sync + 'static,
        rate: impl Fn(&Snapshot) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { name, value: Box::new(value), rate: Some(Box::new(rate)) }
    }

    /// What it is called, e.g. `"energy"`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it does not change in time, whatever the coefficients.
    pub fn is_conserved(&self) -> bool {
        self.rate.is_none()
    }

    /// Its value.
    pub fn value(&self, snapshot: &Snapshot) -> f64 {
        (self.value)(snapshot)
    }

    /// Its time derivative according to the equation.
    pub fn rate(&self, snapshot: &Snapshot) -> f64 {
        self.rate.as_ref().map_or(0.0, |rate| rate(snapshot))
    }
}

/// Angular wavenumber of one mode.
#[derive(Clone, Copy, Debug)]
pub struct Mode(pub [f64; 3]);

impl Mode {
    /// `|k|^2`.
    pub fn square(self) -> f64 {
        self.0.iter().map(|k| k * k).sum()
    }

    /// `i k x u`, the coefficient of the curl of `u`.
    pub fn curl(self, u: &[Complex64]) -> [Complex64; 3] {
        let k = self.0;
        [u[2] * k[1] - u[1] * k[2], u[0] * k[2] - u[2] * k[0], u[1] * k[0] - u[0] * k[1]]
            .map(|z| Complex64::new(-z.im, z.re))
    }
}

/// A physical state on its grid together with its Fourier coefficients and those of the equation's forcing.
///
/// The state is taken as band limited: Nyquist modes do not count. Mean values of degree `p` are exact if the state has
/// no modes beyond `n / p`, as those of the solver.
pub struct Snapshot {
    transform: Transform<f64>,
    /// Wavenumber and multiplicity of each stored mode, zero for Nyquist modes.
    modes: ArrayD<(Mode, f64)>,
    fields: Vec<ArrayD<f64>>,
    /// `u_hat` with `u = sum_m u_hat_m exp(i k_m x)`, half of the last axis, of each channel; and of the forcing.
    spectra: Vec<ArrayD<Complex64>>,
    forcing: Vec<ArrayD<Complex64>>,
}

impl Snapshot {
    /// Transforms a state of shape `[channel, x, (y, (z))]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the state does not have the equation's channels on this grid.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array;
    /// use parseval::field::Grid;
    /// use parseval::pde::{Burgers, Pde, Snapshot};
    /// let grid = Grid::new(&[16], &[std::f64::consts::TAU])?;
    /// let state = Array::from_iter(grid.coordinates(0)).sin().into_shape_with_order((1, 16)).unwrap().into_dyn();
    /// let burgers = Burgers { nu: 0.1 };
    /// let snapshot = Snapshot::new(&burgers, &grid, state.view())?;
    /// let energy = &burgers.invariants()[1];
    /// assert!((energy.value(&snapshot) - 0.25).abs() < 1e-15);
    /// assert!((energy.rate(&snapshot) + 0.05).abs() < 1e-15);
    /// # Ok::<(), parseval::Error>(())
    /// ```
    pub fn new<P: Pde>(pde: &P, grid: &Grid, state: ArrayViewD<f64>) -> Result<Self> {
        let expected: Vec<usize> = std::iter::once(P::CHANNELS).chain(grid.shape().iter().copied()).collect();
        if state.shape() != expected {
            return Err(Error::shape("state", &expected, state.shape()));
        }
        let transform = Transform::plan(grid);
        let scale = 1.0 / grid.points() as f64;
        let coefficients = |field: &ArrayD<f64>| transform.forward(field.view()) * scale;
        let fields: Vec<ArrayD<f64>> = state.axis_iter(Axis(0)).map(|field| field.to_owned()).collect();
        let forcing = (0..P::CHANNELS).map(|c| {
            ArrayD::from_shape_fn(grid.shape(), |i| {
                let mut x = [0.0; 3];
                (0..grid.dim()).for_each(|axis| x[axis] = i[axis] as f64 * grid.spacing(axis));
                pde.forcing(c, x).unwrap_or(0.0)
            })
        });
        Ok(Self {
            spectra: fields.iter().map(coefficients).collect(),
            forcing: forcing.map(|field| coefficients(&field)).collect(),
            modes: symbol::over_modes(grid, |m| {
                let mut k = [0.0; 3];
                (0..m.len()).for_each(|axis| k[axis] = m[axis] as f64 * grid.k_unit(axis));
                let nyquist = m.iter().zip(grid.shape()).any(|(&m, &n)| symbol::is_nyquist(n, m));
                let weight = if nyquist {
                    0.0
                } else if m[m.len() - 1] == 0 {
                    1.0
                } else {
                    2.0
                };
                (Mode(k), weight)
            }),
            fields,
            transform,
        })
    }

    /// `<f(u)>`; `f` gets the channels' values at a point.
    pub fn mean(&self, f: impl Fn(&[f64]) -> f64) -> f64 {
        let points = self.fields[0].len();
        let mut u = vec![0.0; self.fields.len()];
        let mut channels: Vec<_> = self.fields.iter().map(|field| field.iter()).collect();
        let mut sum = 0.0;
        for _ in 0..points {
            u.iter_mut().zip(&mut channels).for_each(|(u, c)| *u = *c.next().expect("one value a point"));
            sum += f(&u);
        }
        sum / points as f64
    }

    /// `sum_m f(k_m, u_hat_m, f_hat_m)` over all modes; `f` gets the channels' coefficients of state and forcing, and
    /// must be the same at `m` and `-m`, as the terms of an average of real fields are.
    ///
    /// By Parseval `mode_sum(|_, u, _| u[0].norm_sqr())` is `<u^2>`.
    pub fn mode_sum(&self, f: impl Fn(Mode, &[Complex64], &[Complex64]) -> f64) -> f64 {
        let channels = self.spectra.len();
        let mut coefficients: Vec<_> = self.spectra.iter().chain(&self.forcing).map(|s| s.iter()).collect();
        let mut at = vec![Complex64::default(); 2 * channels];
        let mut sum = 0.0;
        for &(k, weight) in &self.modes {
            at.iter_mut().zip(&mut coefficients).for_each(|(z, c)| *z = *c.next().expect("one coefficient a mode"));
            sum += weight * f(k, &at[..channels], &at[channels..]);
        }
        sum
    }

    /// The physical field with coefficients `symbol(k) u_hat` of a channel, for example a derivative.
    pub fn apply(&self, channel: usize, symbol: impl Fn(Mode) -> Complex64) -> ArrayD<f64> {
        let points = self.fields[channel].len() as f64;
        let multiplier =
            self.modes.mapv(|(k, weight)| if weight == 0.0 { Complex64::ZERO } else { symbol(k) * points });
        self.transform.inverse((&self.spectra[channel] * &multiplier).view())
    }

    /// Values of a channel, shape of the grid.
    pub fn field(&self, channel: usize) -> &ArrayD<f64> {
        &self.fields[channel]
    }
}
