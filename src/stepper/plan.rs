//! Planning a solver, and its state.

use std::collections::HashMap;
use std::sync::Arc;

use aligned_vec::AVec;
use ndarray::{ArrayD, ArrayViewD};
use num_complex::{Complex, Complex64};

use super::pipeline::{Pipeline, Rhs};
use super::step::Work;
use super::tableau::{Coefficients, Scheme};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::pde::Pde;
use crate::spectral::Transform;
use crate::spectral::layout::{Dealias, Layout, dealias};
use crate::spectral::simd::{Isa, Lanes};

/// Choices of a plan that are not the equation's.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Samples that are advanced together.
    pub batch: usize,
    /// Threads; 1 is the calling thread alone. A batch is shared out by samples; a single sample by blocks, from about
    /// 200^2 points on. The result does not depend on it, bit for bit.
    pub threads: usize,
    /// Which modes are kept.
    pub dealias: Dealias,
    /// Widest instruction set to use; lengths that it has no kernel for fall back to narrower ones.
    pub isa: Isa,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 1, threads: 1, dealias: Dealias::Truncate, isa: Isa::detect() }
    }
}

/// Spectra of a batch, in the layout of the stepper that made it.
#[derive(Clone)]
pub struct State<T: Real> {
    /// Samples one after the other, each as [`Layout`] says.
    pub(super) data: AVec<T>,
    /// `N` of the previous step, for the multistep scheme.
    pub(super) history: Option<AVec<T>>,
    /// Simulation time, unit of the problem.
    pub t: f64,
    /// Steps taken since the state was loaded.
    pub step: usize,
}

impl<T: Real> State<T> {
    /// The coefficients as reals, in the stepper's [`Layout`]; for linear algebra on states.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// As [`State::as_slice`], mutable. Dead lanes must stay zero.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }
}

/// The part of an equation that needs no vectors.
pub(super) trait Symbols: Send + Sync {
    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64;
    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64;
    fn parameters(&self) -> &'static [&'static str];
    fn tendency_depends_on(&self, parameter: usize) -> bool;
    fn load_channels(&self, physical: &mut [Complex64]);
    fn store_channels(&self, state: &mut [Complex64]);
}

impl<P: Pde> Symbols for P {
    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64 {
        Pde::linear_symbol(self, channel, k)
    }
    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64 {
        Pde::linear_symbol_derivative(self, parameter, channel, k)
    }
    fn parameters(&self) -> &'static [&'static str] {
        Pde::parameters(self)
    }
    fn tendency_depends_on(&self, parameter: usize) -> bool {
        Pde::tendency_depends_on(self, parameter)
    }
    fn load_channels(&self, physical: &mut [Complex64]) {
        Pde::load_channels(self, physical);
    }
    fn store_channels(&self, state: &mut [Complex64]) {
        Pde::store_channels(self, state);
    }
}

/// A solver: plan once, then step without allocation.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, pde::KuramotoSivashinsky, stepper::{Options, Scheme, Stepper}};
///
/// let grid = Grid::cube(1, 64, 22.0)?;
/// let mut stepper = Stepper::<f64>::plan(&KuramotoSivashinsky::default(), &grid, Scheme::Etdrk4, 0.1, &Options::default())?;
/// let u0 = Array::from_shape_fn(64, |j| (std::f64::consts::TAU * j as f64 / 64.0).cos()).into_dyn();
/// let mut state = stepper.load(u0.view())?;
/// stepper.advance(&mut state, 100)?;
/// let u = stepper.store(&state); // shape [batch, channel, x]
/// assert_eq!(u.shape(), [1, 1, 64]);
/// assert!((state.t - 10.0).abs() < 1e-12);
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct Stepper<T: Real> {
    pub(super) rhs: Arc<dyn Rhs<T>>,
    pub(super) symbols: Arc<dyn Symbols>,
    pub(super) scheme: Scheme,
    pub(super) dt: f64,
    pub(super) coefficients: Arc<Coefficients<T>>,
    cache: HashMap<u64, Arc<Coefficients<T>>>,
    pub(super) batch: usize,
    pub(super) teams: Teams<T>,
    transform: Transform<T>,
}

