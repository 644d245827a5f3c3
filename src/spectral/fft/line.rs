//! The real transform of one line, truncated to the retained modes.
//!
//! The vector kernel reads `n` reals as `h = n / 2 = W M` complex numbers `z_j = x_{2j} + i x_{2j+1}`, `M` rows of `W`.
//! With `j = l + W r` and `m = k + M q`,
//!
//! `Z_{k + M q} = sum_l w_W^{l q} [ w_h^{l k} sum_r z_{l + W r} w_M^{r k} ]`,  `w_n = exp(-2 pi i / n)`:
//!
//! 1. transforms of `M` points down the rows, lane = `l`;
//! 2. rows times `w_h^{l k}`, `W x W` tiles transposed, so that lane = `k`;
//! 3. transforms of `W` points, from vector `l` to vector `q`, in registers;
//! 4. `2 X_m = (Z_m + conj Z_{h-m}) - i w_n^m (Z_m - conj Z_{h-m})` for the retained `m`.
//!
//! The inverse takes the steps in the opposite order, with real and imaginary parts exchanged in 1 to 3, and
//! `Z_m = (X_m + conj X_{h-m}) + i conj(w_n^m) (X_m - conj X_{h-m})` first.

use std::sync::Arc;

use num_traits::Zero;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::butterfly::dft;
use super::stockham::{Points, Rows, Stockham, factorise, twiddle};
use crate::field::Real;
use crate::spectral::simd::{Complex, Lanes};

/// Plan of a real line of `n` points and its modes `0..=cut`.
///
/// A half spectrum is stored in groups of `W` modes, `W` real parts then `W` imaginary parts; consecutive groups are
/// `stride` reals apart, so a line can be read from and written to a plane without a copy.
///
/// `inverse`: `x_j = X_0 + 2 Re sum_{m=1..cut} X_m exp(2 pi i j m / n)`.
/// `forward`: `X_m = factor sum_j x_j exp(-2 pi i j m / n)`, zero in the lanes above `cut`.
pub struct LineFft<V: Lanes> {
    n: usize,
    cut: usize,
    kernel: Kernel<V>,
}

enum Kernel<V: Lanes> {
    Plain(Plain<V::Real>),
    Vector(Vector<V>),
}

impl<V: Lanes> LineFft<V> {
    /// Whether this vector has a kernel for length `n`: `n = 2 W 2^a 3^b 5^c 7^d`, and any with one lane.
    ///
    /// False as well if the processor lacks the instruction set.
    pub fn supports(n: usize) -> bool {
        let rows = n / (2 * V::WIDTH);
        n > 0
            && V::is_available()
            && (V::WIDTH == 1 || n.is_multiple_of(2 * V::WIDTH) && factorise::<V>(rows).is_some())
    }

    /// Plans lines of `n` points with modes `0..=cut`, `cut < n / 2` (rounded up), and the forward factor.
    ///
    /// # Panics
    ///
    /// Unless [`LineFft::supports`] `n` and `2 cut < n`.
    pub fn plan(n: usize, cut: usize, factor: f64) -> Self {
        assert!(Self::supports(n), "LineFft: no kernel for length {n} with {} lanes", V::WIDTH);
        assert!(2 * cut < n, "LineFft: cut {cut} must be below half of {n}");
        let kernel = if V::WIDTH == 1 {
            Kernel::Plain(Plain::plan(n, cut, factor))
        } else {
            Kernel::Vector(Vector::plan(n, cut, factor))
        };
        Self { n, cut, kernel }
    }

    /// Points of the line.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether the line is empty (it never is).
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Groups of a half spectrum, `ceil((cut + 1) / W)`.
    pub fn groups(&self) -> usize {
        (self.cut + 1).div_ceil(V::WIDTH)
    }

    /// Reals that `scratch` must have; 64-byte alignment is fastest.
    pub fn scratch_len(&self) -> usize {
        match &self.kernel {
            Kernel::Plain(plain) => plain.scratch_len(),
            Kernel::Vector(vector) => vector.scratch_len(),
        }
    }

