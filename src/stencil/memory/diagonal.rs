//! Systems made diagonal, after a small perturbation where their own eigenvectors are useless.

use faer::Mat;
use faer::linalg::solvers::Solve;
use ndarray::Array2;
use num_complex::Complex64;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::discrete::to_faer;
use super::hippo::{Measure, System};
use super::transfer::Response;
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::vectorize;

/// `A + E = V Lambda V^-1`: a system in the coordinates in which it is diagonal. Of conjugate pairs one half is kept.
///
/// # Perturb, then diagonalise
///
/// The matrix of [`Measure::LegS`] is so far from normal that `V^-1` has no digits from order 16 on. A random `E` with
/// `|E| = epsilon |A|` bounds the condition of `V` by about `1 / epsilon`, and the system of `A + E` is near that of `A`: the
/// transfer functions differ by `O(epsilon)` uniformly in frequency, as dropping the non-normal part of `A` ("S4D",
/// [`Diagonal::normal_part`]) does not. A perturbed matrix may be unstable, so that is checked, and `E` drawn again.
///
/// In double precision `epsilon = 1e-6` is right; features in single precision want about `1e-4`. [`Measure::LegT`] up to
/// order 8 needs no perturbation.
///
/// # Source
///
/// Yu, Nigmetov, Morozov, Mahoney, Erichson, *ICLR* 2024.
#[derive(Clone, Debug)]
pub struct Diagonal {
    /// Eigenvalues with `Im >= 0`, unit 1/time.
    pub eigenvalues: Vec<Complex64>,
    /// Their eigenvectors of length one, shape `[order, modes]`, counted twice if there is a conjugate:
    /// `c = Re(vectors z)`.
    pub vectors: Array2<Complex64>,
    /// `V^-1 B`, shape `[modes]`.
    pub b: Vec<Complex64>,
    /// Condition number of `V` in the 2-norm.
    pub condition: f64,
    /// `|E| / |A|` in the 2-norm.
    pub epsilon: f64,
}

/// How a matrix is perturbed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// `|E| / |A|` in the 2-norm.
    pub epsilon: f64,
    /// Largest real part of an eigenvalue that is accepted, unit 1/time.
    pub stability: f64,
    /// Largest condition number of `V` that is accepted.
    pub condition: f64,
    /// Draws before `epsilon` is halved; it is halved at most as often.
    pub draws: usize,
    /// Seed of `E`.
    pub seed: u64,
}

impl Default for Perturbation {
    fn default() -> Self {
        Self { epsilon: 1e-6, stability: -1e-3, condition: 1e10, draws: 8, seed: 0 }
    }
}

impl Diagonal {
    /// The system as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the eigenvectors are not independent to working precision.
    pub fn direct(system: &System) -> Result<Self> {
        Self::of(system, None, 0.0)
    }

    /// The system after a perturbation that leaves it stable and makes its eigenvectors usable.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `epsilon` is not in `(0, 1)`, or if no draw was accepted.
    pub fn perturbed(system: &System, how: &Perturbation) -> Result<Self> {
        if !(how.epsilon > 0.0 && how.epsilon < 1.0) {
            return Err(Error::parameter("epsilon", how.epsilon, "must be in (0, 1)"));
        }
        let n = system.b.len();
        let norm = largest_singular_value(&to_faer(&system.a))?;
        let mut rng = ChaCha8Rng::seed_from_u64(how.seed);
        let mut epsilon = how.epsilon;
        let mut found = String::new();
        for _ in 0..how.draws {
            for _ in 0..how.draws {
                let mut gaussian = || -> f64 { StandardNormal.sample(&mut rng) };
                let e = Mat::from_fn(n, n, |_, _| gaussian());
                let scale = epsilon * norm / largest_singular_value(&e)?;
                let diagonal = Self::of(system, Some(&(e * faer::Scale(scale))), epsilon)?;
                let abscissa = diagonal.abscissa();
                if abscissa <= how.stability && diagonal.condition <= how.condition {
                    return Ok(diagonal);
                }
                found = format!("largest real part {abscissa:.2e}, condition {:.2e}", diagonal.condition);
            }
            epsilon /= 2.0;
        }
        let rule = format!("must give a matrix with the wanted stability and condition; the last draw had {found}");
        Err(Error::parameter("epsilon", how.epsilon, rule))
    }

    /// What remains of [`Measure::LegS`] when its rank-one part is dropped: `A + P P^T` with `P_n = sqrt(n + 1/2)`, and `B / 2`
    /// ("S4D"). It does not converge to the system uniformly in frequency and is here to be compared with.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an order of zero.
    pub fn normal_part(order: usize) -> Result<Self> {
        let mut system = Measure::LegS.system(order)?;
        let p = |n: usize| (n as f64 + 0.5).sqrt();
        system.a.indexed_iter_mut().for_each(|((n, k), a)| *a += p(n) * p(k));
        system.b /= 2.0;
        Self::direct(&system)
    }

    /// Largest real part of an eigenvalue: negative if the system is stable.
    pub fn abscissa(&self) -> f64 {
        self.eigenvalues.iter().map(|l| l.re).fold(f64::NEG_INFINITY, f64::max)
    }

