//! Exact Legendre projection of a window of frames.

use super::hippo::legendre;
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::vectorize;

/// Projection of the last `W` frames on the discrete Legendre polynomials of degree below `N`, at every point.
///
/// ```text
/// c_n = 1/W sum_w q_n(w) f_w,      f_w ~ sum_n c_n q_n(w),      1/W sum_w q_n(w) q_m(w) = delta_nm,
/// ```
///
/// where `q_n` is the polynomial of degree `n` in the number `w` of the frame, orthonormal on the `W` frames and positive at
/// the newest one (QR of the sampled `P_n`). A constant window has `c = (f, 0, 0, ..)`; coefficients of smooth histories are
/// of the size of the field and fall quickly with `n`. The map is the transpose of its own right inverse up to the factor
/// `W`, so nothing but these `N W` numbers is needed in any direction.
///
/// # Example
///
/// ```
/// use parseval::stencil::memory::LegendreFir;
///
/// let fir = LegendreFir::new(3, 8)?;
/// let frames: Vec<[f64; 1]> = (0..8).map(|w| [1.0 + 0.5 * w as f64]).collect();
/// let window: Vec<&[f64]> = frames.iter().map(|f| &f[..]).collect();
/// let mut features = [0.0; 3];
/// fir.project(&window, &mut features);
/// assert!((features[0] - 2.75).abs() < 1e-14 && features[2].abs() < 1e-14); // the mean, a slope, no curvature
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LegendreFir {
    order: usize,
    window: usize,
    /// `q_n(w)`, shape `[order, window]`.
    polynomials: Vec<f64>,
}

/// Points of a block, whose accumulators stay in registers.
const BLOCK: usize = 64;

impl LegendreFir {
    /// The first `order` polynomials on `window` frames.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless `1 <= order <= window`.
    pub fn new(order: usize, window: usize) -> Result<Self> {
        if order == 0 || order > window {
            return Err(Error::parameter("order", order, format!("must be in 1..={window}, the frames of the window")));
        }
        let position = |w: usize| if window == 1 { 1.0 } else { 2.0 * w as f64 / (window - 1) as f64 - 1.0 };
        let sampled: Vec<Vec<f64>> = (0..window).map(|w| legendre(order, position(w))).collect();
        let mut polynomials: Vec<f64> = (0..order).flat_map(|n| sampled.iter().map(move |p| p[n])).collect();
        // Modified Gram-Schmidt, twice, which is orthonormal to round-off.
        for n in 0..order {
            let (known, rest) = polynomials.split_at_mut(n * window);
            let row = &mut rest[..window];
            for _ in 0..2 {
                for q in known.chunks_exact(window) {
                    let along = dot(q, row) / window as f64;
                    row.iter_mut().zip(q).for_each(|(r, q)| *r -= along * q);
                }
            }
            let scale = (dot(row, row) / window as f64).sqrt().copysign(row[window - 1]);
            row.iter_mut().for_each(|r| *r /= scale);
        }
        Ok(Self { order, window, polynomials })
    }

    /// Number of features `N`.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Number of frames `W`.
    pub fn window(&self) -> usize {
        self.window
    }

    /// `q_n(w)`, shape `[order, window]`, oldest frame first.
    pub fn polynomials(&self) -> &[f64] {
        &self.polynomials
    }

    /// Features `[order][points]` of `window` frames of equal length, oldest first.
    ///
    /// # Panics
    ///
    /// If a length is not as said.
    pub fn project<T: Real>(&self, frames: &[&[T]], features: &mut [T]) {
        let points = self.points(frames.iter().map(|f| f.len()), features.len());
        let scale = 1.0 / self.window as f64;
        for (q, feature) in self.polynomials.chunks_exact(self.window).zip(features.chunks_exact_mut(points.max(1))) {
            combine(q.iter().map(|q| T::of(scale * q)).zip(frames.iter().copied()), feature);
        }
    }

    /// Adds the adjoint of [`LegendreFir::project`]: `g_w += 1/W sum_n q_n(w) cotangent_n`.
    ///
    /// # Panics
    ///
    /// As [`LegendreFir::project`].
    pub fn project_adjoint<T: Real>(&self, cotangent: &[T], frames: &mut [&mut [T]]) {
        let points = self.points(frames.iter().map(|f| f.len()), cotangent.len());
        for (w, frame) in frames.iter_mut().enumerate() {
            let weights = self.polynomials[w..].iter().step_by(self.window);
            let weights = weights.map(|q| T::of(q / self.window as f64));
            add_combination(weights.zip(cotangent.chunks_exact(points.max(1))), frame);
        }
    }

    /// The frames that the features stand for, oldest first: the least-squares fit of the window.
    ///
    /// # Panics
    ///
    /// As [`LegendreFir::project`].
    pub fn reconstruct<T: Real>(&self, features: &[T], frames: &mut [&mut [T]]) {
        let points = self.points(frames.iter().map(|f| f.len()), features.len());
        for (w, frame) in frames.iter_mut().enumerate() {
            let weights = self.polynomials[w..].iter().step_by(self.window).map(|&q| T::of(q));
            combine(weights.zip(features.chunks_exact(points.max(1))), frame);
        }
    }

