//! Flow between walls, where no Fourier solver is available.

mod ghosts;
mod model;
mod modes;

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

pub use self::model::{ChannelModelConfig, ChannelStencil};

use self::ghosts::{Component, Ghosts};
use self::modes::{Memory as ModesMemory, Modes, Wall};
use super::faces::{Classical, Faces};
use super::halo::{Points, Sums};
use super::kernel::{Bars, Scheme, Work, with_faces};
use super::solver::Target;
use super::{Interpolation, Stencil, learned};
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;

/// Incompressible flow of unit density between no-slip walls, periodic along x with period `length`, driven by a uniform
/// force and by the walls, which may move along x:
///
/// ```text
/// u_t + div(u u) = -grad p + nu lap u + (force, 0),      div u = 0,      u = (U_0, 0), (U_1, 0) at y = 0, height.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelFlow {
    /// Kinematic viscosity, length^2 / time.
    pub nu: f64,
    /// Force along x, length / time^2: minus the mean pressure gradient.
    pub force: f64,
    /// Velocities of the lower and the upper wall.
    pub walls: [f64; 2],
    /// Period along x.
    pub length: f64,
    /// Distance of the walls.
    pub height: f64,
}

/// Plan of steps of a [`ChannelFlow`] on a staggered grid of `nx x ny` cells.
///
/// Arrays are `[batch, 2, nx, ny]`, with the places of [`FiniteVolume`](super::FiniteVolume): `u` at
/// `((i + 1) h_x, (j + 1/2) h_y)` and `v` at `((i + 1/2) h_x, (j + 1) h_y)`, so that the last `v` of a row lies on the
/// upper wall; it is zero, and so is that on the lower wall, which is not stored. One step is
///
/// ```text
/// w = c + dt (-div F(c) + f),      c' = P_h (1 - nu dt lap_h)^-1 w,
/// ```
///
/// with the fluxes of [`FiniteVolume`](super::FiniteVolume), whose reads beyond a wall are images about it. No flux goes
/// through a wall, whatever was learned. The flux of `v` through the centres of the lowest cells, for which there are no
/// logits, is that without learning, limited if the learned values are. Diffusion and
/// projection are exact on the discrete level, by cosine and sine transforms across the channel; they do not commute, and
/// the projection comes last: the velocity is divergence-free to round-off, and slips along the walls by `O(dt)` where the
/// pressure has a gradient along them. Of first order in time (Chorin, Math. Comput. 22, 1968).
///
/// # Example
///
/// ```
/// use parseval::autodiff::Workers;
/// use parseval::stencil::plane::{Channel, ChannelFlow, Interpolation};
///
/// let flow = ChannelFlow { nu: 1.0, force: 2.0, walls: [0.0; 2], length: 2.0, height: 1.0 };
/// let channel = Channel::<f64>::plan(&flow, [8, 16], 0.1, Interpolation::VanLeer)?;
/// let mut state = vec![0.0; 2 * 8 * 16];
/// channel.advance(&Workers::new(1)?, &mut state, 100)?;
/// // Poiseuille flow: u = force / (2 nu) y (height - y), of second order in the cells.
/// let y = 7.5 / 16.0; // of u[0, 7]
/// assert!((state[7] - y * (1.0 - y)).abs() < 0.25 / 256.0 + 1e-12);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Channel<T: Real> {
    plan: Arc<Plan<T>>,
}

struct Plan<T: Real> {
    flow: ChannelFlow,
    shape: [usize; 2],
    dt: f64,
    interpolation: Interpolation,
    ghosts: Ghosts,
    /// `dt / h` of each axis.
    ratio: [T; 2],
    h: [T; 2],
    /// Diffusion of `u` and `v`, pressure of a divergence.
    diffusion: [Modes<T>; 2],
    pressure: Modes<T>,
    pool: Mutex<Vec<Memory<T>>>,
}

struct Memory<T> {
    fields: [Vec<T>; 2],
    cotangents: [Vec<T>; 2],
    sums: [Vec<T>; 2],
    /// Four fluxes `[nx + 1, ny + 1]`, from index -1 on.
    fluxes: [Vec<T>; 4],
    pressure: Vec<T>,
    bar: Vec<T>,
    modes: ModesMemory<T>,
}

