//! One step of the learned finite-volume scheme as an operation of the tape.

use std::sync::Arc;

use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::circulant::{Circulant, twice};
use super::equation::{Equation, divergence, phi_1};
use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::vectorize;

/// Face values of zero logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Mean of the two cells beside the face, second order.
    #[default]
    Mean,
    /// Value at the face of the trigonometric polynomial that has these cell averages: with zero logits the scheme is
    /// pseudo-spectral.
    Spectral,
}

/// A step `u' = f(u, logits)` with inputs `[batch, 1, n]` and `[batch, logits, n]`.
///
/// With the differences `d_q = sum_s B_qs u_(i+s)`, where the rows of `B` are an orthonormal (Helmert) basis of the stencils
/// whose weights add up to zero, and the base value `r` at the face `i + 1/2`,
///
/// ```text
/// a = r + sum_q z_q d_q,   b = r + sum_q y_q d_q,   F = a b / 2 + g,
/// u' = e^(dt L) u - dt phi_1(dt L) (F_i - F_(i-1)) / h.
/// ```
///
/// The logits are `z`, `y` and, if `additive`, `g`. Whatever they are, the weights of each interpolation add up to one,
/// constants are interpolated exactly, and the mean of `u` is kept to round-off.
#[derive(Clone, Debug)]
pub struct FluxStep<T> {
    plan: Arc<Plan<T>>,
}

#[derive(Debug)]
struct Plan<T> {
    n: usize,
    /// Rows of `B`.
    basis: Vec<Vec<T>>,
    additive: bool,
    propagate: Circulant<T>,
    flux: Circulant<T>,
    face: Circulant<T>,
    /// Transposes of the three.
    back: [Circulant<T>; 3],
}

impl<T: Real> FluxStep<T> {
    /// The step of an equation on `n` cells. `stencil` cells around a face are interpolated from.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for bad coefficients, a step that is not positive, or a stencil that is odd or does not fit.
    pub fn plan(equation: &Equation, n: usize, dt: f64, stencil: usize, base: Base, additive: bool) -> Result<Self> {
        equation.validate()?;
        if !(dt > 0.0 && dt.is_finite()) {
            return Err(Error::parameter("dt", dt, "must be finite and > 0"));
        }
        if stencil < 2 || stencil % 2 == 1 || stencil > n {
            return Err(Error::parameter(
                "stencil",
                stencil,
                format!("must be even, at least 2 and at most {n} cells"),
            ));
        }
        let (length, h) = (equation.length(), equation.length() / n as f64);
        let circulant = |symbol: &dyn Fn(f64) -> Complex64| Circulant::from_symbol(n, length, symbol);
        let propagate = circulant(&|k| (dt * equation.symbol(k)).exp().into());
        let flux = circulant(&|k| -dt * phi_1(dt * equation.symbol(k)) * divergence(k, h));
        let face = circulant(&|k| match base {
            Base::Mean => 0.5 * (1.0 + Complex64::from_polar(1.0, k * h)),
            Base::Spectral => Complex64::from_polar(1.0 / sinc(0.5 * k * h), 0.5 * k * h),
        });
        let back = [propagate.transpose(), flux.transpose(), face.transpose()];
        let basis = helmert(stencil).into_iter().map(|row| row.into_iter().map(T::of).collect()).collect();
        Ok(Self { plan: Arc::new(Plan { n, basis, additive, propagate, flux, face, back }) })
    }

    /// Channels of the logits.
    pub fn logits(&self) -> usize {
        self.plan.logits()
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.plan.n
    }
}

/// `sin(z) / z`.
pub(super) fn sinc(z: f64) -> f64 {
    if z == 0.0 { 1.0 } else { z.sin() / z }
}

/// Orthonormal rows that add up to zero: `(1, .., 1, -q, 0, ..) / sqrt(q (q + 1))`.
fn helmert(stencil: usize) -> Vec<Vec<f64>> {
    let row = |q: usize| {
        let scale = 1.0 / ((q * (q + 1)) as f64).sqrt();
        (0..stencil)
            .map(|s| {
                if s < q {
                    scale
                } else if s == q {
                    -(q as f64) * scale
                } else {
                    0.0
                }
            })
            .collect()
    };
    (1..stencil).map(row).collect()
}