    /// Points from modes. Lanes above `cut` in the last group must be zero; the imaginary part of mode 0 is ignored.
    ///
    /// # Safety
    ///
    /// `half` must be valid for reading [`LineFft::groups`] groups at the given stride.
    ///
    /// # Panics
    ///
    /// If `line` or `scratch` is too short.
    pub unsafe fn inverse(&self, half: *const V::Real, stride: usize, line: &mut [V::Real], scratch: &mut [V::Real]) {
        assert!(line.len() == self.n && scratch.len() >= self.scratch_len(), "LineFft: line or scratch length");
        // SAFETY: the lengths were checked; `half` is the caller's promise.
        match &self.kernel {
            Kernel::Plain(plain) => unsafe { plain.inverse(half, stride, line, scratch) },
            Kernel::Vector(vector) => unsafe { vector.inverse(half, stride, line.as_mut_ptr(), scratch.as_mut_ptr()) },
        }
    }

    /// Modes from points, times the factor; destroys `line`.
    ///
    /// # Safety
    ///
    /// `half` must be valid for writing [`LineFft::groups`] groups at the given stride.
    ///
    /// # Panics
    ///
    /// If `line` or `scratch` is too short.
    pub unsafe fn forward(&self, line: &mut [V::Real], half: *mut V::Real, stride: usize, scratch: &mut [V::Real]) {
        assert!(line.len() == self.n && scratch.len() >= self.scratch_len(), "LineFft: line or scratch length");
        // SAFETY: the lengths were checked; `half` is the caller's promise.
        match &self.kernel {
            Kernel::Plain(plain) => unsafe { plain.forward(line, half, stride, scratch) },
            Kernel::Vector(vector) => unsafe { vector.forward(line.as_mut_ptr(), half, stride, scratch.as_mut_ptr()) },
        }
    }
}

/// One lane: realfft.
struct Plain<T: Real> {
    n: usize,
    cut: usize,
    factor: T,
    forward: Arc<dyn RealToComplex<T>>,
    inverse: Arc<dyn ComplexToReal<T>>,
}

impl<T: Real> Plain<T> {
    fn plan(n: usize, cut: usize, factor: f64) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
        Self { n, cut, factor: T::of(factor), forward, inverse }
    }

    fn scratch_len(&self) -> usize {
        2 * (self.n / 2 + 1) + 2 * self.forward.get_scratch_len().max(self.inverse.get_scratch_len())
    }

    /// # Safety
    ///
    /// As [`LineFft::inverse`].
    unsafe fn inverse(&self, half: *const T, stride: usize, line: &mut [T], scratch: &mut [T]) {
        let (spectrum, scratch) = self.split(scratch);
        for (m, c) in spectrum.iter_mut().enumerate() {
            *c = if m <= self.cut {
                // SAFETY: group `m` is within the caller's promise.
                unsafe { num_complex::Complex::new(*half.add(m * stride), *half.add(m * stride + 1)) }
            } else {
                Zero::zero()
            };
        }
        // The mean of a real line is real; realfft reports an error otherwise.
        spectrum[0].im = Zero::zero();
        self.inverse.process_with_scratch(spectrum, line, scratch).expect("lengths were checked and the mean is real");
    }

    /// # Safety
    ///
    /// As [`LineFft::forward`].
    unsafe fn forward(&self, line: &mut [T], half: *mut T, stride: usize, scratch: &mut [T]) {
        let (spectrum, scratch) = self.split(scratch);
        self.forward.process_with_scratch(line, spectrum, scratch).expect("lengths were checked");
        for (m, c) in spectrum[..=self.cut].iter().enumerate() {
            // SAFETY: group `m` is within the caller's promise.
            unsafe {
                *half.add(m * stride) = c.re * self.factor;
                *half.add(m * stride + 1) = c.im * self.factor;
            }
        }
    }

    fn split<'a>(
        &self,
        scratch: &'a mut [T],
    ) -> (&'a mut [num_complex::Complex<T>], &'a mut [num_complex::Complex<T>]) {
        // SAFETY: num_complex::Complex is repr(C) over two reals, so half as many fit in the same memory.
        let all = unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), scratch.len() / 2) };
        all.split_at_mut(self.n / 2 + 1)
    }
}

/// `W > 1` lanes: the steps at the head of this file.
///
/// The scratch holds `M` rows, then `Z` (or `X`) in planar form, real parts and imaginary parts apart, each with `W`
/// reals of padding before and after because tiles at the edge read and write whole vectors.
struct Vector<V: Lanes> {
    /// Rows `M`.
    rows: usize,
    cut: usize,
    down: Stockham<V::Real>,
    /// `w_h^{l k}`, row `k`, lane `l`.
    turn: Vec<Complex<V>>,
    /// `i conj(w_n^m)` of each tile and `q`, lane = `k`.
    join: Vec<Complex<V>>,
    /// `factor / 2` and `-i w_n^m factor / 2` of each group, zero in lanes above the cut.
    split: Vec<(V, Complex<V>)>,
}