impl<T: Real> Channel<T> {
    /// Plans steps of size `dt` on `[nx, ny]` cells.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are fewer than 4 cells along an axis (the limiter reads two beyond each), a length or
    /// `dt` is not positive, the viscosity not positive, or force or speeds not finite.
    pub fn plan(flow: &ChannelFlow, [nx, ny]: [usize; 2], dt: f64, interpolation: Interpolation) -> Result<Self> {
        for (name, n) in [("nx", nx), ("ny", ny)] {
            if n < 4 {
                return Err(Error::parameter(name, n, "must be at least 4: the limiter reads two cells beyond each"));
            }
        }
        for (name, value) in [("dt", dt), ("length", flow.length), ("height", flow.height), ("nu", flow.nu)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "must be positive and finite"));
            }
        }
        for (name, value) in [("force", flow.force), ("walls", flow.walls[0]), ("walls", flow.walls[1])] {
            if !value.is_finite() {
                return Err(Error::parameter(name, value, "must be finite"));
            }
        }
        let (shape, h) = ([nx, ny], [flow.length / nx as f64, flow.height / ny as f64]);
        let diffuse = |lambda: f64| 1.0 / (1.0 + flow.nu * dt * lambda);
        let plan = Plan {
            flow: *flow,
            shape,
            dt,
            interpolation,
            ghosts: Ghosts::new(shape),
            ratio: h.map(|h| T::of(dt / h)),
            h: h.map(T::of),
            diffusion: [Wall::Odd, Wall::Zero].map(|wall| Modes::plan(shape, h, wall, diffuse)),
            // Constants have no gradient. Their eigenvalue is zero exactly: 2 - 2 cos 0.
            pressure: Modes::plan(shape, h, Wall::Neumann, |lambda| if lambda > 0.0 { -1.0 / lambda } else { 0.0 }),
            pool: Mutex::new(Vec::new()),
        };
        Ok(Self { plan: Arc::new(plan) })
    }

    /// The flow.
    pub fn flow(&self) -> &ChannelFlow {
        &self.plan.flow
    }

    /// Cells along x and y.
    pub fn shape(&self) -> [usize; 2] {
        self.plan.shape
    }

    /// Size of a step.
    pub fn dt(&self) -> f64 {
        self.plan.dt
    }

    /// Floating-point operations of a step of one sample beside those of the fluxes: products with the matrices of the
    /// transforms of two diffusions and a pressure.
    pub fn implicit_flops(&self) -> f64 {
        let [nx, ny] = self.plan.shape.map(|n| n as f64);
        3.0 * 2.0 * 2.0 * nx * ny * (nx + ny)
    }

    /// Values of one sample.
    pub fn sample_len(&self) -> usize {
        2 * self.plan.shape[0] * self.plan.shape[1]
    }

    /// Makes steps in place; `state` holds any number of samples `[2, nx, ny]`.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] with sample, step and time counted from this call, if a value is not finite.
    ///
    /// # Panics
    ///
    /// If the state is not a number of whole samples.
    pub fn advance(&self, workers: &Workers<T>, state: &mut [T], steps: usize) -> Result<()> {
        let len = self.sample_len();
        assert!(state.len().is_multiple_of(len), "state of {} values in samples of {len}", state.len());
        workers.pieces(state, len, len, |_, sample, next| {
            for _ in 0..steps {
                self.plan.step(self.plan.interpolation.scheme(), sample, &[], next);
                sample.copy_from_slice(next);
            }
        });
        learned::check(state, len, steps, self.dt())
    }

    /// Records a step.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the state is not `[batch, 2, nx, ny]`.
    pub fn record(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        tape.apply(Step { channel: self.clone(), scheme: self.plan.interpolation.scheme() }, &[state])
    }

    /// Records a step with learned values at the faces, from `logits: [batch, 8 (S - 1), nx, ny]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a shape does not fit.
    pub fn record_learned(&self, tape: &mut Tape<T>, stencil: Stencil, state: Var, logits: Var) -> Result<Var> {
        tape.apply(Step { channel: self.clone(), scheme: stencil.scheme() }, &[state, logits])
    }

    /// One step with learned values, of one sample `[2, nx, ny]` with the logits `[8 (S - 1), nx, ny]`.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn step_learned(&self, stencil: Stencil, state: &[T], logits: &[T], next: &mut [T]) {
        self.plan.step(stencil.scheme(), state, logits, next);
    }
}

