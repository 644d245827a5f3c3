//! The finite-volume solver.

use std::f64::consts::TAU;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::interpolation::Cells;
use super::kernel::{self, Bars, Constants, Kernel, Scheme};
use super::learned;
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;

/// Which value of `sin(k y)` forces a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForcingAverage {
    /// That at the centre of the face.
    Point,
    /// The mean over the face, `sin(k h / 2) / (k h / 2)` times that at its centre.
    #[default]
    Cell,
    /// As in the released code of the temporal stencil model, whose factor `sin(h / 2) / (h / 2)` lacks the wavenumber.
    TsmCompat,
}

/// Kolmogorov forcing `A sin(2 pi mode y / L)` of the velocity along x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kolmogorov {
    /// Amplitude `A`, length / time^2.
    pub amplitude: f64,
    /// Number of periods in the box.
    pub mode: usize,
    /// How a cell is forced.
    #[serde(default)]
    pub average: ForcingAverage,
}

/// Incompressible flow of unit density on the torus `[0, L)^2`:
///
/// ```text
/// u_t + div(u u) = -grad p + nu lap u + f - drag u,     div u = 0 .
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Kinematic viscosity, length^2 / time.
    pub nu: f64,
    /// Linear drag, 1 / time.
    pub drag: f64,
    /// Forcing; none lets the flow decay.
    pub forcing: Option<Kolmogorov>,
    /// Period `L` of the box.
    pub length: f64,
}

impl Default for Flow {
    /// Kolmogorov flow at "Re = 1000" (Kochkov et al., PNAS 2021).
    fn default() -> Self {
        let forcing = Kolmogorov { amplitude: 1.0, mode: 4, average: ForcingAverage::Cell };
        Self { nu: 1e-3, drag: 0.1, forcing: Some(forcing), length: TAU }
    }
}

impl Flow {
    /// The same flow without forcing and drag.
    pub fn decaying(nu: f64) -> Self {
        Self { nu, drag: 0.0, forcing: None, length: TAU }
    }

    /// The largest step `courant h / max_speed` of an explicit convection, `h = L / n`; 0.5 is usual.
    pub fn step(&self, n: usize, max_speed: f64, courant: f64) -> f64 {
        courant * self.length / (n as f64 * max_speed)
    }
}

/// How carried values are interpolated to the faces of a cell by a solver that was not trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The mean of the two neighbours. With explicit Euler steps it is unstable at high Reynolds numbers.
    Linear,
    /// Lax-Wendroff, limited by van Leer.
    #[default]
    VanLeer,
}

/// How learned logits become values at the faces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stencil {
    /// Cells of each interpolation.
    pub cells: Cells,
    /// Whether carried values pass through van Leer's limiter.
    pub limited: bool,
}

/// Plan of steps of the incompressible Navier-Stokes equations on a staggered grid of `n x n` cells.
///
/// Arrays are `[batch, 2, n, n]`. With `h = L / n` and indices `(i, j)` along x and y, `u` is the mean over the right face
/// of cell `(i, j)`, at `((i + 1) h, (j + 1/2) h)`, and `v` that over its upper face, at `((i + 1/2) h, (j + 1) h)`.
///
/// One step is explicit in convection, forcing and drag, and implicit in viscosity,
///
/// ```text
/// w = c + dt (-div F(c) + f - drag c),      c' = (1 - nu dt lap_h)^-1 P_h w,
/// ```
///
/// with fluxes `F` carrier times carried value at the faces of each component's control volume, and the exact discrete
/// projection `P_h`. Projection and diffusion are one map between two complex Fourier transforms.
///
/// It is the scheme of JAX-CFD ("implicit diffusion Navier-Stokes", Kochkov et al., PNAS 2021), of first order in time.
///
/// # Example
///
/// ```
/// use parseval::autodiff::Workers;
/// use parseval::stencil::plane::{FiniteVolume, Flow, Interpolation};
///
/// let flow = Flow::decaying(0.1);
/// let solver = FiniteVolume::<f64>::plan(&flow, 16, 0.01)?;
/// let h = flow.length / 16.0;
/// // Taylor-Green vortices, point values.
/// let mut state: Vec<f64> = Vec::new();
/// for (component, offset) in [[1.0, 0.5], [0.5, 1.0]].into_iter().enumerate() {
///     for i in 0..16 {
///         for j in 0..16 {
///             let (x, y) = ((i as f64 + offset[0]) * h, (j as f64 + offset[1]) * h);
///             state.push(if component == 0 { x.cos() * y.sin() } else { -x.sin() * y.cos() });
///         }
///     }
/// }
/// let before = state.clone();
/// solver.advance(&Workers::new(1)?, Interpolation::Linear, &mut state, 10)?;
/// let decay = (-2.0 * flow.nu * 0.1f64).exp(); // 0.98
/// assert!(state.iter().zip(&before).all(|(after, before)| (after - decay * before).abs() < 5e-3));
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct FiniteVolume<T: Real> {
    flow: Flow,
    n: usize,
    dt: f64,
    kernel: Arc<dyn Kernel<T>>,
}

