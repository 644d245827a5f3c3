//! From coordinates to features.

use serde::{Deserialize, Serialize};

use super::MAX_ORDER;
use crate::error::{Error, Result};
use crate::field::Real;

/// How one coordinate enters the network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinate {
    /// `cos k x, sin k x` for `k = 2 pi m / length`, `m = 1..=modes`: the network is periodic in all derivatives.
    Periodic {
        /// Period.
        length: f64,
        /// Number of modes.
        modes: usize,
    },
    /// `cos k (x - about)` alone: the network is even about `about`. An odd function is `sin k (x - about)` times an even one.
    Even {
        /// Period.
        length: f64,
        /// Number of modes.
        modes: usize,
        /// Point of the symmetry.
        about: f64,
    },
    /// `cos k (x - s(t)), sin k (x - s(t))` with `s = s_1 t + s_2 t^2 + s_3 t^3`: periodic in a frame that moves.
    Moving {
        /// Period.
        length: f64,
        /// Number of modes.
        modes: usize,
        /// Number of the coordinate that is the time.
        time: usize,
        /// `s_1, s_2, s_3`.
        shift: [f64; 3],
    },
    /// The coordinate itself, mapped from `[from, to]` to `[-1, 1]`.
    Linear {
        /// Mapped to -1.
        from: f64,
        /// Mapped to 1.
        to: f64,
    },
}

impl Coordinate {
    /// Number of features.
    pub fn features(&self) -> usize {
        match self {
            Self::Periodic { modes, .. } | Self::Moving { modes, .. } => 2 * modes,
            Self::Even { modes, .. } => *modes,
            Self::Linear { .. } => 1,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Self::Periodic { length, .. } | Self::Even { length, .. } | Self::Moving { length, .. }
                if !(length > 0.0 && length.is_finite()) =>
            {
                Err(Error::parameter("length", length, "must be positive and finite"))
            }
            Self::Periodic { modes: 0, .. } | Self::Even { modes: 0, .. } | Self::Moving { modes: 0, .. } => {
                Err(Error::parameter("modes", 0, "must be >= 1"))
            }
            Self::Linear { from, to } if !(from < to && (to - from).is_finite()) => {
                Err(Error::parameter("to", to, format!("must be larger than from = {from}, both finite")))
            }
            Self::Even { about, .. } if !about.is_finite() => Err(Error::parameter("about", about, "must be finite")),
            Self::Moving { shift, .. } if shift.iter().any(|s| !s.is_finite()) => {
                Err(Error::parameter("shift", format!("{shift:?}"), "must be finite"))
            }
            _ => Ok(()),
        }
    }

    /// The coordinate that this one moves with.
    pub(super) fn time(&self) -> Option<usize> {
        match *self {
            Self::Moving { time, .. } => Some(time),
            _ => None,
        }
    }

    /// Writes the Taylor coefficients of the features at `x` (and, for one that moves, the time `t`) along directions whose
    /// components in this coordinate and in time, and orders, are given. `write(component, feature, value)` is called for
    /// those that are not zero.
    fn jet(&self, [x, t]: [f64; 2], directions: &[([f64; 2], usize)], mut write: impl FnMut(usize, usize, f64)) {
        match *self {
            Self::Linear { from, to } => {
                let slope = 2.0 / (to - from);
                write(0, 0, (x - from) * slope - 1.0);
                let mut component = 1;
                for &([along, _], order) in directions {
                    write(component, 0, slope * along);
                    component += order;
                }
            }
            Self::Periodic { length, modes } => waves(length, modes, x, directions, |component, m, [c, s]| {
                write(component, 2 * m, c);
                write(component, 2 * m + 1, s);
            }),
            Self::Even { length, modes, about } => {
                waves(length, modes, x - about, directions, |component, m, [c, _]| write(component, m, c));
            }
            Self::Moving { length, modes, shift: [s1, s2, s3], .. } => {
                let wave = std::f64::consts::TAU / length;
                let position = x - t * (s1 + t * (s2 + t * s3));
                for m in 0..modes {
                    let k = wave * (m + 1) as f64;
                    let (sin, cos) = (k * position).sin_cos();
                    write(0, 2 * m, cos);
                    write(0, 2 * m + 1, sin);
                    let mut component = 1;
                    for &([along, b], order) in directions {
                        // j y_j of y(s) = x + a s - s(t + b s), times k; then s' = y' c, c' = -y' s as products of series.
                        let rates = [
                            k * (along - b * (s1 + t * (2.0 * s2 + 3.0 * t * s3))),
                            -2.0 * k * b * b * (s2 + 3.0 * t * s3),
                            -3.0 * k * b * b * b * s3,
                            0.0,
                        ];
                        let (mut c, mut s) = ([cos; MAX_ORDER + 1], [sin; MAX_ORDER + 1]);
                        for j in 1..=order {
                            let sum =
                                |other: &[f64]| (0..j).map(|i| rates[i] * other[j - 1 - i]).sum::<f64>() / j as f64;
                            (c[j], s[j]) = (-sum(&s), sum(&c));
                            write(component, 2 * m, c[j]);
                            write(component, 2 * m + 1, s[j]);
                            component += 1;
                        }
                    }
                }
            }
        }
    }
}