    /// Points of a frame, once all lengths agree.
    fn points(&self, frames: impl ExactSizeIterator<Item = usize>, features: usize) -> usize {
        assert_eq!(frames.len(), self.window, "frames of the window");
        let points = features / self.order;
        assert_eq!(points * self.order, features, "features are [order][points]");
        frames.for_each(|len| assert_eq!(len, points, "points of a frame"));
        points
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `y = sum_i w_i x_i`.
fn combine<'a, T: Real>(terms: impl Iterator<Item = (T, &'a [T])> + Clone, y: &mut [T]) {
    y.fill(T::zero());
    add_combination(terms, y);
}

/// `y += sum_i w_i x_i`, a block of points at a time.
fn add_combination<'a, T: Real>(terms: impl Iterator<Item = (T, &'a [T])> + Clone, y: &mut [T]) {
    vectorize::<T, _>(
        #[inline(always)]
        || {
            for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                let start = block * BLOCK;
                let mut sum = [T::zero(); BLOCK];
                if y.len() == BLOCK {
                    for (weight, x) in terms.clone() {
                        let x: &[T; BLOCK] = x[start..start + BLOCK].try_into().expect("a whole block");
                        for (s, &x) in sum.iter_mut().zip(x) {
                            *s += weight * x;
                        }
                    }
                } else {
                    for (weight, x) in terms.clone() {
                        sum.iter_mut().zip(&x[start..]).for_each(|(s, &x)| *s += weight * x);
                    }
                }
                y.iter_mut().zip(&sum).for_each(|(y, &s)| *y += s);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: f64) -> Vec<f64> {
        (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect()
    }

    #[test]
    fn polynomials_are_orthonormal_and_positive_at_the_newest_frame() {
        for (order, window) in [(1, 1), (8, 32), (32, 32), (16, 200)] {
            let fir = LegendreFir::new(order, window).unwrap();
            for (n, p) in fir.polynomials().chunks(window).enumerate() {
                assert!(p[window - 1] > 0.0);
                for (m, q) in fir.polynomials().chunks(window).enumerate() {
                    // Sums of 200 products of size ten, in double precision.
                    assert!((dot(p, q) / window as f64 - f64::from(u8::from(n == m))).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn polynomials_of_time_are_reproduced_up_to_their_degree() {
        let (order, window, points) = (5, 32, 3);
        let fir = LegendreFir::new(order, window).unwrap();
        let value = |w: usize, p: usize| {
            let s = w as f64 / 31.0;
            (1.0 + p as f64) - 2.0 * s + 3.0 * s.powi(3) - s.powi(4) * p as f64
        };
        let frames: Vec<Vec<f64>> = (0..window).map(|w| (0..points).map(|p| value(w, p)).collect()).collect();
        let views: Vec<&[f64]> = frames.iter().map(Vec::as_slice).collect();
        let (mut features, mut back) = (vec![0.0; order * points], vec![vec![0.0; points]; window]);
        fir.project(&views, &mut features);
        let mut views: Vec<&mut [f64]> = back.iter_mut().map(Vec::as_mut_slice).collect();
        fir.reconstruct(&features, &mut views);
        for (a, b) in frames.iter().flatten().zip(back.iter().flatten()) {
            // Sums of 32 products of size one.
            assert!((a - b).abs() < 1e-13);
        }
    }

    #[test]
    fn a_constant_window_has_one_feature() {
        let fir = LegendreFir::new(4, 10).unwrap();
        let frame = [2.5f32; 5];
        let mut features = [1.0f32; 20];
        fir.project(&[&frame[..]; 10], &mut features);
        for (i, &feature) in features.iter().enumerate() {
            // Ten products in single precision.
            assert!((feature - if i < 5 { 2.5 } else { 0.0 }).abs() < 2e-6);
        }
    }

    #[test]
    fn adjoint_agrees_with_the_map() {
        let (order, window, points) = (6, 9, 150);
        let fir = LegendreFir::new(order, window).unwrap();
        let frames: Vec<Vec<f64>> = (0..window).map(|w| noise(points, w as f64 * 1.7)).collect();
        let views: Vec<&[f64]> = frames.iter().map(Vec::as_slice).collect();
        let mut features = vec![0.0; order * points];
        fir.project(&views, &mut features);
        let cotangent = noise(order * points, 0.3);
        let mut back = vec![vec![0.0; points]; window];
        let mut slots: Vec<&mut [f64]> = back.iter_mut().map(Vec::as_mut_slice).collect();
        fir.project_adjoint(&cotangent, &mut slots);
        let (forward, reverse) =
            (dot(&features, &cotangent), frames.iter().zip(&back).map(|(a, b)| dot(a, b)).sum::<f64>());
        // About a thousand terms of size one.
        assert!((forward - reverse).abs() < 1e-12, "{forward} {reverse}");
    }

    #[test]
    fn impossible_orders_are_refused() {
        for order in [0, 9] {
            let message = LegendreFir::new(order, 8).unwrap_err().to_string();
            assert!(message.contains("order = ") && message.contains("1..=8"), "{message}");
        }
    }
}
