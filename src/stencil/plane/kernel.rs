//! One step of one sample, and its adjoint, for the vectors of an instruction set.

use std::any::Any;
use std::sync::Mutex;

use num_traits::Zero;

use super::faces::{Classical, Faces, Learned};
use super::halo::Halo;
use super::implicit::{self, Implicit};
use super::interpolation::{Cells, norms};
use crate::field::Real;
use crate::spectral::fft::ColumnFft;
use crate::spectral::simd::{Complex, Lanes};

/// How values at faces are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scheme {
    Linear,
    VanLeer,
    Learned { cells: Cells, limited: bool },
}

/// Cotangents to be added to; a logits cotangent may be absent.
pub(super) struct Bars<'a, T> {
    pub state: Option<&'a mut [T]>,
    pub logits: Option<&'a mut [T]>,
}

/// A step of one sample: states `[2, n, n]`, logits `[8 (S - 1), n, n]` (empty if nothing is learned).
pub(super) trait Kernel<T>: Send + Sync {
    fn step(&self, scheme: Scheme, state: &[T], logits: &[T], next: &mut [T]);
    fn step_vjp(&self, scheme: Scheme, state: &[T], logits: &[T], next_bar: &[T], bars: Bars<T>);
    /// The linear part alone: projection and diffusion.
    fn implicit(&self, state: &[T], next: &mut [T]);
    fn isa_width(&self) -> usize;
}

/// Constants of a step.
pub(super) struct Constants {
    pub n: usize,
    pub h: f64,
    pub dt: f64,
    pub nu: f64,
    pub drag: f64,
    /// Forcing of u by the index along y.
    pub forcing: Vec<f64>,
}

/// The kernel with the widest vector that divides the rows.
pub(super) fn plan<T: Real>(constants: &Constants) -> Box<dyn Kernel<T>> {
    // Compiled here once for both precisions, not again wherever a solver is used.
    let kernel: Box<dyn Any> = match T::NAME {
        f32::NAME => Box::new(single(constants)),
        _ => Box::new(double(constants)),
    };
    *kernel.downcast().expect("T is f32 or f64, as its name says")
}

fn single(constants: &Constants) -> Box<dyn Kernel<f32>> {
    widest(constants)
}

fn double(constants: &Constants) -> Box<dyn Kernel<f64>> {
    widest(constants)
}

fn widest<T: Real>(constants: &Constants) -> Box<dyn Kernel<T>> {
    fn fits<V: Lanes>(n: usize) -> bool {
        V::is_available() && n.is_multiple_of(V::WIDTH) && ColumnFft::<V>::supports(n)
    }
    let n = constants.n;
    if fits::<T::Avx512>(n) {
        Box::new(Plan::<T::Avx512>::new(constants))
    } else if fits::<T::Avx2>(n) {
        Box::new(Plan::<T::Avx2>::new(constants))
    } else if fits::<T::Neon>(n) {
        Box::new(Plan::<T::Neon>::new(constants))
    } else {
        Box::new(Plan::<T>::new(constants))
    }
}

/// The kernel without vectors, the oracle of the others.
#[cfg(test)]
pub(super) fn plain<T: Real>(constants: &Constants) -> Box<dyn Kernel<T>> {
    Box::new(Plan::<T>::new(constants))
}

struct Plan<V: Lanes> {
    n: usize,
    halo: Halo,
    implicit: Implicit<V>,
    /// `dt / h`.
    ratio: V::Real,
    /// `1 - dt drag`.
    keep: V::Real,
    /// `dt f` by the index along y.
    forcing: Vec<V::Real>,
    pool: Mutex<Vec<Memory<V>>>,
}

struct Memory<V: Lanes> {
    /// Both components with their halo, a cotangent with its halo, sums of cotangents with theirs.
    fields: [Vec<V::Real>; 2],
    cotangents: [Vec<V::Real>; 2],
    sums: [Vec<V::Real>; 2],
    /// Cotangent of the explicit part.
    explicit: Vec<V::Real>,
    /// Four fluxes, `(n + 1)^2` each, from index -1 on.
    fluxes: [Vec<V::Real>; 4],
    implicit: implicit::Memory<V>,
}

impl<V: Lanes> Plan<V> {
    fn new(constants: &Constants) -> Self {
        let Constants { n, h, dt, nu, drag, ref forcing } = *constants;
        Self {
            n,
            halo: Halo::new(n),
            implicit: Implicit::plan(n, h, nu * dt),
            ratio: V::Real::of(dt / h),
            keep: V::Real::of(1.0 - dt * drag),
            forcing: forcing.iter().map(|f| V::Real::of(dt * f)).collect(),
            pool: Mutex::new(Vec::new()),
        }
    }

    fn memory(&self) -> Memory<V> {
        let zeros = |len: usize| vec![V::Real::zero(); len];
        let pair = || [zeros(self.halo.len()), zeros(self.halo.len())];
        Memory {
            fields: pair(),
            cotangents: pair(),
            sums: pair(),
            explicit: zeros(2 * self.n * self.n),
            fluxes: std::array::from_fn(|_| zeros((self.n + 1) * (self.n + 1))),
            implicit: self.implicit.memory(),
        }
    }