/// How the threads work: each on its own samples, or all on one sample.
pub(super) struct Teams<T: Real> {
    /// Threads.
    pub threads: usize,
    /// Whether all threads work on one sample at a time.
    pub within_sample: bool,
    /// Memory of each team: one team a thread, or one team in all.
    pub work: Vec<Work<T>>,
    /// Memory of each thread for bundles of one-dimensional samples; empty if the batch does not fill a bundle.
    pub bundles: Vec<AVec<T>>,
}

/// Points from which on a single sample is worth sharing among threads (measured in `benches/core.rs`).
const POINTS_FOR_TEAM: usize = 200 * 200;

impl<T: Real> Stepper<T> {
    /// Plans the solution of `pde` on `grid` by `scheme` with step `dt`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the equation refuses the grid or its coefficients, if `dt` is not finite and positive,
    /// or if an option is out of range.
    pub fn plan<P: Pde>(pde: &P, grid: &Grid, scheme: Scheme, dt: f64, options: &Options) -> Result<Self> {
        pde.validate(grid)?;
        for (name, value) in [("batch", options.batch), ("threads", options.threads)] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be at least 1"));
            }
        }
        let (cut, quadrature) = dealias(grid, &options.dealias, P::DEGREE)?;
        let layout = |width| Layout {
            grid: grid.clone(),
            quadrature: quadrature.clone(),
            cut: cut.clone(),
            width,
            channels: P::CHANNELS,
        };
        let isa = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar]
            .into_iter()
            .find(|&isa| {
                isa <= options.isa
                    && isa.is_available()
                    && match isa {
                        Isa::Avx512 => Pipeline::<P, T::Avx512>::supports(&quadrature, options.batch),
                        Isa::Avx2 => Pipeline::<P, T::Avx2>::supports(&quadrature, options.batch),
                        Isa::Neon => Pipeline::<P, T::Neon>::supports(&quadrature, options.batch),
                        Isa::Scalar => true,
                    }
            })
            .expect("the scalar kernels take any length");
        let mut rhs: Box<dyn Rhs<T>> = match isa {
            Isa::Avx512 => Box::new(Pipeline::<P, T::Avx512>::plan(pde, layout(T::Avx512::WIDTH), isa)),
            Isa::Avx2 => Box::new(Pipeline::<P, T::Avx2>::plan(pde, layout(T::Avx2::WIDTH), isa)),
            Isa::Neon => Box::new(Pipeline::<P, T::Neon>::plan(pde, layout(T::Neon::WIDTH), isa)),
            Isa::Scalar => Box::new(Pipeline::<P, T>::plan(pde, layout(1), isa)),
        };
        let transform = Transform::plan(grid);
        if let Some(forcing) = sample_forcing(pde, grid) {
            rhs.set_forcing(from_physical(rhs.layout(), pde, &transform, forcing.mapv(T::of).view(), 1)?);
        }
        let mut stepper = Self {
            symbols: Arc::new(pde.clone()),
            scheme,
            dt: 0.0,
            coefficients: Arc::new(Coefficients::empty()),
            cache: HashMap::new(),
            batch: options.batch,
            teams: Teams::new(&*rhs, scheme, options),
            rhs: rhs.into(),
            transform,
        };
        stepper.set_dt(dt)?;
        Ok(stepper)
    }

    /// Changes the step; coefficients of earlier steps are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `dt` is not finite and positive.
    pub fn set_dt(&mut self, dt: f64) -> Result<()> {
        if !(dt > 0.0 && dt.is_finite()) {
            return Err(Error::parameter("dt", dt, "must be > 0 and finite"));
        }
        if let Some(known) = self.cache.get(&dt.to_bits()) {
            self.coefficients = known.clone();
        } else {
            let layout = self.rhs.layout();
            let (symbols, live) = self.symbol_tables();
            self.coefficients = Arc::new(Coefficients::new(self.scheme, layout, &symbols, &live, dt));
            self.cache.insert(dt.to_bits(), self.coefficients.clone());
        }
        self.dt = dt;
        Ok(())
    }

    /// `L` for every lane of one channel, once if all channels share it; and which lanes hold a mode.
    pub(super) fn symbol_tables(&self) -> (Vec<Vec<Complex64>>, Vec<bool>) {
        let layout = self.rhs.layout();
        let lanes = layout.groups() * layout.width;
        let mut live = vec![false; lanes];
        let mut symbols = vec![vec![Complex64::default(); lanes]; layout.channels];
        layout.for_each_mode(|offset, m| {
            let lane = lane_of(layout, offset);
            live[lane] = true;
            for (channel, symbol) in symbols.iter_mut().enumerate() {
                symbol[lane] = self.symbols.linear_symbol(channel, layout.wavenumber(m));
            }
        });
        if symbols.iter().all(|s| *s == symbols[0]) {
            symbols.truncate(1);
        }
        (symbols, live)
    }

    /// Replaces the equation's forcing by a steady physical field, shape `[channel, x, ..]`, unit of `u_t`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shape is not that of one sample.
    pub fn set_forcing(&mut self, forcing: ArrayViewD<'_, T>) -> Result<()> {
        let forcing = from_physical(self.rhs.layout(), &*self.symbols, &self.transform, forcing, 1)?;
        Arc::get_mut(&mut self.rhs).expect("the stepper alone owns its pipeline between calls").set_forcing(forcing);
        Ok(())
    }

    /// State from a physical field of shape `[batch, channel, x, ..]`; axes of length 1 in front may be left out. Modes
    /// above the cut are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shape does not fit the plan; [`Error::Parameter`] if a value is not finite.
    pub fn load(&self, u: ArrayViewD<'_, T>) -> Result<State<T>> {
        if let Some(bad) = u.iter().find(|x| !x.is_finite()) {
            return Err(Error::parameter("initial field", bad, "must be finite everywhere"));
        }
        let data = from_physical(self.rhs.layout(), &*self.symbols, &self.transform, u, self.batch)?;
        Ok(State { data, history: None, t: 0.0, step: 0 })
    }

    /// Physical field of a state, shape `[batch, channel, x, ..]`.
    pub fn store(&self, state: &State<T>) -> ArrayD<T> {
        self.transform.inverse(self.to_half(state).view())
    }

    /// Half spectrum of a state on the user's grid, unscaled forward transform, shape `[batch, channel, .., n / 2 + 1]`.
    pub fn to_half(&self, state: &State<T>) -> ArrayD<Complex<T>> {
        to_half(self.rhs.layout(), &*self.symbols, &state.data, self.batch)
    }

    /// State from a half spectrum as [`Stepper::to_half`] gives it.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shape does not fit the plan.
    pub fn from_half(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> Result<State<T>> {
        let data = from_half(self.rhs.layout(), &*self.symbols, u_hat, self.batch)?;
        Ok(State { data, history: None, t: 0.0, step: 0 })
    }

    /// A zero state.
    pub fn zeros(&self) -> State<T> {
        State { data: zeros(self.batch * self.layout().sample_len()), history: None, t: 0.0, step: 0 }
    }

    /// The layout of its states.
    pub fn layout(&self) -> &Layout {
        self.rhs.layout()
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The step.
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// Samples advanced together.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Instruction set that the plan uses.
    pub fn isa(&self) -> Isa {
        self.rhs.isa()
    }

    /// Inner product of two states, `sum_m Re(conj(a_m) b_m)` over the full spectrum, channels and samples: by Parseval
    /// the mean over the box of the product of the fields (of all channels). Summed in double precision.
    pub fn inner(&self, a: &State<T>, b: &State<T>) -> f64 {
        let layout = self.rhs.layout();
        let sample = layout.sample_len();
        (0..self.batch).map(|s| inner(layout, &a.data[s * sample..][..sample], &b.data[s * sample..][..sample])).sum()
    }
}

impl<T: Real> Teams<T> {
    fn new(rhs: &dyn Rhs<T>, scheme: Scheme, options: &Options) -> Self {
        let layout = rhs.layout();
        let points: usize = layout.quadrature.iter().product();
        let within_sample = options.batch < options.threads && layout.outer_axes() > 0 && points >= POINTS_FOR_TEAM;
        let threads =
            if within_sample { options.threads.min(layout.blocks()) } else { options.threads.min(options.batch) };
        let (teams, workers) = if within_sample { (1, threads) } else { (threads, 1) };
        let memory = |_| Work::new(rhs.memory(workers), layout.sample_len(), scheme.stages());
        let size = rhs.bundle_size();
        let bundles = if size > 0 && options.batch >= size {
            let len = rhs.bundle_memory_len(scheme.stages());
            (0..options.threads.min(options.batch.div_ceil(size))).map(|_| zeros(len)).collect()
        } else {
            Vec::new()
        };
        Self { threads, within_sample, work: (0..teams).map(memory).collect(), bundles }
    }
}

/// Inner product of two samples over the full spectrum.
pub(super) fn inner<T: Real>(layout: &Layout, a: &[T], b: &[T]) -> f64 {
    let (width, block_len) = (layout.width, layout.block_len());
    let blocks = a.chunks_exact(block_len).zip(b.chunks_exact(block_len)).enumerate();
    blocks
        .map(|(block, (a, b))| {
            let mut sum = 0.0;
            for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
                for (lane, (a, b)) in a.iter().zip(b).enumerate() {
                    // Modes with last index zero are their own mirror; all others stand for two.
                    let weight = if block % layout.blocks() == 0 && lane == 0 { 1.0 } else { 2.0 };
                    sum += weight * a.as_f64() * b.as_f64();
                }
            }
            sum
        })
        .sum()
}