impl<T: Real> Plan<T> {
    fn with_memory<R>(&self, work: impl FnOnce(&mut Memory<T>) -> R) -> R {
        let pool = || self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let recycled = pool().pop();
        let mut memory = recycled.unwrap_or_else(|| {
            let [nx, ny] = self.shape;
            let pair = || std::array::from_fn(|_| vec![T::zero(); self.ghosts.len()]);
            Memory {
                fields: pair(),
                cotangents: pair(),
                sums: pair(),
                fluxes: std::array::from_fn(|_| vec![T::zero(); (nx + 1) * (ny + 1)]),
                pressure: vec![T::zero(); nx * ny],
                bar: vec![T::zero(); 2 * nx * ny],
                modes: ModesMemory::new(self.shape),
            }
        });
        let result = work(&mut memory);
        pool().push(memory);
        result
    }

    /// `u`, whose images know the speed of the walls, and `v`.
    fn components(&self) -> [Component<T>; 2] {
        [Component::Along(self.flow.walls.map(T::of)), Component::Across]
    }

    fn step(&self, scheme: Scheme, state: &[T], logits: &[T], next: &mut [T]) {
        let [nx, ny] = self.shape;
        let plane = nx * ny;
        assert!(state.len() == 2 * plane && next.len() == 2 * plane, "state of a step");
        self.with_memory(|memory| {
            for (component, (field, padded)) in
                self.components().into_iter().zip(state.chunks_exact(plane).zip(&mut memory.fields))
            {
                self.ghosts.fill(component, field, padded);
            }
            let Memory { fields, fluxes, .. } = &mut *memory;
            let work = Fluxes { plan: self, lowest: self.lowest(scheme), fields, fluxes };
            with_faces(scheme, self.ratio, plane, logits, std::ptr::null_mut(), work);
            let stride = ny + 1;
            let force = T::of(self.dt * self.flow.force);
            // A moving wall in the second difference of u.
            let hy = self.flow.height / ny as f64;
            let drag = self.flow.walls.map(|speed| T::of(2.0 * self.flow.nu * self.dt * speed / (hy * hy)));
            for i in 0..nx {
                for j in 0..ny {
                    let (at, flux) = (i * ny + j, (i + 1) * stride + j + 1);
                    let [x_u, y_u, x_v, y_v] = &memory.fluxes;
                    let change = |x: &[T], y: &[T]| {
                        self.ratio[0] * (x[flux] - x[flux - stride]) + self.ratio[1] * (y[flux] - y[flux - 1])
                    };
                    next[at] = state[at] - change(x_u, y_u) + force;
                    let is_wall = j == ny - 1;
                    next[plane + at] = if is_wall { T::zero() } else { state[plane + at] - change(x_v, y_v) };
                }
                next[i * ny] += drag[0];
                next[i * ny + ny - 1] += drag[1];
            }
            self.diffuse(next, memory);
            self.project(next, memory);
        });
    }

    fn diffuse(&self, state: &mut [T], memory: &mut Memory<T>) {
        let plane = state.len() / 2;
        for (diffusion, field) in self.diffusion.iter().zip(state.chunks_exact_mut(plane)) {
            diffusion.apply(&mut memory.modes, field);
        }
    }

    /// `w - G (D G)^-1 D w`, symmetric, since the gradient `G` is minus the transpose of the divergence `D`.
    fn project(&self, state: &mut [T], memory: &mut Memory<T>) {
        let [nx, ny] = self.shape;
        let [over_x, over_y] = self.h.map(|h| T::one() / h);
        let Memory { pressure, modes, .. } = memory;
        let (u, v) = state.split_at_mut(nx * ny);
        for i in 0..nx {
            let left = (i + nx - 1) % nx;
            for j in 0..ny {
                // Nothing flows through the walls.
                let below = if j > 0 { v[i * ny + j - 1] } else { T::zero() };
                let above = if j < ny - 1 { v[i * ny + j] } else { T::zero() };
                pressure[i * ny + j] = (u[i * ny + j] - u[left * ny + j]) * over_x + (above - below) * over_y;
            }
        }
        self.pressure.apply(modes, pressure);
        for i in 0..nx {
            let right = (i + 1) % nx;
            for j in 0..ny {
                let here = pressure[i * ny + j];
                u[i * ny + j] -= (pressure[right * ny + j] - here) * over_x;
                match j < ny - 1 {
                    true => v[i * ny + j] -= (pressure[i * ny + j + 1] - here) * over_y,
                    false => v[i * ny + j] = T::zero(),
                }
            }
        }
    }

    /// The fluxes in the lowest cells.
    fn lowest(&self, scheme: Scheme) -> Lowest<T> {
        let limited = matches!(scheme, Scheme::VanLeer | Scheme::Learned { limited: true, .. });
        Lowest { limited, ratio: self.ratio }
    }