/// The line itself: `z_j` interleaved, exchanged for an inverse.
#[derive(Clone, Copy)]
struct Interleaved<V: Lanes>(*mut V::Real);

impl<V: Lanes> Points<V> for Interleaved<V> {
    #[inline(always)]
    fn stride(self) -> usize {
        2 * V::WIDTH
    }

    #[inline(always)]
    fn skip(self, reals: usize) -> Self {
        Self(self.0.wrapping_add(reals))
    }

    #[inline(always)]
    unsafe fn load(self) -> Complex<V> {
        // SAFETY: the caller's promise; a row has 2 W reals.
        let (re, im) = unsafe { V::deinterleave(V::load(self.0), V::load(self.0.add(V::WIDTH))) };
        Complex::new(re, im)
    }

    /// Exchanged, as the results of an inverse are.
    #[inline(always)]
    unsafe fn store(self, z: Complex<V>) {
        let (first, second) = V::interleave(z.im, z.re);
        // SAFETY: the caller's promise; a row has 2 W reals.
        unsafe { Complex::new(first, second).store(self.0) }
    }
}

/// Vector of `f(lane)`, each a complex number.
fn lanes<V: Lanes>(f: impl Fn(usize) -> [f64; 2]) -> Complex<V> {
    let parts: Vec<[f64; 2]> = (0..V::WIDTH).map(f).collect();
    let reals: Vec<V::Real> =
        parts.iter().map(|p| V::Real::of(p[0])).chain(parts.iter().map(|p| V::Real::of(p[1]))).collect();
    // SAFETY: there are 2 W reals.
    unsafe { Complex::load(reals.as_ptr()) }
}

impl<V: Lanes> Vector<V> {
    fn plan(n: usize, cut: usize, factor: f64) -> Self {
        let (h, rows) = (n / 2, n / 2 / V::WIDTH);
        let turn = (0..rows).map(|k| lanes(|l| twiddle(l * k, h))).collect();
        let join = (0..rows.div_ceil(V::WIDTH))
            .flat_map(|tile| (0..V::WIDTH).map(move |q| (tile * V::WIDTH, q)))
            .map(|(k, q)| {
                lanes(|l| {
                    let [re, im] = twiddle::<f64>(k + l + rows * q, n);
                    [im, re]
                })
            })
            .collect();
        let split = (0..(cut + 1).div_ceil(V::WIDTH))
            .map(|group| {
                let kept = |l| if group * V::WIDTH + l <= cut { 0.5 * factor } else { 0.0 };
                let turned = lanes(|l| {
                    let [re, im] = twiddle::<f64>(group * V::WIDTH + l, n);
                    [kept(l) * im, -kept(l) * re]
                });
                (lanes(|l| [kept(l), 0.0]).re, turned)
            })
            .collect();
        let down = Stockham::plan(&factorise::<V>(rows).expect("supported lengths have these factors"));
        Self { rows, cut, down, turn, join, split }
    }

    fn scratch_len(&self) -> usize {
        let h = self.rows * V::WIDTH;
        2 * h + 2 * (h + 2 * V::WIDTH)
    }

    /// Rows, planar real parts and planar imaginary parts of the scratch.
    ///
    /// # Safety
    ///
    /// `scratch` must have [`Vector::scratch_len`] reals.
    #[inline(always)]
    unsafe fn parts(&self, scratch: *mut V::Real) -> (*mut V::Real, *mut V::Real, *mut V::Real) {
        let h = self.rows * V::WIDTH;
        // SAFETY: 2 h reals of rows, then W + h + W twice.
        unsafe { (scratch, scratch.add(2 * h + V::WIDTH), scratch.add(3 * h + 3 * V::WIDTH)) }
    }

