//! From coordinates to features.

use serde::{Deserialize, Serialize};

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
            Self::Periodic { modes, .. } => 2 * modes,
            Self::Linear { .. } => 1,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Self::Periodic { length, .. } if !(length > 0.0 && length.is_finite()) => {
                Err(Error::parameter("length", length, "must be positive and finite"))
            }
            Self::Periodic { modes: 0, .. } => Err(Error::parameter("modes", 0, "must be >= 1")),
            Self::Linear { from, to } if !(from < to && (to - from).is_finite()) => {
                Err(Error::parameter("to", to, format!("must be larger than from = {from}, both finite")))
            }
            _ => Ok(()),
        }
    }

    /// Writes the Taylor coefficients of the features at `x` along directions whose components in this coordinate and
    /// orders are given. `write(component, feature, value)` is called for those that are not zero.
    fn jet(&self, x: f64, directions: &[(f64, usize)], mut write: impl FnMut(usize, usize, f64)) {
        match *self {
            Self::Linear { from, to } => {
                let slope = 2.0 / (to - from);
                write(0, 0, (x - from) * slope - 1.0);
                let mut component = 1;
                for &(along, order) in directions {
                    write(component, 0, slope * along);
                    component += order;
                }
            }
            Self::Periodic { length, modes } => {
                // exp(i k (x + s d)) = exp(i k x) sum_j (i k d)^j / j! s^j; harmonics are powers of the first.
                let wave = std::f64::consts::TAU / length;
                let (sin, cos) = (wave * x).sin_cos();
                let (mut c, mut s) = (cos, sin);
                for m in 1..=modes {
                    let feature = 2 * (m - 1);
                    write(0, feature, c);
                    write(0, feature + 1, s);
                    let mut component = 1;
                    for &(along, order) in directions {
                        let (mut cj, mut sj) = (c, s);
                        for j in 1..=order {
                            let factor = wave * m as f64 * along / j as f64;
                            (cj, sj) = (-factor * sj, factor * cj);
                            write(component, feature, cj);
                            write(component, feature + 1, sj);
                            component += 1;
                        }
                    }
                    (c, s) = (c * cos - s * sin, s * cos + c * sin);
                }
            }
        }
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
    /// For each direction its entry in this coordinate, and its order.
    directions: Vec<(f64, usize)>,
}

impl Embedding {
    /// `directions` have as many entries as there are coordinates.
    pub(super) fn new(coordinates: &[Coordinate], directions: &[(Vec<f64>, usize)]) -> Self {
        let mut first = 0;
        let parts = coordinates.iter().enumerate().map(|(axis, &coordinate)| {
            let start = first;
            first += coordinate.features();
            let directions = directions.iter().map(|(along, order)| (along[axis], *order)).collect();
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
                coordinate.jet(x.as_f64(), directions, |component, feature, value| {
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
    fn features_are_periodic() {
        let embedding = Embedding::new(&[Coordinate::Periodic { length: 0.75, modes: 3 }], &[(vec![1.0], 4)]);
        let (mut a, mut b) = (vec![0.0f64; 40], vec![0.0f64; 40]);
        embedding.jets(&[0.2], 8, &mut a);
        embedding.jets(&[0.2 + 0.75], 8, &mut b);
        // The largest coefficient is (6 pi / 0.75)^4 / 24 = 17000; phases differ by a rounding of 8, three times.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14 * 17_000.0));
    }
}