    fn with_memory<R>(&self, work: impl FnOnce(&mut Memory<V>) -> R) -> R {
        let pool = || self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let recycled = pool().pop();
        let mut memory = recycled.unwrap_or_else(|| self.memory());
        let result = work(&mut memory);
        pool().push(memory);
        result
    }

    /// `c - dt div F - dt drag c`, with the fluxes through the upper faces at `at`.
    #[inline(always)]
    fn explicit(&self, c: V, at: usize, x: &[V::Real], y: &[V::Real]) -> V {
        let along_x = load::<V>(x, at) - load(x, at - self.n - 1);
        let along_y = load::<V>(y, at) - load(y, at - 1);
        V::splat(self.ratio).nmadd(along_x + along_y, V::splat(self.keep) * c)
    }
}

/// Calls `work` with the faces of a scheme on `plane` points; `ratio = dt / h` of each axis, `bar` points to the cotangent
/// of the logits or is null.
#[inline(always)]
pub(super) fn with_faces<V: Lanes>(
    scheme: Scheme,
    ratio: [V::Real; 2],
    plane: usize,
    logits: &[V::Real],
    bar: *mut V::Real,
    work: impl Work<V>,
) {
    macro_rules! learned {
        ($s:literal, $limited:ident) => {{
            assert_eq!(logits.len(), 8 * ($s - 1) * plane, "logits of a step");
            let norms = norms::<V::Real, $s>();
            work.run(&Learned { limited: $limited, logits, logits_bar: bar, plane, norms })
        }};
    }
    match scheme {
        Scheme::Linear => work.run(&Classical::<V, false> { ratio }),
        Scheme::VanLeer => work.run(&Classical::<V, true> { ratio }),
        Scheme::Learned { cells: Cells::Square, limited } => learned!(16, limited),
        Scheme::Learned { cells: Cells::Band, limited } => learned!(12, limited),
        Scheme::Learned { cells: Cells::Line, limited } => learned!(4, limited),
    }
}

/// What is done with the faces of a scheme.
pub(super) trait Work<V: Lanes> {
    fn run<F: Faces<V>>(self, faces: &F);
}

/// `fluxes = F(fields)`, with the fluxes of index -1.
struct Fluxes<'a, V: Lanes> {
    n: usize,
    halo: Halo,
    fields: &'a [Vec<V::Real>; 2],
    fluxes: &'a mut [Vec<V::Real>; 4],
}

impl<V: Lanes> Work<V> for Fluxes<'_, V> {
    fn run<F: Faces<V>>(self, faces: &F) {
        let Self { n, halo, fields, fluxes } = self;
        let stride = n + 1;
        assert!(fluxes.iter().all(|f| f.len() == stride * stride));
        V::vectorize(
            #[inline(always)]
            || {
                for i in 0..n {
                    for j in (0..n).step_by(V::WIDTH) {
                        let here = [halo.points(&fields[0], i, j), halo.points(&fields[1], i, j)];
                        let values = faces.fluxes(here, i * n + j);
                        for (flux, value) in fluxes.iter_mut().zip(values) {
                            // SAFETY: the length was checked; i and j + W - 1 are below n.
                            unsafe { value.store(flux.as_mut_ptr().add((i + 1) * stride + j + 1)) };
                        }
                    }
                }
            },
        );
        for flux in fluxes {
            flux.copy_within(n * stride.., 0);
            flux.chunks_exact_mut(stride).for_each(|row| row[0] = row[n]);
        }
    }
}

/// Adds the transpose of `-(dt / h) div F` of a cotangent to the sums.
struct FluxesVjp<'a, V: Lanes> {
    n: usize,
    halo: Halo,
    ratio: V::Real,
    fields: &'a [Vec<V::Real>; 2],
    cotangents: &'a [Vec<V::Real>; 2],
    sums: &'a mut [Vec<V::Real>; 2],
}