/// Coefficients `[cosine, sine]` of `k x`, `k = 2 pi m / length`, for `write(component, m - 1, coefficients)`.
fn waves(
    length: f64,
    modes: usize,
    x: f64,
    directions: &[([f64; 2], usize)],
    mut write: impl FnMut(usize, usize, [f64; 2]),
) {
    // exp(i k (x + s d)) = exp(i k x) sum_j (i k d)^j / j! s^j; harmonics are powers of the first.
    let wave = std::f64::consts::TAU / length;
    let (sin, cos) = (wave * x).sin_cos();
    let (mut c, mut s) = (cos, sin);
    for m in 0..modes {
        write(0, m, [c, s]);
        let mut component = 1;
        for &([along, _], order) in directions {
            let (mut cj, mut sj) = (c, s);
            for j in 1..=order {
                let factor = wave * (m + 1) as f64 * along / j as f64;
                (cj, sj) = (-factor * sj, factor * cj);
                write(component, m, [cj, sj]);
                component += 1;
            }
        }
        (c, s) = (c * cos - s * sin, s * cos + c * sin);
    }
}

/// All coordinates along all directions.
#[derive(Clone, Debug)]
pub(super) struct Embedding {
    parts: Vec<Part>,
    components: usize,
}

/// One coordinate.
#[derive(Clone, Debug)]
struct Part {
    coordinate: Coordinate,
    /// Its first feature.
    first: usize,
    /// For each direction its entries in this coordinate and in the time it moves with, and its order.
    directions: Vec<([f64; 2], usize)>,
}

impl Embedding {
    /// `directions` have as many entries as there are coordinates.
    pub(super) fn new(coordinates: &[Coordinate], directions: &[(Vec<f64>, usize)]) -> Self {
        let mut first = 0;
        let parts = coordinates.iter().enumerate().map(|(axis, &coordinate)| {
            let start = first;
            first += coordinate.features();
            let time = |along: &[f64]| coordinate.time().map_or(0.0, |time| along[time]);
            let directions = directions.iter().map(|(along, order)| ([along[axis], time(along)], *order)).collect();
            Part { coordinate, first: start, directions }
        });
        Self { parts: parts.collect(), components: 1 + directions.iter().map(|(_, order)| order).sum::<usize>() }
    }