impl<T: Real> FiniteVolume<T> {
    /// Plans steps of size `dt` on `n x n` cells.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `n` is below 4, `dt` or the box not positive, the viscosity negative, the drag not in
    /// `[0, 1 / dt]`, or the forcing not resolved.
    pub fn plan(flow: &Flow, n: usize, dt: f64) -> Result<Self> {
        if n < 4 {
            return Err(Error::parameter("n", n, "must be at least 4"));
        }
        for (name, value) in [("dt", dt), ("length", flow.length)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "must be positive and finite"));
            }
        }
        if !(flow.nu >= 0.0 && flow.nu.is_finite()) {
            return Err(Error::parameter("nu", flow.nu, "must be >= 0 and finite"));
        }
        if !(0.0..=1.0).contains(&(flow.drag * dt)) {
            return Err(Error::parameter("drag", flow.drag, format!("must be in [0, 1 / dt = {}]", 1.0 / dt)));
        }
        let h = flow.length / n as f64;
        let mut forcing = vec![0.0; n];
        if let Some(Kolmogorov { amplitude, mode, average }) = flow.forcing {
            if 2 * mode >= n || !amplitude.is_finite() {
                return Err(Error::parameter("forcing mode", mode, format!("must be below n / 2 = {}", n / 2)));
            }
            let k = TAU * mode as f64 / flow.length;
            let sinc = |x: f64| if x == 0.0 { 1.0 } else { x.sin() / x };
            let factor = match average {
                ForcingAverage::Point => 1.0,
                ForcingAverage::Cell => sinc(k * h / 2.0),
                ForcingAverage::TsmCompat => sinc(h / 2.0),
            };
            let value = |j: usize| amplitude * factor * (k * (j as f64 + 0.5) * h).sin();
            forcing = (0..n).map(value).collect();
        }
        let constants = Constants { n, h, dt, nu: flow.nu, drag: flow.drag, forcing };
        Ok(Self { flow: *flow, n, dt, kernel: Arc::from(kernel::plan::<T>(&constants)) })
    }

    /// The flow.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Cells along an axis.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Size of a step.
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// Values of one sample.
    pub fn sample_len(&self) -> usize {
        2 * self.n * self.n
    }

    /// Makes steps in place; `state` holds any number of samples `[2, n, n]`.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] with sample, step and time counted from this call, if a value is not finite.
    ///
    /// # Panics
    ///
    /// If the state is not a number of whole samples.
    pub fn advance(
        &self,
        workers: &Workers<T>,
        interpolation: Interpolation,
        state: &mut [T],
        steps: usize,
    ) -> Result<()> {
        let len = self.sample_len();
        assert!(state.len().is_multiple_of(len), "state of {} values in samples of {len}", state.len());
        let scheme = interpolation.scheme();
        workers.pieces(state, len, len, |_, sample, next| {
            for _ in 0..steps {
                self.kernel.step(scheme, sample, &[], next);
                sample.copy_from_slice(next);
            }
        });
        learned::check(state, len, steps, self.dt)
    }

    /// Records a step without learned values.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the state is not `[batch, 2, n, n]`.
    pub fn record(&self, tape: &mut Tape<T>, interpolation: Interpolation, state: Var) -> Result<Var> {
        tape.apply(Step { solver: self.clone(), scheme: interpolation.scheme(), slice: 0 }, &[state])
    }

    /// Records a step with learned values at the faces, from `slice` of `logits: [batch, slices 8 (S - 1), n, n]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a shape does not fit.
    pub fn record_learned(
        &self,
        tape: &mut Tape<T>,
        stencil: Stencil,
        state: Var,
        logits: Var,
        slice: usize,
    ) -> Result<Var> {
        tape.apply(Step { solver: self.clone(), scheme: stencil.scheme(), slice }, &[state, logits])
    }

    /// Records projection and diffusion of any staggered field, `(1 - nu dt lap_h)^-1 P_h w`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the field is not `[batch, 2, n, n]`.
    pub fn record_projection(&self, tape: &mut Tape<T>, field: Var) -> Result<Var> {
        tape.apply(Project { solver: self.clone() }, &[field])
    }

    /// One step with learned values, of one sample `[2, n, n]` with the logits `[8 (S - 1), n, n]` of this step.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn step_learned(&self, stencil: Stencil, state: &[T], logits: &[T], next: &mut [T]) {
        self.kernel.step(stencil.scheme(), state, logits, next);
    }

    /// Floating-point operations of a step of one sample without learned values: four fluxes and their differences, then
    /// [`FiniteVolume::implicit_flops`].
    pub fn flops(&self, interpolation: Interpolation) -> f64 {
        let flux = match interpolation {
            Interpolation::Linear => 5.0,
            Interpolation::VanLeer => 22.0,
        };
        (self.n * self.n) as f64 * (4.0 * flux + 20.0) + self.implicit_flops()
    }

    /// Those of projection and diffusion: two complex transforms.
    pub fn implicit_flops(&self) -> f64 {
        let points = (self.n * self.n) as f64;
        2.0 * 5.0 * points * points.log2()
    }

    /// Lanes of the vectors that the plan works in.
    pub fn lanes(&self) -> usize {
        self.kernel.isa_width()
    }

    fn expect(&self, what: &str, channels: usize, shape: &[usize]) -> Result<usize> {
        match *shape {
            [batch, c, x, y] if c == channels && x == self.n && y == self.n => Ok(batch),
            _ => Err(Error::shape(what, &[shape.first().copied().unwrap_or(1), channels, self.n, self.n], shape)),
        }
    }
}