impl<T: Real> Plan<T> {
    fn logits(&self) -> usize {
        2 * self.basis.len() + usize::from(self.additive)
    }

    /// Cells in front of a face's own.
    fn ahead(&self) -> usize {
        self.basis.len().div_ceil(2) - 1
    }

    /// Reals of scratch for a sample.
    fn scratch(&self) -> usize {
        self.n * (9 + 2 * self.basis.len()) + 2 * (self.basis.len() + 1)
    }

    /// Differences `d [q][n]` and the interpolations `a`, `b` of one sample.
    #[inline(always)]
    fn interpolate(
        &self,
        u: &[T],
        logits: &[T],
        doubled: &mut [T],
        halo: &mut [T],
        d: &mut [T],
        [a, b]: [&mut [T]; 2],
    ) {
        let n = self.n;
        twice(u, doubled);
        for (j, x) in halo.iter_mut().enumerate() {
            *x = u[(j + n - self.ahead()) % n];
        }
        a.fill(T::zero());
        self.face.add(doubled, a);
        b.copy_from_slice(a);
        let (z, y) = logits.split_at(self.basis.len() * n);
        for ((q, row), d) in self.basis.iter().enumerate().zip(d.chunks_exact_mut(n)) {
            d.fill(T::zero());
            for (s, &weight) in row.iter().enumerate().take(q + 2) {
                d.iter_mut().zip(&halo[s..s + n]).for_each(|(d, &x)| *d += weight * x);
            }
            a.iter_mut().zip(&*d).zip(&z[q * n..]).for_each(|((a, &d), &z)| *a += z * d);
            b.iter_mut().zip(&*d).zip(&y[q * n..]).for_each(|((b, &d), &y)| *b += y * d);
        }
    }

    /// `u'` of one sample.
    #[inline(always)]
    fn forward(&self, u: &[T], logits: &[T], next: &mut [T], scratch: &mut [T]) {
        let (n, half) = (self.n, T::of(0.5));
        let Pieces { doubled, halo, d, a, b, .. } = self.pieces(scratch);
        self.interpolate(u, logits, doubled, halo, d, [&mut *a, &mut *b]);
        next.fill(T::zero());
        self.propagate.add(doubled, next);
        a.iter_mut().zip(&*b).for_each(|(a, &b)| *a = half * *a * b);
        if self.additive {
            a.iter_mut().zip(&logits[2 * self.basis.len() * n..]).for_each(|(f, &g)| *f += g);
        }
        twice(a, doubled);
        self.flux.add(doubled, next);
    }

    /// Cotangents of one sample, written (`to_logits`) or added (`to_state`).
    #[inline(always)]
    fn backward(
        &self,
        u: &[T],
        logits: &[T],
        cotangent: &[T],
        to_state: Option<&mut [T]>,
        to_logits: Option<&mut [T]>,
        scratch: &mut [T],
    ) {
        let (n, half, q) = (self.n, T::of(0.5), self.basis.len());
        let Pieces { doubled, halo, d, e, a, b, flux } = self.pieces(scratch);
        self.interpolate(u, logits, doubled, halo, d, [&mut *a, &mut *b]);
        twice(cotangent, doubled);
        flux.fill(T::zero());
        self.back[1].add(doubled, flux);
        if let Some(out) = to_logits {
            let (z, rest) = out.split_at_mut(q * n);
            let (y, g) = rest.split_at_mut(q * n);
            for ((d, z), y) in d.chunks_exact(n).zip(z.chunks_exact_mut(n)).zip(y.chunks_exact_mut(n)) {
                for i in 0..n {
                    let f = half * flux[i] * d[i];
                    z[i] = f * b[i];
                    y[i] = f * a[i];
                }
            }
            g.copy_from_slice(&flux[..g.len()]);
        }
        if let Some(out) = to_state {
            self.back[0].add(doubled, out);
            // Cotangents of a and b.
            for i in 0..n {
                let f = half * flux[i];
                (a[i], b[i]) = (f * b[i], f * a[i]);
            }
            halo.fill(T::zero());
            let (z, y) = logits.split_at(q * n);
            for (q, row) in self.basis.iter().enumerate() {
                let (z, y, e) = (&z[q * n..(q + 1) * n], &y[q * n..(q + 1) * n], &mut e[..n]);
                for i in 0..n {
                    e[i] = a[i] * z[i] + b[i] * y[i];
                }
                for (s, &weight) in row.iter().enumerate().take(q + 2) {
                    halo[s..s + n].iter_mut().zip(&*e).for_each(|(x, &e)| *x += weight * e);
                }
            }
            for (j, &x) in halo.iter().enumerate() {
                out[(j + n - self.ahead()) % n] += x;
            }
            a.iter_mut().zip(&*b).for_each(|(a, &b)| *a += b);
            twice(a, doubled);
            self.back[2].add(doubled, out);
        }
    }