    fn step_vjp(&self, scheme: Scheme, state: &[T], logits: &[T], next_bar: &[T], bars: Bars<T>) {
        let [nx, ny] = self.shape;
        let plane = nx * ny;
        assert!(state.len() == 2 * plane && next_bar.len() == 2 * plane, "state of a step");
        assert!(bars.logits.as_ref().is_none_or(|bar| bar.len() == logits.len()), "cotangent of the logits of a step");
        self.with_memory(|memory| {
            let mut bar = std::mem::take(&mut memory.bar);
            bar.copy_from_slice(next_bar);
            self.project(&mut bar, memory);
            self.diffuse(&mut bar, memory);
            for (component, c) in self.components().into_iter().zip(0..) {
                self.ghosts.fill(component, &state[c * plane..][..plane], &mut memory.fields[c]);
                memory.sums[c].fill(T::zero());
            }
            let still = [Component::Along([T::zero(); 2]), Component::Across];
            for (c, component) in still.into_iter().enumerate() {
                self.ghosts.fill(component, &bar[c * plane..][..plane], &mut memory.cotangents[c]);
            }
            let Memory { fields, cotangents, sums, .. } = &mut *memory;
            let logits_bar = bars.logits.map_or(std::ptr::null_mut(), |bar| bar.as_mut_ptr());
            let work = FluxesVjp { plan: self, lowest: self.lowest(scheme), fields, cotangents, sums };
            with_faces(scheme, self.ratio, plane, logits, logits_bar, work);
            let Some(state_bar) = bars.state else {
                memory.bar = bar;
                return;
            };
            for (c, component) in still.into_iter().enumerate() {
                let to = &mut state_bar[c * plane..][..plane];
                self.ghosts.fold(component, &mut memory.sums[c], to);
                for (p, (to, &bar)) in to.iter_mut().zip(&bar[c * plane..]).enumerate() {
                    // The value on the wall is not read.
                    if c == 0 || p % ny < ny - 1 {
                        *to += bar;
                    }
                }
            }
            memory.bar = bar;
        });
    }
}

/// Fluxes at the index -1 along y: of `v` through the centres of the lowest cells; the others are zero.
struct Lowest<T> {
    limited: bool,
    ratio: [T; 2],
}

impl<T: Real> Lowest<T> {
    fn fluxes(&self, fields: [Points<T>; 2]) -> [T; 4] {
        match self.limited {
            true => Classical::<T, true> { ratio: self.ratio }.fluxes(fields, 0),
            false => Classical::<T, false> { ratio: self.ratio }.fluxes(fields, 0),
        }
    }

    fn fluxes_vjp(&self, fields: [Points<T>; 2], bar: [T; 4], sums: [Sums<T>; 2]) {
        match self.limited {
            true => Classical::<T, true> { ratio: self.ratio }.fluxes_vjp(fields, 0, bar, sums),
            false => Classical::<T, false> { ratio: self.ratio }.fluxes_vjp(fields, 0, bar, sums),
        }
    }
}

/// `fluxes = F(fields)`, with those of index -1.
struct Fluxes<'a, T: Real> {
    plan: &'a Plan<T>,
    lowest: Lowest<T>,
    fields: &'a [Vec<T>; 2],
    fluxes: &'a mut [Vec<T>; 4],
}

impl<T: Real> Work<T> for Fluxes<'_, T> {
    fn run<F: Faces<T>>(self, faces: &F) {
        let Self { plan: Plan { shape: [nx, ny], ghosts, .. }, lowest, fields, fluxes } = self;
        let (nx, ny, stride) = (*nx, *ny, ny + 1);
        for i in 0..nx {
            for j in -1..ny as isize {
                let here = [ghosts.points(&fields[0], i, j), ghosts.points(&fields[1], i, j)];
                let mut values = match usize::try_from(j) {
                    Ok(j) => faces.fluxes(here, i * ny + j),
                    Err(_) => lowest.fluxes(here),
                };
                if j == ny as isize - 1 {
                    // A learned carrier need not vanish on the wall.
                    values[1] = T::zero();
                }
                let at = (i + 1) * stride + (j + 1) as usize;
                for (flux, value) in fluxes.iter_mut().zip(values) {
                    flux[at] = value;
                }
            }
        }
        for flux in fluxes {
            flux.copy_within(nx * stride.., 0);
        }
    }
}

