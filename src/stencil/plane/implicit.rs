//! Projection and implicit diffusion of a staggered field, exactly, by Fourier transforms.
//!
//! On an `n x n` torus with spacing `h` the backward difference, which takes the divergence of a staggered field, has the
//! symbol `d_x = (1 - exp(-2 pi i m / n)) / h`; the forward difference of the pressure has `-conj(d_x)`. With
//! `s = |d_x|^2 + |d_y|^2`, minus the symbol of the five-point Laplacian,
//!
//! ```text
//! (u, v) <- (1 + nu dt s)^-1 (I - conj(d) d^T / s) (u, v)
//! ```
//!
//! is a symmetric map of real fields: its adjoint is itself. Both components are transformed as the one complex field
//! `w = u + i v`; a map with the matrix `M(k)` of real fields is `w(k) <- A w(k) + B conj(w(-k))` with
//!
//! ```text
//! 2 A = M_11 + M_22 + i (M_21 - M_12),      2 B = M_11 - M_22 + i (M_21 + M_12),
//! ```
//!
//! here `A = (1 / 2 + Im M_12) g` and `B = (|d_y|^2 - |d_x|^2) g / 2 s + i g Re M_12` with `M_12 = -conj(d_x) d_y / s`
//! and `g = 1 / (1 + nu dt s)`. So there are two complex transforms a step, and no others.

use std::f64::consts::TAU;

use num_complex::Complex64;

use crate::field::Real;
use crate::spectral::fft::ColumnFft;
use crate::spectral::simd::{Complex, Lanes};

/// Plan of the map; `W` must divide `n`.
pub(super) struct Implicit<V: Lanes> {
    n: usize,
    fft: ColumnFft<V>,
    /// `A`, `Re B` and `Im B` by `[k_y][k_x]`, over `n^2` for the inverse transform.
    symbols: [Vec<V::Real>; 3],
}

/// Memory of one call.
pub(super) struct Memory<V: Lanes> {
    /// One block of columns, before and after its transform.
    columns: [Vec<Complex<V>>; 2],
    scratch: Vec<Complex<V>>,
    /// All blocks, with lanes along the other axis than they came.
    turned: Vec<Complex<V>>,
    /// Real and imaginary parts of the spectrum by `[k_y][k_x]`, with the first column again behind the last.
    spectrum: [Vec<V::Real>; 2],
}

impl<V: Lanes> Implicit<V> {
    /// The map on `n x n` cells of size `h`; `nu_dt` is viscosity times step.
    pub fn plan(n: usize, h: f64, nu_dt: f64) -> Self {
        assert!(n.is_multiple_of(V::WIDTH), "Implicit: {n} points in vectors of {}", V::WIDTH);
        let d: Vec<Complex64> = (0..n).map(|m| (1.0 - Complex64::cis(-TAU * m as f64 / n as f64)) / h).collect();
        let mut symbols = [const { Vec::new() }; 3];
        for dy in &d {
            for dx in &d {
                let s = dx.norm_sqr() + dy.norm_sqr();
                let g = 1.0 / ((1.0 + nu_dt * s) * (n * n) as f64);
                let (a, b) = match s > 0.0 {
                    true => {
                        let m12 = -dx.conj() * dy / s;
                        (0.5 + m12.im, Complex64::new(0.5 * (dy.norm_sqr() - dx.norm_sqr()) / s, m12.re))
                    }
                    false => (1.0, Complex64::ZERO),
                };
                for (symbol, value) in symbols.iter_mut().zip([a, b.re, b.im]) {
                    symbol.push(V::Real::of(g * value));
                }
            }
        }
        Self { n, fft: ColumnFft::plan(n), symbols }
    }

    pub fn memory(&self) -> Memory<V> {
        let n = self.n;
        Memory {
            columns: std::array::from_fn(|_| vec![Complex::zero(); n]),
            scratch: vec![Complex::zero(); self.fft.scratch_len()],
            turned: vec![Complex::zero(); n * n / V::WIDTH],
            spectrum: std::array::from_fn(|_| vec![num_traits::Zero::zero(); n * (n + 1)]),
        }
    }