    /// # Safety
    ///
    /// `line` must have `2 W M` reals, `scratch` [`Vector::scratch_len`], and `half` be as in [`LineFft::forward`].
    #[inline(never)]
    unsafe fn forward(&self, line: *mut V::Real, half: *mut V::Real, stride: usize, scratch: *mut V::Real) {
        V::vectorize(
            #[inline(always)]
            || {
                // SAFETY: the caller's promise. Rows go to and fro between the scratch and the line, which has their
                // size, as the planar region is wanted in step 2.
                unsafe {
                    let (rows, re, im) = self.parts(scratch);
                    let buffers = [Rows::new(rows, 1), Rows::new(line, 1)];
                    self.down.run(0, Interleaved(line), buffers[0]);
                    for index in 1..self.down.passes() {
                        self.down.run(index, buffers[(index - 1) % 2], buffers[index % 2]);
                    }
                    let rows = buffers[(self.down.passes() - 1) % 2];
                    match V::WIDTH {
                        2 => self.tiles_to_planar::<2>(rows, re, im),
                        4 => self.tiles_to_planar::<4>(rows, re, im),
                        8 => self.tiles_to_planar::<8>(rows, re, im),
                        _ => self.tiles_to_planar::<16>(rows, re, im),
                    }
                    self.split_modes(re, im, half, stride);
                }
            },
        );
    }

    /// # Safety
    ///
    /// `line` must have `2 W M` reals, `scratch` [`Vector::scratch_len`], and `half` be as in [`LineFft::inverse`].
    #[inline(never)]
    unsafe fn inverse(&self, half: *const V::Real, stride: usize, line: *mut V::Real, scratch: *mut V::Real) {
        V::vectorize(
            #[inline(always)]
            || {
                // SAFETY: the caller's promise. The planar region is free, and large enough for rows, after step 3.
                unsafe {
                    let (rows, re, im) = self.parts(scratch);
                    self.gather_modes(half, stride, re, im);
                    let buffers = [Rows::new(rows, 1), Rows::new(re.sub(V::WIDTH), 1)];
                    match V::WIDTH {
                        2 => self.tiles_from_planar::<2>(re, im, buffers[0]),
                        4 => self.tiles_from_planar::<4>(re, im, buffers[0]),
                        8 => self.tiles_from_planar::<8>(re, im, buffers[0]),
                        _ => self.tiles_from_planar::<16>(re, im, buffers[0]),
                    }
                    let last = self.down.passes() - 1;
                    for index in 0..last {
                        self.down.run(index, buffers[index % 2], buffers[(index + 1) % 2]);
                    }
                    self.down.run(last, buffers[last % 2], Interleaved(line));
                }
            },
        );
    }

    /// Steps 2 and 3.
    ///
    /// With fewer than `W` rows left a tile repeats the last one, and stores the surplus behind its `k`, where it lands on
    /// the first `k` of the next `q`; so the partial tile comes first and `q` ascends.
    ///
    /// # Safety
    ///
    /// `rows` must hold `M` rows, `re` and `im` be as [`Vector::parts`] gives them.
    #[inline(always)]
    unsafe fn tiles_to_planar<const W: usize>(&self, rows: Rows<V, false>, re: *mut V::Real, im: *mut V::Real) {
        for tile in (0..self.rows.div_ceil(W)).rev() {
            let (mut a, mut b) = ([V::splat(Zero::zero()); W], [V::splat(Zero::zero()); W]);
            let first = tile * W;
            // SAFETY: rows below M; vectors up to (M - 1) + M (W - 1) + W, the end of the padding.
            unsafe {
                for l in 0..W {
                    let k = (first + l).min(self.rows - 1);
                    let z = rows.at(k).load() * *self.turn.get_unchecked(k);
                    (a[l], b[l]) = (z.re, z.im);
                }
                V::transpose(&mut a);
                V::transpose(&mut b);
                let mut z = [Complex::zero(); W];
                for l in 0..W {
                    z[l] = Complex::new(a[l], b[l]);
                }
                dft(&mut z);
                for q in 0..W {
                    z[q].re.store(re.add(first + self.rows * q));
                    z[q].im.store(im.add(first + self.rows * q));
                }
            }
        }
    }

