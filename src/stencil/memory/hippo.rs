//! The linear systems of HiPPO.

use std::f64::consts::{SQRT_2, TAU};

use ndarray::{Array1, Array2};

use crate::error::{Error, Result};

/// What the coefficients project on: an orthonormal family over the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Scaled Legendre: the whole history `[0, t]` with equal weight. The system is `c' = (A c + B f) / t`.
    LegS,
    /// Translated Legendre: the last `window` time units with equal weight. The value that leaves the window is taken from
    /// the reconstruction, so that the coefficients are not the exact projection.
    LegT {
        /// Length of the window, unit of time.
        window: f64,
    },
    /// Translated Laguerre: the whole history with weight `e^-age`.
    LagT,
    /// Translated Fourier: the last `window` time units as a periodic signal.
    Fourier {
        /// Length of the window, unit of time.
        window: f64,
    },
}

/// `c' = A c + B f` (for [`Measure::LegS`] `c' = (A c + B f) / t`): the coefficients of the past of `f`.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// What it projects on.
    pub measure: Measure,
    /// `A`, shape `[order, order]`, unit 1/time (none for `LegS`).
    pub a: Array2<f64>,
    /// `B`, shape `[order]`.
    pub b: Array1<f64>,
}

impl Measure {
    /// The system with `order` coefficients.
    ///
    /// ```text
    /// LegS     A_nk = -sqrt(2n+1) sqrt(2k+1) (n > k), -(n+1) (n = k), 0 (n < k);       B_n = sqrt(2n+1)
    /// LegT     A_nk = -sqrt(2n+1) sqrt(2k+1) / w {1 (n >= k), (-1)^(n-k) (n < k)};      B_n = sqrt(2n+1) / w
    /// LagT     A_nk = -1 (n > k), -1/2 (n = k), 0 (n < k);                              B_n = 1
    /// Fourier  A = (R - 2 g g^T) / w,  R the rotations by 2 pi j,  g = (1, sqrt 2, 0, sqrt 2, 0, ..);  B = 2 g / w
    /// ```
    ///
    /// The last one follows as the others do: a periodic series gives the mean of both ends at the jump, so the value that
    /// leaves the window is twice the series less the value that enters.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an order of zero, an even order of `Fourier` (its family is `1` and pairs), or a window that
    /// is not positive.
    pub fn system(self, order: usize) -> Result<System> {
        if order == 0 {
            return Err(Error::parameter("order", order, "must be >= 1"));
        }
        let root = |n: usize| ((2 * n + 1) as f64).sqrt();
        let (a, b): (Array2<f64>, Array1<f64>) = match self {
            Self::LegS => (
                Array2::from_shape_fn((order, order), |(n, k)| match n.cmp(&k) {
                    std::cmp::Ordering::Greater => -root(n) * root(k),
                    std::cmp::Ordering::Equal => -((n + 1) as f64),
                    std::cmp::Ordering::Less => 0.0,
                }),
                Array1::from_shape_fn(order, root),
            ),
            Self::LegT { window } => {
                check_window(window)?;
                let sign = |n: usize, k: usize| if n >= k || (k - n).is_multiple_of(2) { 1.0 } else { -1.0 };
                (
                    Array2::from_shape_fn((order, order), |(n, k)| -root(n) * root(k) * sign(n, k) / window),
                    Array1::from_shape_fn(order, |n| root(n) / window),
                )
            }
            Self::LagT => (
                Array2::from_shape_fn((order, order), |(n, k)| match n.cmp(&k) {
                    std::cmp::Ordering::Greater => -1.0,
                    std::cmp::Ordering::Equal => -0.5,
                    std::cmp::Ordering::Less => 0.0,
                }),
                Array1::ones(order),
            ),
            Self::Fourier { window } => {
                check_window(window)?;
                if order.is_multiple_of(2) {
                    return Err(Error::parameter("order", order, "must be odd: a mean, and pairs of cosine and sine"));
                }
                let g = |n: usize| if n == 0 { 1.0 } else { SQRT_2 * (n % 2) as f64 };
                // Row and column 2j - 1 is the cosine of frequency j, 2j the sine.
                let rotation = |n: usize, k: usize| match (n % 2, k) {
                    (1, k) if k == n + 1 => TAU * n.div_ceil(2) as f64,
                    (0, k) if n > 0 && k + 1 == n => -TAU * (n / 2) as f64,
                    _ => 0.0,
                };
                (
                    Array2::from_shape_fn((order, order), |(n, k)| (rotation(n, k) - 2.0 * g(n) * g(k)) / window),
                    Array1::from_shape_fn(order, |n| 2.0 * g(n) / window),
                )
            }
        };
        Ok(System { measure: self, a, b })
    }