impl<V: Lanes> Work<V> for FluxesVjp<'_, V> {
    fn run<F: Faces<V>>(self, faces: &F) {
        let Self { n, halo, ratio, fields, cotangents, sums } = self;
        V::vectorize(
            #[inline(always)]
            || {
                let ratio = V::splat(ratio);
                let [sums_u, sums_v] = sums;
                for i in 0..n {
                    for j in (0..n).step_by(V::WIDTH) {
                        let here = [halo.points(&fields[0], i, j), halo.points(&fields[1], i, j)];
                        let mut bar = [ratio; 4];
                        for (c, cotangent) in cotangents.iter().enumerate() {
                            let g = halo.points::<V>(cotangent, i, j);
                            bar[2 * c] = ratio * (g.get([1, 0]) - g.get([0, 0]));
                            bar[2 * c + 1] = ratio * (g.get([0, 1]) - g.get([0, 0]));
                        }
                        let sums = [halo.sums(sums_u, i, j), halo.sums(sums_v, i, j)];
                        faces.fluxes_vjp(here, i * n + j, bar, sums);
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn load<V: Lanes>(values: &[V::Real], at: usize) -> V {
    assert!(at + V::WIDTH <= values.len());
    // SAFETY: just checked.
    unsafe { V::load(values.as_ptr().add(at)) }
}

#[inline(always)]
fn store<V: Lanes>(values: &mut [V::Real], at: usize, value: V) {
    assert!(at + V::WIDTH <= values.len());
    // SAFETY: just checked.
    unsafe { value.store(values.as_mut_ptr().add(at)) }
}

impl<V: Lanes> Kernel<V::Real> for Plan<V> {
    fn isa_width(&self) -> usize {
        V::WIDTH
    }

    fn implicit(&self, state: &[V::Real], next: &mut [V::Real]) {
        let n = self.n;
        let ((u, v), (u_next, v_next)) = (state.split_at(n * n), next.split_at_mut(n * n));
        self.with_memory(|memory| {
            self.implicit.apply(
                &mut memory.implicit,
                #[inline(always)]
                |i, j| Complex::new(load(u, i * n + j), load(v, i * n + j)),
                #[inline(always)]
                |i, j, w| {
                    store(u_next, i * n + j, w.re);
                    store(v_next, i * n + j, w.im);
                },
            );
        });
    }

    fn step(&self, scheme: Scheme, state: &[V::Real], logits: &[V::Real], next: &mut [V::Real]) {
        let (n, stride) = (self.n, self.n + 1);
        assert!(state.len() == 2 * n * n && next.len() == state.len(), "state of a step");
        let ((u, v), (u_next, v_next)) = (state.split_at(n * n), next.split_at_mut(n * n));
        self.with_memory(|memory| {
            self.halo.fill(u, &mut memory.fields[0]);
            self.halo.fill(v, &mut memory.fields[1]);
            let Memory { fields, fluxes, .. } = memory;
            let work: Fluxes<V> = Fluxes { n, halo: self.halo, fields, fluxes };
            with_faces(scheme, [self.ratio; 2], n * n, logits, std::ptr::null_mut(), work);
            let [x_u, y_u, x_v, y_v] = &memory.fluxes;
            // The explicit part goes straight into the transform.
            self.implicit.apply(
                &mut memory.implicit,
                #[inline(always)]
                |i, j| {
                    let at = i * n + j;
                    let flux = (i + 1) * stride + j + 1;
                    let u = self.explicit(load(u, at), flux, x_u, y_u) + load(&self.forcing, j);
                    Complex::new(u, self.explicit(load(v, at), flux, x_v, y_v))
                },
                #[inline(always)]
                |i, j, w| {
                    store(u_next, i * n + j, w.re);
                    store(v_next, i * n + j, w.im);
                },
            );
        });
    }

    fn step_vjp(
        &self,
        scheme: Scheme,
        state: &[V::Real],
        logits: &[V::Real],
        next_bar: &[V::Real],
        bars: Bars<V::Real>,
    ) {
        let n = self.n;
        assert!(state.len() == 2 * n * n && next_bar.len() == state.len(), "state of a step");
        assert!(bars.logits.as_ref().is_none_or(|bar| bar.len() == logits.len()), "cotangent of the logits of a step");
        let (u_bar, v_bar) = next_bar.split_at(n * n);
        self.with_memory(|memory| {
            let Memory { fields, cotangents, sums, explicit, .. } = memory;
            let (u, v) = explicit.split_at_mut(n * n);
            // Projection and diffusion are symmetric.
            self.implicit.apply(
                &mut memory.implicit,
                #[inline(always)]
                |i, j| Complex::new(load(u_bar, i * n + j), load(v_bar, i * n + j)),
                #[inline(always)]
                |i, j, w| {
                    store(u, i * n + j, w.re);
                    store(v, i * n + j, w.im);
                },
            );
            self.halo.fill(&state[..n * n], &mut fields[0]);
            self.halo.fill(&state[n * n..], &mut fields[1]);
            self.halo.fill(u, &mut cotangents[0]);
            self.halo.fill(v, &mut cotangents[1]);
            sums.iter_mut().for_each(|sum| sum.fill(V::Real::zero()));
            let bar = bars.logits.map_or(std::ptr::null_mut(), |bar| bar.as_mut_ptr());
            let work: FluxesVjp<V> = FluxesVjp { n, halo: self.halo, ratio: self.ratio, fields, cotangents, sums };
            with_faces(scheme, [self.ratio; 2], n * n, logits, bar, work);
            if let Some(state_bar) = bars.state {
                for (bar, &e) in state_bar.iter_mut().zip(explicit.iter()) {
                    *bar += self.keep * e;
                }
                for (c, sum) in sums.iter_mut().enumerate() {
                    self.halo.fold(sum, &mut state_bar[c * n * n..][..n * n]);
                }
            }
        });
    }
}