/// Adds the transpose of `-(dt / h) div F` of the cotangents to the sums.
struct FluxesVjp<'a, T: Real> {
    plan: &'a Plan<T>,
    lowest: Lowest<T>,
    fields: &'a [Vec<T>; 2],
    cotangents: &'a [Vec<T>; 2],
    sums: &'a mut [Vec<T>; 2],
}

impl<T: Real> Work<T> for FluxesVjp<'_, T> {
    fn run<F: Faces<T>>(self, faces: &F) {
        let Self { plan: Plan { shape: [nx, ny], ghosts, ratio, .. }, lowest, fields, cotangents, sums } = self;
        let (nx, ny, [sums_u, sums_v]) = (*nx, *ny, sums);
        for i in 0..nx {
            for j in -1..ny as isize {
                let here = [ghosts.points(&fields[0], i, j), ghosts.points(&fields[1], i, j)];
                let mut bar = [T::zero(); 4];
                for (c, cotangent) in cotangents.iter().enumerate() {
                    let g = ghosts.points::<T>(cotangent, i, j);
                    // Values that a flux enters and leaves; those of v end below the upper wall.
                    let end = (ny - c) as isize;
                    let at =
                        |di: isize, dj: isize| if (0..end).contains(&(j + dj)) { g.get([di, dj]) } else { T::zero() };
                    bar[2 * c] = ratio[0] * (at(1, 0) - at(0, 0));
                    bar[2 * c + 1] = ratio[1] * (at(0, 1) - at(0, 0));
                }
                if j == ny as isize - 1 {
                    bar[1] = T::zero();
                }
                let sums = [ghosts.sums(sums_u, i, j), ghosts.sums(sums_v, i, j)];
                match usize::try_from(j) {
                    Ok(j) => faces.fluxes_vjp(here, i * ny + j, bar, sums),
                    Err(_) => lowest.fluxes_vjp(here, bar, sums),
                }
            }
        }
    }
}

/// A step on the tape, of a state and, if it is learned, logits.
struct Step<T: Real> {
    channel: Channel<T>,
    scheme: Scheme,
}

impl<T: Real> Step<T> {
    /// Logits of all samples, and how many one has.
    fn logits<'a>(&self, inputs: &[Tensor<'a, T>]) -> (&'a [T], usize) {
        let [nx, ny] = self.channel.shape();
        match self.scheme {
            Scheme::Learned { cells, .. } => (inputs[1].values, cells.logits() * nx * ny),
            _ => (&[], 0),
        }
    }
}

impl<T: Real> Operation<T> for Step<T> {
    fn name(&self) -> &'static str {
        "channel_step"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [nx, ny] = self.channel.shape();
        let expect = |what: &str, channels: usize, shape: &[usize]| match *shape {
            [batch, c, x, y] if [c, x, y] == [channels, nx, ny] && batch == inputs[0][0] => Ok(()),
            _ => Err(Error::shape(what, &[inputs[0].first().copied().unwrap_or(1), channels, nx, ny], shape)),
        };
        expect("state of a channel", 2, inputs[0])?;
        if let Scheme::Learned { cells, .. } = self.scheme {
            expect("logits of a channel", cells.logits(), inputs[1])?;
        }
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let (len, (logits, count)) = (self.channel.sample_len(), self.logits(inputs));
        workers.pieces(output, len, 0, |sample, next, _| {
            let state = &inputs[0].values[sample * len..][..len];
            self.channel.plan.step(self.scheme, state, &logits[sample * count..][..count], next);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let (len, (logits, count)) = (self.channel.sample_len(), self.logits(record.inputs));
        let mut target = |k: usize| inputs.get_mut(k)?.take().map(|c| Target(c.add().as_mut_ptr()));
        let (state_bar, logits_bar) = (target(0), target(1));
        workers.tiles(cotangent.len() / len, 0, |sample, _| {
            let state = &record.inputs[0].values[sample * len..][..len];
            // SAFETY: the cotangents have the shapes of the inputs; each sample has its own part of them.
            let bars = unsafe {
                Bars {
                    state: state_bar.as_ref().map(|t| t.part(sample * len, len)),
                    logits: logits_bar.as_ref().map(|t| t.part(sample * count, count)),
                }
            };
            let (logits, bar) = (&logits[sample * count..][..count], &cotangent[sample * len..][..len]);
            self.channel.plan.step_vjp(self.scheme, state, logits, bar, bars);
        });
    }
}

#[cfg(test)]
mod tests;