/// Lane number in a channel of the real part at `offset`.
pub(super) fn lane_of(layout: &Layout, offset: usize) -> usize {
    offset / (2 * layout.width) * layout.width + offset % layout.width
}

pub(super) fn zeros<T: Real>(len: usize) -> AVec<T> {
    AVec::from_iter(128, std::iter::repeat_n(T::of(0.0), len))
}

/// Forcing on the points of the grid, `[channel, x, ..]`.
fn sample_forcing<P: Pde>(pde: &P, grid: &Grid) -> Option<ArrayD<f64>> {
    (0..P::CHANNELS).any(|c| pde.forcing(c, [0.0; 3]).is_some()).then(|| {
        let shape: Vec<usize> = std::iter::once(P::CHANNELS).chain(grid.shape().iter().copied()).collect();
        ArrayD::from_shape_fn(shape, |index| {
            let mut x = [0.0; 3];
            for (axis, x) in x.iter_mut().enumerate().take(grid.dim()) {
                *x = index[axis + 1] as f64 * grid.spacing(axis);
            }
            pde.forcing(index[0], x).unwrap_or(0.0)
        })
    })
}

/// Checks `[batch, channel, space..]` with leading ones left out, and adds them.
fn with_leading_axes<'a, A>(
    array: ArrayViewD<'a, A>,
    what: &str,
    batch: usize,
    channels: usize,
    space: &[usize],
) -> Result<ArrayViewD<'a, A>> {
    let full: Vec<usize> = [batch, channels].into_iter().chain(space.iter().copied()).collect();
    let missing = full.len().saturating_sub(array.ndim());
    if missing > 2 || array.shape() != &full[missing..] || full[..missing].iter().any(|&n| n != 1) {
        return Err(Error::shape(what, &full, array.shape()));
    }
    Ok((0..missing).fold(array, |array, _| array.insert_axis(ndarray::Axis(0))))
}

