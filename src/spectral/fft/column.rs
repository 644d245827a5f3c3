//! Complex transforms of `W` columns at once.

use std::sync::Arc;

use rustfft::{Fft, FftPlanner};

use super::stockham::{Layout, Rows, Stockham, butterflies, factorise, twiddle};
use crate::spectral::simd::{Complex, Lanes};

/// Plan of `X_m = sum_j x_j exp(-+2 pi i j m / n)` for `W` columns, lane = column.
pub struct ColumnFft<V: Lanes> {
    n: usize,
    kernel: Kernel<V>,
}

enum Kernel<V: Lanes> {
    /// One lane: rustfft, forward and inverse.
    Plain([Arc<dyn Fft<V::Real>>; 2]),
    Vector(Vector<V>),
}

impl<V: Lanes> ColumnFft<V> {
    /// Whether this vector has a kernel for length `n`: `2^a 3^b 5^c 7^d`, and any with one lane.
    ///
    /// False as well if the processor lacks the instruction set.
    pub fn supports(n: usize) -> bool {
        n > 0 && V::is_available() && (V::WIDTH == 1 || factorise::<V>(n).is_some())
    }

    /// Plans transforms of length `n`.
    ///
    /// # Panics
    ///
    /// Unless [`ColumnFft::supports`] `n`.
    pub fn plan(n: usize) -> Self {
        assert!(Self::supports(n), "ColumnFft: no kernel for length {n} with {} lanes", V::WIDTH);
        let kernel = if V::WIDTH == 1 {
            let mut planner = FftPlanner::new();
            Kernel::Plain([planner.plan_fft_forward(n), planner.plan_fft_inverse(n)])
        } else {
            Kernel::Vector(Vector::plan(n))
        };
        Self { n, kernel }
    }

    /// Length of the transform.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether the length is zero (it never is).
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Elements that `scratch` must have.
    pub fn scratch_len(&self) -> usize {
        match &self.kernel {
            Kernel::Plain(plans) => plans.iter().map(|p| p.get_outofplace_scratch_len()).max().unwrap_or(0),
            Kernel::Vector(vector) => vector.block,
        }
    }

    /// Forward transform of `data`, which it destroys, into `out`.
    ///
    /// # Panics
    ///
    /// If `data` or `out` is not as long as the transform, or `scratch` shorter than [`ColumnFft::scratch_len`].
    pub fn forward(&self, data: &mut [Complex<V>], out: &mut [Complex<V>], scratch: &mut [Complex<V>]) {
        self.run(false, data, out, scratch);
    }

    /// Inverse transform without the factor `1/n`; otherwise as [`ColumnFft::forward`].
    ///
    /// # Panics
    ///
    /// As [`ColumnFft::forward`].
    pub fn inverse(&self, data: &mut [Complex<V>], out: &mut [Complex<V>], scratch: &mut [Complex<V>]) {
        self.run(true, data, out, scratch);
    }

    fn run(&self, inverse: bool, data: &mut [Complex<V>], out: &mut [Complex<V>], scratch: &mut [Complex<V>]) {
        assert!(data.len() == self.n && out.len() == self.n, "ColumnFft: length of data or out");
        assert!(scratch.len() >= self.scratch_len(), "ColumnFft: length of scratch");
        match &self.kernel {
            Kernel::Plain(plans) => {
                let plan = &plans[usize::from(inverse)];
                plan.process_outofplace_with_scratch(as_numbers(data), as_numbers(out), as_numbers(scratch));
            }
            Kernel::Vector(vector) => {
                let [data, out, scratch] = [data, out, scratch].map(|s| s.as_mut_ptr().cast());
                // SAFETY: the lengths were checked, and the plan was built for them.
                unsafe {
                    if inverse {
                        vector.run::<true>(data, out, scratch);
                    } else {
                        vector.run::<false>(data, out, scratch);
                    }
                }
            }
        }
    }
}