    /// The first `order` functions of the family at an age, so that `f(t - age) ~ sum_n c_n basis_n`. The age is in units of
    /// time; for [`Measure::LegS`] in units of the elapsed time, `0 ..= 1`.
    pub fn basis(self, order: usize, age: f64) -> Vec<f64> {
        let shifted = |s: f64| {
            let mut p = legendre(order, 1.0 - 2.0 * s);
            p.iter_mut().enumerate().for_each(|(n, p)| *p *= ((2 * n + 1) as f64).sqrt());
            p
        };
        match self {
            Self::LegS => shifted(age),
            Self::LegT { window } => shifted(age / window),
            Self::LagT => {
                // (n + 1) L_(n+1) = (2n + 1 - x) L_n - n L_(n-1).
                let (mut previous, mut value) = (0.0, (-age / 2.0).exp());
                let mut basis = Vec::with_capacity(order);
                for n in 0..order {
                    basis.push(value);
                    let n = n as f64;
                    (previous, value) = (value, ((2.0 * n + 1.0 - age) * value - n * previous) / (n + 1.0));
                }
                basis
            }
            Self::Fourier { window } => (0..order)
                .map(|n| {
                    let angle = TAU * n.div_ceil(2) as f64 * age / window;
                    match n {
                        0 => 1.0,
                        n if n % 2 == 1 => SQRT_2 * angle.cos(),
                        // The family runs along time, which is against age.
                        _ => -SQRT_2 * angle.sin(),
                    }
                })
                .collect(),
        }
    }

    /// `f(t - age) ~ sum_n c_n basis_n(age)`.
    pub fn reconstruct(self, coefficients: &[f64], age: f64) -> f64 {
        self.basis(coefficients.len(), age).iter().zip(coefficients).map(|(b, c)| b * c).sum()
    }
}

fn check_window(window: f64) -> Result<()> {
    match window > 0.0 && window.is_finite() {
        true => Ok(()),
        false => Err(Error::parameter("window", window, "must be finite and > 0")),
    }
}

/// `P_0(x) ..= P_(order - 1)(x)` by `(n + 1) P_(n+1) = (2n + 1) x P_n - n P_(n-1)`.
pub(super) fn legendre(order: usize, x: f64) -> Vec<f64> {
    let (mut previous, mut value) = (0.0, 1.0);
    let mut p = Vec::with_capacity(order);
    for n in 0..order {
        p.push(value);
        let n = n as f64;
        (previous, value) = (value, ((2.0 * n + 1.0) * x * value - n * previous) / (n + 1.0));
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Measure; 4] =
        [Measure::LegS, Measure::LegT { window: 2.0 }, Measure::LagT, Measure::Fourier { window: 2.0 }];

    #[test]
    fn a_constant_past_is_a_fixed_point_of_every_window() {
        for measure in [Measure::LegS, ALL[1], ALL[3]] {
            let system = measure.system(9).unwrap();
            let mut c = Array1::zeros(9);
            c[0] = 1.0;
            let rate = system.a.dot(&c) + &system.b;
            // For LegS, c_0 is the mean of f and A_n0 + B_n = 0 as for the others. One rounding of a number of size 20.
            assert!(rate.iter().all(|r| r.abs() < 1e-13), "{measure:?}: {rate}");
        }
    }

    #[test]
    fn eigenvalues_of_legs_are_the_negative_integers_and_all_systems_are_stable() {
        let mut found: Vec<f64> =
            Measure::LegS.system(8).unwrap().eigenvalues().unwrap().iter().map(|l| l.re).collect();
        found.sort_by(|a, b| b.total_cmp(a));
        for (n, value) in found.iter().enumerate() {
            // A condition number of 8e4 times the round-off of a matrix of norm 41.
            assert!((value + (n + 1) as f64).abs() < 1e-9, "{value}");
        }
        for measure in ALL {
            let largest = measure.system(9).unwrap().eigenvalues().unwrap().iter().map(|l| l.re).fold(-9.0, f64::max);
            assert!(largest < -0.1, "{measure:?}: {largest}");
        }
    }

    #[test]
    fn families_are_orthonormal_under_their_measure() {
        for measure in ALL {
            let order = 5;
            // Midpoint rule; Laguerre over ages to 60, where the weight is e^-60, against plain d age.
            let (length, points) = if measure == Measure::LagT { (60.0, 60_000) } else { (1.0, 20_000) };
            let unit = if measure == Measure::LegS || measure == Measure::LagT { 1.0 } else { 2.0 };
            let mut gram = Array2::<f64>::zeros((order, order));
            for i in 0..points {
                let age = length * (i as f64 + 0.5) / points as f64;
                let b = measure.basis(order, age * unit);
                let weight = length / points as f64;
                gram += &Array2::from_shape_fn((order, order), |(n, m)| weight * b[n] * b[m]);
            }
            // Second order in steps of 1e-3 and 5e-5, with second derivatives below 1e3.
            let worst =
                gram.indexed_iter().map(|((n, m), g)| (g - f64::from(u8::from(n == m))).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-5, "{measure:?}: {worst}");
        }
    }

    #[test]
    fn bad_orders_and_windows_are_refused() {
        assert!(Measure::LegS.system(0).is_err());
        assert!(Measure::Fourier { window: 1.0 }.system(4).unwrap_err().to_string().contains("must be odd"));
        for window in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Measure::LegT { window }.system(4).unwrap_err().to_string().contains("window"));
        }
    }
}