    /// Applies the map. `load(i, j)` gives `W` values `u + i v` from the point `(i, j)` on, `store(i, j, w)` takes them.
    pub fn apply(
        &self,
        memory: &mut Memory<V>,
        load: impl Fn(usize, usize) -> Complex<V>,
        mut store: impl FnMut(usize, usize, Complex<V>),
    ) {
        let (n, w) = (self.n, V::WIDTH);
        let Memory { columns: [data, out], scratch, turned, spectrum } = memory;
        for j in (0..n).step_by(w) {
            V::vectorize(
                #[inline(always)]
                || {
                    // No iterator: a closure of its own would be compiled without the vector's features.
                    for i in 0..n {
                        data[i] = load(i, j);
                    }
                },
            );
            self.fft.forward(data, out, scratch);
            turn(out, turned, n, j);
        }
        for kx in (0..n).step_by(w) {
            self.fft.forward(&mut turned[kx / w * n..][..n], out, scratch);
            spread(out, spectrum, n, kx);
        }
        for part in spectrum.iter_mut() {
            part.chunks_exact_mut(n + 1).for_each(|row| row[n] = row[0]);
        }
        for kx in (0..n).step_by(w) {
            self.multiply(spectrum, data, kx);
            self.fft.inverse(data, out, scratch);
            // Now lanes go from k_x to y: the block of `k_x` is scattered over the blocks of y.
            turn(out, turned, n, kx);
        }
        for j in (0..n).step_by(w) {
            self.fft.inverse(&mut turned[j / w * n..][..n], out, scratch);
            V::vectorize(
                #[inline(always)]
                || {
                    for i in 0..n {
                        store(i, j, out[i]);
                    }
                },
            );
        }
    }

    /// `W` columns of `A w(k) + B conj(w(-k))`.
    fn multiply(&self, spectrum: &[Vec<V::Real>; 2], data: &mut [Complex<V>], kx: usize) {
        let (n, w) = (self.n, V::WIDTH);
        let [re, im] = spectrum;
        assert!(re.len() == n * (n + 1) && im.len() == re.len() && data.len() == n && kx + w <= n);
        V::vectorize(
            #[inline(always)]
            || {
                for (ky, value) in data.iter_mut().enumerate() {
                    let here = ky * (n + 1) + kx;
                    // Lane l is to hold -(k_x + l), so the last of them is read first.
                    let mirror = (n - ky) % n * (n + 1) + n + 1 - kx - w;
                    let at = ky * n + kx;
                    // SAFETY: the lengths were checked; both rows are below n, both columns end at n + 1 or before.
                    let (z, m, [a, b_re, b_im]) = unsafe {
                        (
                            Complex::<V>::new(V::load(re.as_ptr().add(here)), V::load(im.as_ptr().add(here))),
                            Complex::<V>::new(V::load(re.as_ptr().add(mirror)), V::load(im.as_ptr().add(mirror))),
                            [
                                V::load(self.symbols[0].as_ptr().add(at)),
                                V::load(self.symbols[1].as_ptr().add(at)),
                                V::load(self.symbols[2].as_ptr().add(at)),
                            ],
                        )
                    };
                    let mirrored = Complex::new(m.re.reverse(), m.im.reverse()).conj();
                    *value = z.scale(a).add_product(Complex::new(b_re, b_im), mirrored);
                }
            },
        );
    }
}

/// Turns the column block that begins at `first` around: `out[p]`, lanes along q, becomes `turned[block of p][q]`, lanes
/// along p.
fn turn<V: Lanes>(out: &[Complex<V>], turned: &mut [Complex<V>], n: usize, first: usize) {
    let w = V::WIDTH;
    V::vectorize(
        #[inline(always)]
        || {
            let mut tile = [V::splat(num_traits::Zero::zero()); 16];
            for p in (0..n).step_by(w) {
                let to = &mut turned[p / w * n + first..][..w];
                let from = &out[p..][..w];
                for l in 0..w {
                    tile[l] = from[l].re;
                }
                V::transpose(&mut tile[..w]);
                for l in 0..w {
                    to[l].re = tile[l];
                    tile[l] = from[l].im;
                }
                V::transpose(&mut tile[..w]);
                for l in 0..w {
                    to[l].im = tile[l];
                }
            }
        },
    );
}

/// Writes the columns `first..` of the spectrum.
fn spread<V: Lanes>(out: &[Complex<V>], spectrum: &mut [Vec<V::Real>; 2], n: usize, first: usize) {
    let [re, im] = spectrum;
    assert!(re.len() == n * (n + 1) && im.len() == re.len() && out.len() == n && first + V::WIDTH <= n);
    V::vectorize(
        #[inline(always)]
        || {
            for (row, z) in out.iter().enumerate() {
                // SAFETY: the lengths were checked.
                unsafe {
                    z.re.store(re.as_mut_ptr().add(row * (n + 1) + first));
                    z.im.store(im.as_mut_ptr().add(row * (n + 1) + first));
                }
            }
        },
    );
}