impl Interpolation {
    pub(super) fn scheme(self) -> Scheme {
        match self {
            Self::Linear => Scheme::Linear,
            Self::VanLeer => Scheme::VanLeer,
        }
    }
}

impl Stencil {
    pub(super) fn scheme(self) -> Scheme {
        Scheme::Learned { cells: self.cells, limited: self.limited }
    }
}

/// A step on the tape.
struct Step<T: Real> {
    solver: FiniteVolume<T>,
    scheme: Scheme,
    slice: usize,
}

impl<T: Real> Step<T> {
    /// Logits of a step of one sample, and where they begin among those of all.
    fn slice<'a>(&self, inputs: &[Tensor<'a, T>], sample: usize) -> (&'a [T], usize) {
        let Scheme::Learned { cells, .. } = self.scheme else { return (&[], 0) };
        let plane = self.solver.n * self.solver.n;
        let start = sample * inputs[1].shape[1] * plane + self.slice * cells.logits() * plane;
        (&inputs[1].values[start..][..cells.logits() * plane], start)
    }
}

impl<T: Real> Operation<T> for Step<T> {
    fn name(&self) -> &'static str {
        "finite_volume_step"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let batch = self.solver.expect("state of a finite-volume step", 2, inputs[0])?;
        if let Scheme::Learned { cells, .. } = self.scheme {
            let logits = inputs[1];
            let channels = (self.slice + 1) * cells.logits();
            let fits = logits.len() == 4 && logits[0] == batch && logits[1] >= channels;
            if !fits || logits[2..] != inputs[0][2..] {
                let expected = [batch, channels, self.solver.n, self.solver.n];
                return Err(Error::shape("logits of a finite-volume step", &expected, logits));
            }
        }
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let len = self.solver.sample_len();
        workers.pieces(output, len, 0, |sample, next, _| {
            let state = &inputs[0].values[sample * len..][..len];
            self.solver.kernel.step(self.scheme, state, self.slice(inputs, sample).0, next);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let len = self.solver.sample_len();
        let mut target = |k: usize| inputs.get_mut(k)?.take().map(|c| Target(c.add().as_mut_ptr()));
        let (state_bar, logits_bar) = (target(0), target(1));
        workers.tiles(cotangent.len() / len, 0, |sample, _| {
            let state = &record.inputs[0].values[sample * len..][..len];
            let (logits, start) = self.slice(record.inputs, sample);
            // SAFETY: the cotangents have the shapes of the inputs; each sample has its own part of them.
            let bars = unsafe {
                Bars {
                    state: state_bar.as_ref().map(|t| t.part(sample * len, len)),
                    logits: logits_bar.as_ref().map(|t| t.part(start, logits.len())),
                }
            };
            self.solver.kernel.step_vjp(self.scheme, state, logits, &cotangent[sample * len..][..len], bars);
        });
    }
}

/// Memory of which each tile takes another part.
pub(super) struct Target<T>(pub *mut T);

// SAFETY: `part` is called with disjoint ranges.
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    /// # Safety
    ///
    /// The range must lie in the memory, and no other part of it may be alive.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Projection and diffusion on the tape.
struct Project<T: Real> {
    solver: FiniteVolume<T>,
}

impl<T: Real> Operation<T> for Project<T> {
    fn name(&self) -> &'static str {
        "staggered_projection"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        self.solver.expect("field of a projection", 2, inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let len = self.solver.sample_len();
        workers.pieces(output, len, 0, |sample, next, _| {
            self.solver.kernel.implicit(&inputs[0].values[sample * len..][..len], next);
        });
    }

    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let len = self.solver.sample_len();
        workers.pieces(input.add(), len, len, |sample, bar, scratch| {
            self.solver.kernel.implicit(&cotangent[sample * len..][..len], scratch);
            bar.iter_mut().zip(scratch.iter()).for_each(|(b, &s)| *b += s);
        });
    }
}

#[cfg(test)]
mod tests;