    #[inline(always)]
    fn pieces<'a>(&self, scratch: &'a mut [T]) -> Pieces<'a, T> {
        let (n, q) = (self.n, self.basis.len());
        let (doubled, rest) = scratch.split_at_mut(2 * n);
        let (halo, rest) = rest.split_at_mut(n + q);
        let (d, rest) = rest.split_at_mut(q * n);
        let (e, rest) = rest.split_at_mut(n);
        let (a, rest) = rest.split_at_mut(n);
        let (b, rest) = rest.split_at_mut(n);
        Pieces { doubled, halo, d, e, a, b, flux: &mut rest[..n] }
    }
}

/// Scratch of a sample.
struct Pieces<'a, T> {
    doubled: &'a mut [T],
    halo: &'a mut [T],
    d: &'a mut [T],
    e: &'a mut [T],
    a: &'a mut [T],
    b: &'a mut [T],
    flux: &'a mut [T],
}

impl<T: Real> Operation<T> for FluxStep<T> {
    fn name(&self) -> &'static str {
        "flux step"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let n = self.plan.n;
        match inputs[0] {
            [batch, 1, cells] if *cells == n => {
                let expected = [*batch, self.logits(), n];
                match inputs[1] == expected {
                    true => Ok(inputs[0].to_vec()),
                    false => Err(Error::shape("logits of a flux step", &expected, inputs[1])),
                }
            }
            other => Err(Error::shape("state of a flux step [batch, 1, n]", &[1, 1, n], other)),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let plan = &*self.plan;
        let (u, logits) = (inputs[0].values, inputs[1].values);
        let (n, l) = (plan.n, plan.logits() * plan.n);
        workers.pieces(output, n, plan.scratch(), |sample, next, scratch| {
            let (u, logits) = (&u[sample * n..][..n], &logits[sample * l..][..l]);
            vectorize::<T, _>(
                #[inline(always)]
                || plan.forward(u, logits, next, scratch),
            );
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let plan = &*self.plan;
        let (u, logits) = (record.inputs[0].values, record.inputs[1].values);
        let (n, l) = (plan.n, plan.logits() * plan.n);
        if let Some(target) = inputs[0].take() {
            workers.pieces(target.add(), n, plan.scratch(), |sample, out, scratch| {
                let (u, logits) = (&u[sample * n..][..n], &logits[sample * l..][..l]);
                let g = &cotangent[sample * n..][..n];
                vectorize::<T, _>(
                    #[inline(always)]
                    || plan.backward(u, logits, g, Some(out), None, scratch),
                );
            });
        }
        if let Some(target) = inputs[1].take() {
            let (values, weight) = target.target();
            workers.pieces(values, l, plan.scratch() + l, |sample, out, scratch| {
                let (u, logits) = (&u[sample * n..][..n], &logits[sample * l..][..l]);
                let g = &cotangent[sample * n..][..n];
                let (own, scratch) = scratch.split_at_mut(l);
                vectorize::<T, _>(
                    #[inline(always)]
                    || {
                        plan.backward(u, logits, g, None, Some(&mut *own), scratch);
                        match weight == T::zero() {
                            true => out.copy_from_slice(own),
                            false => out.iter_mut().zip(&*own).for_each(|(o, &x)| *o += x),
                        }
                    },
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{Parameters, Tape, check};

    const KS: Equation = Equation::KuramotoSivashinsky { length: 64.0 };

    fn noise(shape: &[usize], seed: f64) -> (Vec<usize>, Vec<f64>) {
        (shape.to_vec(), (0..shape.iter().product()).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect())
    }

    fn run(step: &FluxStep<f64>, u: &[f64], logits: &[f64]) -> Vec<f64> {
        let mut tape = Tape::new(Parameters::new(), 1).unwrap();
        let n = step.cells();
        let u = tape.constant(&[1, 1, n], u).unwrap();
        let logits = tape.constant(&[1, step.logits(), n], logits).unwrap();
        let next = tape.apply(step.clone(), &[u, logits]).unwrap();
        tape.values(next).to_vec()
    }

    #[test]
    fn derivatives_are_exact() {
        for (base, additive, stencil, n) in [(Base::Mean, false, 6, 32), (Base::Spectral, true, 4, 19)] {
            let step = FluxStep::<f64>::plan(&KS, n, 0.25, stencil, base, additive).unwrap();
            let found =
                check(|| step.clone(), &[noise(&[3, 1, n], 0.1), noise(&[3, step.logits(), n], 0.7)], 0).unwrap();
            // Sixth-order differences of a map of size one.
            assert!(found.difference < 1e-10, "{found:?}");
        }
    }

    #[test]
    fn constants_are_steady_and_the_mean_is_kept_for_any_logits() {
        let n = 32;
        let step = FluxStep::<f64>::plan(&KS, n, 0.25, 6, Base::Mean, true).unwrap();
        let (_, mut logits) = noise(&[step.logits() * n], 0.3);
        let (_, u) = noise(&[n], 0.9);
        let next = run(&step, &u, &logits);
        // 32 cells of size one, each some hundred roundings.
        assert!((next.iter().sum::<f64>() - u.iter().sum::<f64>()).abs() < 1e-12);
        logits[2 * 5 * n..].fill(0.0);
        for next in run(&step, &vec![1.7; n], &logits) {
            assert!((next - 1.7).abs() < 1e-13, "{next}");
        }
    }

    #[test]
    fn a_step_commutes_with_shifts() {
        let n = 32;
        let step = FluxStep::<f64>::plan(&KS, n, 0.25, 6, Base::Spectral, true).unwrap();
        let ((_, u), (_, z)) = (noise(&[n], 0.2), noise(&[step.logits() * n], 0.4));
        let shift =
            |x: &[f64]| -> Vec<f64> { x.chunks(n).flat_map(|row| (0..n).map(move |i| row[(i + n - 5) % n])).collect() };
        for (a, b) in shift(&run(&step, &u, &z)).iter().zip(run(&step, &shift(&u), &shift(&z))) {
            // The same sums in another order of cells.
            assert!((a - b).abs() < 1e-13);
        }
    }

    #[test]
    fn stencils_that_do_not_fit_are_refused() {
        for (n, dt, stencil) in [(32, 0.25, 5), (32, 0.25, 0), (4, 0.25, 6), (32, -1.0, 6), (32, f64::NAN, 6)] {
            assert!(FluxStep::<f64>::plan(&KS, n, dt, stencil, Base::Mean, false).is_err());
        }
        let step = FluxStep::<f64>::plan(&KS, 32, 0.25, 6, Base::Mean, false).unwrap();
        let message = Operation::shape(&step, &[&[2, 1, 32], &[2, 9, 32]]).unwrap_err().to_string();
        assert_eq!(message, "logits of a flux step: expected shape [2, 10, 32], got [2, 9, 32]");
    }
}