    /// Step 4, from planar `Z` to the groups of the half spectrum.
    ///
    /// # Safety
    ///
    /// `re` and `im` as [`Vector::parts`] gives them, `half` as in [`LineFft::forward`].
    #[inline(always)]
    unsafe fn split_modes(&self, re: *mut V::Real, im: *mut V::Real, half: *mut V::Real, stride: usize) {
        let h = self.rows * V::WIDTH;
        // SAFETY: indices from 1 (h - m >= 1, as cut < h and h is a multiple of W) to h are in the planar region.
        unsafe {
            *re.add(h) = *re;
            *im.add(h) = *im;
            for (group, &(kept, turned)) in self.split.iter().enumerate() {
                let m = group * V::WIDTH;
                let mirror = h + 1 - V::WIDTH - m;
                let z = Complex::new(V::load(re.add(m)), V::load(im.add(m)));
                let y = Complex::new(V::load(re.add(mirror)).reverse(), V::load(im.add(mirror)).reverse()).conj();
                (z + y).scale(kept).add_product(turned, z - y).store(half.add(group * stride));
            }
        }
    }

    /// The groups of a half spectrum in planar form, zero above them.
    ///
    /// # Safety
    ///
    /// `re` and `im` as [`Vector::parts`] gives them, `half` as in [`LineFft::inverse`].
    #[inline(always)]
    unsafe fn gather_modes(&self, half: *const V::Real, stride: usize, re: *mut V::Real, im: *mut V::Real) {
        let zero = V::splat(Zero::zero());
        // SAFETY: the last vector starts at h, the padding.
        unsafe {
            for group in 0..=self.rows {
                let m = group * V::WIDTH;
                let x = if m <= self.cut { Complex::load(half.add(group * stride)) } else { Complex::new(zero, zero) };
                x.re.store(re.add(m));
                x.im.store(im.add(m));
            }
            *im = Zero::zero();
        }
    }