fn from_physical<T: Real>(
    layout: &Layout,
    symbols: &dyn Symbols,
    transform: &Transform<T>,
    u: ArrayViewD<'_, T>,
    batch: usize,
) -> Result<AVec<T>> {
    let u = with_leading_axes(u, "field", batch, layout.channels, layout.grid.shape())?;
    from_half(layout, symbols, transform.forward(u).view(), batch)
}

fn from_half<T: Real>(
    layout: &Layout,
    symbols: &dyn Symbols,
    u_hat: ArrayViewD<'_, Complex<T>>,
    batch: usize,
) -> Result<AVec<T>> {
    let u_hat = with_leading_axes(u_hat, "half spectrum", batch, layout.channels, &layout.grid.half_shape())?;
    let mut data = zeros(batch * layout.sample_len());
    let scale = 1.0 / layout.grid.points() as f64;
    let (u_hat, half) = (u_hat.as_standard_layout(), half_strides(layout));
    let u_hat = u_hat.as_slice().expect("standard layout");
    let mut mode = vec![Complex64::default(); layout.channels];
    let samples = data.chunks_exact_mut(layout.sample_len()).zip(u_hat.chunks_exact(layout.channels * half.0));
    for (piece, u_hat) in samples {
        layout.for_each_mode(|offset, m| {
            for (c, z) in mode.iter_mut().enumerate() {
                let value = u_hat[c * half.0 + half_index(layout, &half.1, m)];
                // The mean of a real field is real.
                let im = if m == [0; 3] { 0.0 } else { value.im.as_f64() };
                *z = Complex64::new(value.re.as_f64(), im) * scale;
            }
            symbols.load_channels(&mut mode);
            scatter(layout, piece, offset, &mode);
        });
    }
    Ok(data)
}