/// The complex numbers of one lane as those of rustfft.
fn as_numbers<V: Lanes>(numbers: &mut [Complex<V>]) -> &mut [num_complex::Complex<V::Real>] {
    assert!(V::WIDTH == 1);
    // SAFETY: with one lane `Complex<V>` is `[re, im]` of the same scalar, as is num_complex::Complex.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// Bytes of the two buffers of a block, which should stay in the first-level cache.
const BLOCK_BYTES: usize = 32 << 10;

/// Decimation in frequency in place until the blocks fit the first-level cache (`outer`), then Stockham's transform of
/// each block (`inner`), which goes to and fro between the block and the scratch and ends at its stride in the result.
struct Vector<V: Lanes> {
    n: usize,
    outer: Vec<Outer<V::Real>>,
    inner: Stockham<V::Real>,
    /// Length of a block.
    block: usize,
}

/// One level in place: `radix` blocks from each.
struct Outer<T> {
    radix: usize,
    twiddles: Vec<[T; 2]>,
}

impl<V: Lanes> Vector<V> {
    fn plan(n: usize) -> Self {
        let mut radices = factorise::<V>(n).expect("supported lengths have these factors");
        let mut outer = Vec::new();
        let mut block = n;
        while 2 * block * size_of::<Complex<V>>() > BLOCK_BYTES && radices.len() > 1 {
            let radix = radices.remove(0);
            let m = block / radix;
            let twiddles = (0..m).flat_map(|p| (1..radix).map(move |k| twiddle(p * k, radix * m))).collect();
            outer.push(Outer { radix, twiddles });
            block = m;
        }
        Self { n, outer, inner: Stockham::plan(&radices), block }
    }

    /// # Safety
    ///
    /// `data` and `out` must hold `n` elements and `scratch` a block, apart from each other.
    #[inline(never)]
    unsafe fn run<const INVERSE: bool>(&self, data: *mut V::Real, out: *mut V::Real, scratch: *mut V::Real) {
        V::vectorize(
            #[inline(always)]
            || {
                // SAFETY: the caller's promise; a block of `block` elements starts at every multiple of it.
                unsafe {
                    let element = 2 * V::WIDTH;
                    let (mut length, mut blocks) = (self.n, 1);
                    for Outer { radix, twiddles } in &self.outer {
                        let m = length / radix;
                        let layout = Layout { m, s: 1, out_p: 1, out_k: m };
                        for block in 0..blocks {
                            let rows = Rows::<V, INVERSE>::new(data.add(block * length * element), 1);
                            butterflies(*radix, layout, twiddles.as_ptr(), rows, rows);
                        }
                        (length, blocks) = (m, blocks * radix);
                    }
                    let last = self.inner.passes() - 1;
                    for b in 0..blocks {
                        let here = Rows::<V, INVERSE>::new(data.add(b * self.block * element), 1);
                        let buffer = Rows::new(scratch, 1);
                        let there = Rows::new(out.add(self.place(b) * element), blocks);
                        for index in 0..=last {
                            let (from, to) = if index.is_multiple_of(2) { (here, buffer) } else { (buffer, here) };
                            self.inner.run(index, from, if index == last { there } else { to });
                        }
                    }
                }
            },
        );
    }

    /// Index of the first output of block `b`: the digits of `b` reversed.
    #[inline(always)]
    fn place(&self, b: usize) -> usize {
        let (mut rest, mut place) = (b, 0);
        for level in self.outer.iter().rev() {
            place = place * level.radix + rest % level.radix;
            rest /= level.radix;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Real;
    use crate::spectral::fft::testing::{LENGTHS, dft, for_each_vector, noise, round_off};

    /// Runs columns of complex numbers; `columns[lane][j]`.
    fn transform<V: Lanes>(inverse: bool, columns: &[Vec<[f64; 2]>]) -> Vec<Vec<[f64; 2]>> {
        let n = columns[0].len();
        let plan = ColumnFft::<V>::plan(n);
        let mut data: Vec<Complex<V>> = (0..n).map(|j| pack(|l| columns[l][j])).collect();
        let mut scratch = vec![Complex::zero(); plan.scratch_len()];
        let mut result = vec![Complex::zero(); n];
        if inverse {
            plan.inverse(&mut data, &mut result, &mut scratch);
        } else {
            plan.forward(&mut data, &mut result, &mut scratch);
        }
        (0..V::WIDTH).map(|l| result.iter().map(|&z| unpack(z)[l]).collect()).collect()
    }

    fn pack<V: Lanes>(f: impl Fn(usize) -> [f64; 2]) -> Complex<V> {
        let parts = (0..2).flat_map(|part| (0..V::WIDTH).map(move |l| (part, l)));
        let reals: Vec<V::Real> = parts.map(|(part, l)| V::Real::of(f(l)[part])).collect();
        // SAFETY: there are 2 W reals.
        unsafe { Complex::load(reals.as_ptr()) }
    }

    fn unpack<V: Lanes>(z: Complex<V>) -> Vec<[f64; 2]> {
        let mut reals = vec![V::Real::of(0.0); 2 * V::WIDTH];
        // SAFETY: there are 2 W reals.
        unsafe { z.store(reals.as_mut_ptr()) };
        (0..V::WIDTH).map(|l| [reals[l].as_f64(), reals[V::WIDTH + l].as_f64()]).collect()
    }

    fn columns_equal_the_sum<V: Lanes>() {
        for n in (1..=64).chain(LENGTHS).filter(|&n| ColumnFft::<V>::supports(n)) {
            // The same reals as the kernel sees, after rounding to its precision.
            let columns: Vec<Vec<[f64; 2]>> = (0..V::WIDTH)
                .map(|l| noise(2 * n, l as u64).chunks(2).map(|c| [0, 1].map(|i| V::Real::of(c[i]).as_f64())).collect())
                .collect();
            for inverse in [false, true] {
                let result = transform::<V>(inverse, &columns);
                for l in [0, V::WIDTH - 1] {
                    let exact = dft(&columns[l], inverse);
                    let error = result[l].iter().zip(&exact).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
                    let worst = error.fold(0.0, f64::max);
                    assert!(worst < round_off::<V::Real>(n), "n = {n}, inverse {inverse}, lane {l}: {worst:e}");
                }
            }
        }
    }

    #[test]
    fn every_vector_transforms_its_columns() {
        for_each_vector!(columns_equal_the_sum);
    }

    fn round_trip<V: Lanes>() {
        for n in LENGTHS.into_iter().filter(|&n| ColumnFft::<V>::supports(n)) {
            let columns: Vec<Vec<[f64; 2]>> =
                (0..V::WIDTH).map(|l| noise(2 * n, l as u64).chunks(2).map(|c| [c[0], c[1]]).collect()).collect();
            let back = transform::<V>(true, &transform::<V>(false, &columns));
            for (a, b) in back.iter().flatten().zip(columns.iter().flatten()) {
                // Two transforms, whose error the division by n makes relative to the points (of size one).
                let tolerance = 2.0 * round_off::<V::Real>(n) / (n as f64).sqrt();
                assert!((a[0] / n as f64 - b[0]).abs() < tolerance, "n = {n}");
                assert!((a[1] / n as f64 - b[1]).abs() < tolerance, "n = {n}");
            }
        }
    }

    #[test]
    fn inverse_of_forward_is_n_times_the_points() {
        for_each_vector!(round_trip);
    }

    #[test]
    fn other_primes_have_no_vector_kernel() {
        assert!(ColumnFft::<f64>::supports(11));
        assert!(!ColumnFft::<<f64 as Real>::Avx2>::supports(22) || <f64 as Real>::Avx2::WIDTH == 1);
        assert!(!ColumnFft::<f64>::supports(0));
    }
}