    /// Inverse of steps 4, 3 and 2, exchanged. Rows descend, so that the last one is written after the surplus of a
    /// partial tile.
    ///
    /// # Safety
    ///
    /// `rows` must hold `M` rows, `re` and `im` be as [`Vector::parts`] gives them.
    #[inline(always)]
    unsafe fn tiles_from_planar<const W: usize>(&self, re: *mut V::Real, im: *mut V::Real, rows: Rows<V, false>) {
        let h = self.rows * W;
        for tile in 0..self.rows.div_ceil(W) {
            let first = tile * W;
            // SAFETY: `m` and its mirror stay within the padding of W on either side; rows below M.
            unsafe {
                let mut z = [Complex::zero(); W];
                for q in 0..W {
                    let m = first + self.rows * q;
                    let mirror = (h + 1) as isize - (W + m) as isize;
                    let x = Complex::new(V::load(re.add(m)), V::load(im.add(m)));
                    let y =
                        Complex::new(V::load(re.offset(mirror)).reverse(), V::load(im.offset(mirror)).reverse()).conj();
                    let sum = (x + y).add_product(*self.join.get_unchecked(first + q), x - y);
                    z[q] = Complex::new(sum.im, sum.re);
                }
                dft(&mut z);
                let (mut a, mut b) = ([V::splat(Zero::zero()); W], [V::splat(Zero::zero()); W]);
                for l in 0..W {
                    (a[l], b[l]) = (z[l].re, z[l].im);
                }
                V::transpose(&mut a);
                V::transpose(&mut b);
                for l in (0..W).rev() {
                    let k = (first + l).min(self.rows - 1);
                    let z = Complex::new(a[l], b[l]) * *self.turn.get_unchecked(k);
                    rows.at(k).store(z);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::fft::testing::{LENGTHS, dft, for_each_vector, noise, round_off};

    /// Cuts worth trying: the mean alone, dealiased, a full last group, all below the Nyquist mode.
    fn cuts(n: usize) -> [usize; 4] {
        [0, n / 3, (n / 4 - 1).max(1), (n - 1) / 2]
    }

    /// Modes `0..W groups`, read through an odd stride from memory that is not aligned.
    fn forward<V: Lanes>(plan: &LineFft<V>, points: &[f64]) -> Vec<[f64; 2]> {
        let stride = 2 * V::WIDTH + 3;
        let mut line: Vec<V::Real> = points.iter().map(|&x| V::Real::of(x)).collect();
        let mut half = vec![V::Real::of(9.0); 1 + plan.groups() * stride];
        let mut scratch = vec![V::Real::of(f64::NAN); plan.scratch_len()];
        // SAFETY: `half` has that many groups.
        unsafe { plan.forward(&mut line, half.as_mut_ptr().add(1), stride, &mut scratch) };
        (0..plan.groups() * V::WIDTH)
            .map(|m| [0, 1].map(|part| half[1 + m / V::WIDTH * stride + part * V::WIDTH + m % V::WIDTH].as_f64()))
            .collect()
    }

    fn inverse<V: Lanes>(plan: &LineFft<V>, modes: &[[f64; 2]]) -> Vec<f64> {
        let stride = 2 * V::WIDTH + 3;
        let mut half = vec![V::Real::of(0.0); 1 + plan.groups() * stride];
        for (m, z) in modes.iter().enumerate() {
            for part in 0..2 {
                half[1 + m / V::WIDTH * stride + part * V::WIDTH + m % V::WIDTH] = V::Real::of(z[part]);
            }
        }
        let mut line = vec![V::Real::of(f64::NAN); plan.len()];
        let mut scratch = vec![V::Real::of(f64::NAN); plan.scratch_len()];
        // SAFETY: `half` has that many groups.
        unsafe { plan.inverse(half.as_ptr().add(1), stride, &mut line, &mut scratch) };
        line.iter().map(|x| x.as_f64()).collect()
    }

    fn rounded<T: Real>(x: Vec<f64>) -> Vec<f64> {
        x.into_iter().map(|x| T::of(x).as_f64()).collect()
    }

    fn lengths<V: Lanes>() -> impl Iterator<Item = usize> {
        // With 2 W M points, M = 1 to 20: every shape of partial tile.
        let small = (1..=20).map(|rows| 2 * V::WIDTH * rows);
        small.chain(LENGTHS).filter(|&n| n > 4 && LineFft::<V>::supports(n))
    }

    fn modes_equal_the_sum<V: Lanes>() {
        for n in lengths::<V>() {
            let points = rounded::<V::Real>(noise(n, 1));
            let exact = dft(&points.iter().map(|&x| [x, 0.0]).collect::<Vec<_>>(), false);
            for cut in cuts(n) {
                let factor = 3.0;
                let plan = LineFft::<V>::plan(n, cut, factor);
                for (m, z) in forward(&plan, &points).iter().enumerate() {
                    let exact = if m <= cut { exact[m] } else { [0.0, 0.0] };
                    let error = (z[0] / factor - exact[0]).hypot(z[1] / factor - exact[1]);
                    assert!(error < round_off::<V::Real>(n), "n = {n}, cut {cut}, mode {m}: {error:e}");
                    assert!(m <= cut || *z == [0.0, 0.0], "n = {n}, cut {cut}: mode {m} is not zero");
                }
            }
        }
    }

    #[test]
    fn every_vector_transforms_a_line() {
        for_each_vector!(modes_equal_the_sum);
    }

    fn points_equal_the_sum<V: Lanes>() {
        for n in lengths::<V>() {
            for cut in cuts(n) {
                let parts = rounded::<V::Real>(noise(2 * cut + 2, 2));
                let modes: Vec<[f64; 2]> = parts.chunks(2).map(|c| [c[0], c[1]]).collect();
                let mut full = vec![[0.0, 0.0]; n];
                full[0] = [modes[0][0], 0.0];
                for m in 1..=cut {
                    (full[m], full[n - m]) = (modes[m], [modes[m][0], -modes[m][1]]);
                }
                let exact = dft(&full, true);
                let points = inverse(&LineFft::<V>::plan(n, cut, 1.0), &modes);
                for (j, (x, exact)) in points.iter().zip(&exact).enumerate() {
                    let error = (x - exact[0]).abs();
                    assert!(error < round_off::<V::Real>(n), "n = {n}, cut {cut}, point {j}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn every_vector_sums_the_modes_of_a_line_and_ignores_the_imaginary_part_of_the_mean() {
        for_each_vector!(points_equal_the_sum);
    }

    fn projection<V: Lanes>() {
        for n in lengths::<V>() {
            let plan = LineFft::<V>::plan(n, n / 3, 1.0 / n as f64);
            let modes = forward(&plan, &noise(n, 3));
            let again = forward(&plan, &inverse(&plan, &modes[..=n / 3]));
            for (a, b) in modes.iter().zip(&again) {
                // Two transforms of modes of size 1 / sqrt n.
                let tolerance = 2.0 * round_off::<V::Real>(n) / n as f64;
                assert!((a[0] - b[0]).hypot(a[1] - b[1]) < tolerance, "n = {n}");
            }
        }
    }

    #[test]
    fn truncation_is_a_projection() {
        for_each_vector!(projection);
    }
}