fn to_half<T: Real>(layout: &Layout, symbols: &dyn Symbols, data: &[T], batch: usize) -> ArrayD<Complex<T>> {
    let shape: Vec<usize> = [batch, layout.channels].into_iter().chain(layout.grid.half_shape()).collect();
    let mut u_hat = ArrayD::<Complex<T>>::zeros(shape);
    let scale = layout.grid.points() as f64;
    let half = half_strides(layout);
    let out = u_hat.as_slice_mut().expect("a new array is in standard layout");
    let mut mode = vec![Complex64::default(); layout.channels];
    let samples = data.chunks_exact(layout.sample_len()).zip(out.chunks_exact_mut(layout.channels * half.0));
    for (piece, out) in samples {
        layout.for_each_mode(|offset, m| {
            gather(layout, piece, offset, &mut mode);
            symbols.store_channels(&mut mode);
            for (c, z) in mode.iter().enumerate() {
                out[c * half.0 + half_index(layout, &half.1, m)] =
                    Complex::new(T::of(z.re * scale), T::of(z.im * scale));
            }
        });
    }
    u_hat
}

/// Reads the components of one mode of a sample; `offset` is that of its real part in a channel.
pub(super) fn gather<T: Real>(layout: &Layout, sample: &[T], offset: usize, mode: &mut [Complex64]) {
    for (c, z) in mode.iter_mut().enumerate() {
        let at = c * layout.channel_len() + offset;
        *z = Complex64::new(sample[at].as_f64(), sample[at + layout.width].as_f64());
    }
}

/// Writes the components of one mode of a sample.
pub(super) fn scatter<T: Real>(layout: &Layout, sample: &mut [T], offset: usize, mode: &[Complex64]) {
    for (c, z) in mode.iter().enumerate() {
        let at = c * layout.channel_len() + offset;
        (sample[at], sample[at + layout.width]) = (T::of(z.re), T::of(z.im));
    }
}

/// Elements of one channel's half spectrum, and strides of its axes.
fn half_strides(layout: &Layout) -> (usize, Vec<usize>) {
    let shape = layout.grid.half_shape();
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    (strides[0] * shape[0], strides)
}

fn half_index(layout: &Layout, strides: &[usize], m: [i64; 3]) -> usize {
    let axes = strides.iter().zip(layout.grid.shape()).zip(m);
    axes.map(|((stride, &n), m)| stride * m.rem_euclid(n as i64) as usize).sum()
}