    /// Jets `[component, point, feature]`, rows `stride` apart, of points `[point, coordinate]`.
    pub(super) fn jets<T: Real>(&self, points: &[T], stride: usize, features: &mut [T]) {
        let count = points.len() / self.parts.len();
        debug_assert!(features.len() == self.components * count * stride);
        features.fill(T::zero());
        for (p, point) in points.chunks_exact(self.parts.len()).enumerate() {
            for (&x, Part { coordinate, first, directions }) in point.iter().zip(&self.parts) {
                let t = coordinate.time().map_or(0.0, |time| point[time].as_f64());
                coordinate.jet([x.as_f64(), t], directions, |component, feature, value| {
                    features[(component * count + p) * stride + first + feature] = T::of(value);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_those_of_the_closed_form_along_oblique_directions() {
        let (length, modes) = (3.0, 20);
        let coordinates = [Coordinate::Periodic { length, modes }, Coordinate::Linear { from: -2.0, to: 3.0 }];
        let embedding = Embedding::new(&coordinates, &[(vec![1.0, 0.0], 4), (vec![-0.3, 0.7], 3)]);
        let points = [0.4, 2.5, -1.3, 0.5];
        let (stride, count) = (48, 2);
        let mut features = vec![f64::NAN; 8 * count * stride];
        embedding.jets(&points, stride, &mut features);
        for (p, point) in points.chunks(2).enumerate() {
            for (component, along, order) in
                [(0, [0.0; 2], 0), (1, [1.0, 0.0], 1), (4, [1.0, 0.0], 4), (5, [-0.3, 0.7], 1), (7, [-0.3, 0.7], 3)]
            {
                let row = &features[(component * count + p) * stride..][..stride];
                let factorial = [1.0, 1.0, 2.0, 6.0, 24.0][order];
                for m in 1..=modes {
                    let k = std::f64::consts::TAU * m as f64 / length;
                    let size = (k * along[0]).powi(order as i32) / factorial;
                    let phase = k * point[0] + order as f64 * std::f64::consts::FRAC_PI_2;
                    // The phase, up to 60, is rounded; each harmonic adds a rounding.
                    let tolerance = 2e-14 * size.abs();
                    assert!((row[2 * m - 2] - size * phase.cos()).abs() <= tolerance);
                    assert!((row[2 * m - 1] - size * phase.sin()).abs() <= tolerance);
                }
                let line = [(point[1] + 2.0) / 2.5 - 1.0, along[1] / 2.5, 0.0, 0.0, 0.0][order];
                assert!((row[2 * modes] - line).abs() < 1e-15);
                assert!(row[2 * modes + 1..].iter().all(|&pad| pad == 0.0));
            }
        }
    }

    #[test]
    fn even_and_moving_features_are_those_of_the_closed_form() {
        let coordinates = [
            Coordinate::Even { length: 3.0, modes: 2, about: 0.3 },
            Coordinate::Moving { length: 2.0, modes: 2, time: 2, shift: [0.7, -0.4, 0.2] },
            Coordinate::Linear { from: 0.0, to: 1.0 },
        ];
        let embedding = Embedding::new(&coordinates, &[(vec![0.5, 0.8, -0.6], 4)]);
        let at = |point: [f64; 3], component: usize| {
            let mut features = vec![0.0; 5 * 8];
            embedding.jets(&point, 8, &mut features);
            features[component * 8..][..8].to_vec()
        };
        let along = |s: f64| [0.4 + 0.5 * s, 1.1 + 0.8 * s, 0.6 - 0.6 * s];
        let [x, y, t] = along(0.0);
        let phase = std::f64::consts::PI * (y - 0.7 * t + 0.4 * t * t - 0.2 * t * t * t);
        let third = std::f64::consts::TAU / 3.0 * (x - 0.3);
        let exact = [third.cos(), (2.0 * third).cos(), phase.cos(), phase.sin()];
        assert!(at([x, y, t], 0).iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-15));
        for order in 1..=4 {
            // Coefficient k is the derivative of coefficient k - 1 along the direction, over k.
            let h = 1e-3;
            let odd = |h: f64, i: usize| at(along(h), order - 1)[i] - at(along(-h), order - 1)[i];
            for (i, value) in at([x, y, t], order).into_iter().enumerate() {
                let slope = (45.0 * odd(h, i) - 9.0 * odd(2.0 * h, i) + odd(3.0 * h, i)) / (60.0 * h);
                // Truncation h^6 4^11 / 140, rounding 1e-14 / h.
                assert!((value - slope / order as f64).abs() < 1e-10, "{order} {i}: {value} {slope}");
            }
        }
    }

    #[test]
    fn features_are_periodic() {
        let embedding = Embedding::new(&[Coordinate::Periodic { length: 0.75, modes: 3 }], &[(vec![1.0], 4)]);
        let (mut a, mut b) = (vec![0.0f64; 40], vec![0.0f64; 40]);
        embedding.jets(&[0.2], 8, &mut a);
        embedding.jets(&[0.2 + 0.75], 8, &mut b);
        // The largest coefficient is (6 pi / 0.75)^4 / 24 = 17000; phases differ by a rounding of 8, three times.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14 * 17_000.0));
    }
}