    fn of(system: &System, e: Option<&Mat<f64>>, epsilon: f64) -> Result<Self> {
        let n = system.b.len();
        let mut a = to_faer(&system.a);
        if let Some(e) = e {
            a += e;
        }
        let refuse = |what: &str| Error::parameter("A", format!("{n} x {n}"), format!("must have {what}"));
        let eigen = a.eigen().map_err(|e| refuse(&format!("an eigenvalue decomposition: {e:?}")))?;
        let (lambda, v) = (eigen.S(), eigen.U());
        let length = |j: usize| (0..n).map(|i| v[(i, j)].norm_sqr()).sum::<f64>().sqrt();
        let v = Mat::<Complex64>::from_fn(n, n, |i, j| v[(i, j)] / length(j));
        let values = v.singular_values().map_err(|e| refuse(&format!("singular values: {e:?}")))?;
        let condition = values[0] / values[n - 1];
        if !condition.is_finite() {
            return Err(refuse("independent eigenvectors; perturb it"));
        }
        let b = Mat::<Complex64>::from_fn(n, 1, |i, _| system.b[i].into());
        let b = v.partial_piv_lu().solve(&b);
        let half: Vec<usize> = (0..n).filter(|&j| lambda[j].im >= 0.0).collect();
        let weight = |j: usize| if lambda[j].im > 0.0 { 2.0 } else { 1.0 };
        Ok(Self {
            eigenvalues: half.iter().map(|&j| lambda[j]).collect(),
            vectors: Array2::from_shape_fn((n, half.len()), |(i, m)| v[(i, half[m])] * weight(half[m])),
            b: half.iter().map(|&j| b[(j, 0)]).collect(),
            condition,
            epsilon,
        })
    }
}

fn largest_singular_value(a: &Mat<f64>) -> Result<f64> {
    let refuse = |e| Error::parameter("A", format!("{} x {}", a.nrows(), a.ncols()), format!("must be finite: {e:?}"));
    Ok(a.singular_values().map_err(refuse)?[0])
}

impl Response for Diagonal {
    fn response(&self, c: &[f64], omega: f64) -> Complex64 {
        let s = Complex64::new(0.0, omega);
        let modes = self.eigenvalues.iter().zip(&self.b).zip(self.vectors.columns());
        modes
            .map(|((&lambda, &b), v)| {
                let residue = b * c.iter().zip(v).map(|(&c, v)| v * c).sum::<Complex64>();
                // Half of the doubled residue belongs to each of a pair; a real eigenvalue is its own conjugate.
                0.5 * (residue / (s - lambda) + residue.conj() / (s - lambda.conj()))
            })
            .sum()
    }
}

/// Features by a diagonal recurrence, exact for input that is constant from frame to frame: a drop-in of
/// [`Recurrence`](super::Recurrence) with [`System::zero_order_hold`].
///
/// ```text
/// z <- e^(lambda dt) z + (e^(lambda dt) - 1) / lambda b f,      c = Re(V z).
/// ```
pub struct DiagonalFeatures<T> {
    diagonal: Diagonal,
    /// Factor of the state and of the frame, re and im.
    factors: Vec<[T; 4]>,
    points: usize,
    /// `[modes][re, im][points]`.
    state: Vec<T>,
}

impl<T: Real> DiagonalFeatures<T> {
    /// Features of an empty past at each of `points` points, with frames `dt` apart.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless `dt > 0`.
    pub fn new(diagonal: &Diagonal, points: usize, dt: f64) -> Result<Self> {
        let modes = diagonal.eigenvalues.len();
        let state = vec![T::zero(); 2 * modes * points];
        let mut features = Self { diagonal: diagonal.clone(), factors: Vec::new(), points, state };
        features.set_step(dt)?;
        Ok(features)
    }

    /// Changes the time between frames. For [`Measure::LegS`] the step to frame `k` is `ln(k / (k - 1))`, infinite for the
    /// first frame.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless `dt > 0`.
    pub fn set_step(&mut self, dt: f64) -> Result<()> {
        if dt.is_nan() || dt <= 0.0 {
            return Err(Error::parameter("dt", dt, "must be > 0"));
        }
        let factors = self.diagonal.eigenvalues.iter().zip(&self.diagonal.b).map(|(&lambda, &b)| {
            let decay = if dt.is_finite() { (lambda * dt).exp() } else { Complex64::ZERO };
            let gain = (decay - 1.0) / lambda * b;
            [decay.re, decay.im, gain.re, gain.im].map(T::of)
        });
        self.factors = factors.collect();
        Ok(())
    }

    /// Takes in a frame.
    ///
    /// # Panics
    ///
    /// If the frame has another number of points.
    pub fn push(&mut self, frame: &[T]) {
        assert_eq!(frame.len(), self.points, "points of the frame");
        let (points, state, factors) = (self.points, &mut self.state, &self.factors);
        vectorize::<T, _>(
            #[inline(always)]
            || {
                for (z, &[a, b, c, d]) in state.chunks_exact_mut(2 * points.max(1)).zip(factors) {
                    let (re, im) = z.split_at_mut(points);
                    for ((x, y), &f) in re.iter_mut().zip(im).zip(frame) {
                        let (old_x, old_y) = (*x, *y);
                        *x = a * old_x - b * old_y + c * f;
                        *y = a * old_y + b * old_x + d * f;
                    }
                }
            },
        );
    }

    /// The features `[order][points]` in the coordinates of the dense system.
    ///
    /// # Panics
    ///
    /// If the length differs.
    pub fn read(&self, features: &mut [T]) {
        let (points, vectors, state) = (self.points, &self.diagonal.vectors, &self.state);
        assert_eq!(features.len(), vectors.nrows() * points, "features are [order][points]");
        vectorize::<T, _>(
            #[inline(always)]
            || {
                for (row, v) in features.chunks_exact_mut(points.max(1)).zip(vectors.rows()) {
                    row.fill(T::zero());
                    for (z, v) in state.chunks_exact(2 * points.max(1)).zip(v) {
                        let (re, im) = z.split_at(points);
                        let (a, b) = (T::of(v.re), T::of(v.im));
                        row.iter_mut().zip(re).zip(im).for_each(|((c, &x), &y)| *c += a * x - b * y);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests;
