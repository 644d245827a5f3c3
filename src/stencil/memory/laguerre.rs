//! The translated Laguerre system in `O(order)` a frame.

use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::vectorize;

/// Features of the translated Laguerre measure with the bilinear rule, by a chain of first-order all-pass filters.
///
/// With `p = (4 - dt) / (4 + dt)` and the frames `f`,
///
/// ```text
/// y_0 <- p y_0 + (1 + p) dt / 2 f,      y_n <- p y_n + p y_(n-1)(new) - y_(n-1)(old).
/// ```
///
/// This is [`System::bilinear`](super::System::bilinear) of [`Measure::LagT`](super::Measure::LagT) to round-off: the
/// difference of two rows of `A` has two entries. At `dt = 1` the features are the discrete Laguerre functions, an orthonormal
/// family, so a map of few frames into many features is an isometry and adds no information to the frames.
pub struct LaguerreChain<T> {
    order: usize,
    points: usize,
    pole: f64,
    gain: f64,
    /// `[order][points]`.
    state: Vec<T>,
}

/// Points of a block, whose two rows of scratch stay in the first-level cache.
const BLOCK: usize = 128;

impl<T: Real> LaguerreChain<T> {
    /// `order` features of an empty past at each of `points` points, with frames `dt` apart (in units of the decay time).
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an order of zero or a step that is not in `(0, 4)`, where the pole is positive.
    pub fn new(order: usize, points: usize, dt: f64) -> Result<Self> {
        if order == 0 {
            return Err(Error::parameter("order", order, "must be >= 1"));
        }
        if !(dt > 0.0 && dt < 4.0) {
            return Err(Error::parameter("dt", dt, "must be in (0, 4)"));
        }
        let pole = (4.0 - dt) / (4.0 + dt);
        Ok(Self { order, points, pole, gain: 0.5 * (1.0 + pole) * dt, state: vec![T::zero(); order * points] })
    }

    /// The features, `[order][points]`.
    pub fn features(&self) -> &[T] {
        &self.state
    }

    /// Takes in a frame.
    ///
    /// # Panics
    ///
    /// If the frame has another number of points.
    pub fn push(&mut self, frame: &[T]) {
        assert_eq!(frame.len(), self.points, "points of the frame");
        let (pole, gain, points) = (T::of(self.pole), T::of(self.gain), self.points);
        let (state, order) = (&mut self.state, self.order);
        vectorize::<T, _>(
            #[inline(always)]
            || {
                for start in (0..points).step_by(BLOCK) {
                    let len = BLOCK.min(points - start);
                    // Old and new value of the filter before.
                    let (mut old, mut new) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
                    let first = state[start..start + len].iter_mut().zip(&frame[start..start + len]);
                    for ((old, new), (y, &f)) in old.iter_mut().zip(&mut new).zip(first) {
                        *old = *y;
                        *y = pole * *y + gain * f;
                        *new = *y;
                    }
                    for n in 1..order {
                        let row = &mut state[n * points + start..n * points + start + len];
                        for ((old, new), y) in old.iter_mut().zip(&mut new).zip(row) {
                            let before = *y;
                            *y = pole * (before + *new) - *old;
                            (*old, *new) = (before, *y);
                        }
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Measure, Recurrence};
    use super::*;
    use faer::Mat;

    #[test]
    fn the_chain_is_the_bilinear_rule_of_the_dense_system() {
        for dt in [1.0, 0.3] {
            let system = Measure::LagT.system(24).unwrap();
            let mut dense = Recurrence::<f64>::new(&system.bilinear(dt).unwrap(), 3);
            let mut chain = LaguerreChain::<f64>::new(24, 3, dt).unwrap();
            for k in 0..100 {
                let frame = [0.1, 1.3, 2.9].map(|phase| (0.21 * k as f64 + phase).sin());
                dense.push(&frame);
                chain.push(&frame);
            }
            for (a, b) in dense.features().iter().zip(chain.features()) {
                // A hundred steps of a contraction, round-off of numbers of size ten.
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
    }

    #[test]
    fn few_frames_go_into_many_features_as_an_isometry() {
        for (order, frames) in [(64, 8), (128, 16)] {
            // Column j: the response to frame j alone; one point a column.
            let mut chain = LaguerreChain::<f64>::new(order, frames, 1.0).unwrap();
            for k in 0..frames {
                let frame: Vec<f64> = (0..frames).map(|j| f64::from(u8::from(j == k))).collect();
                chain.push(&frame);
            }
            let map = Mat::from_fn(order, frames, |n, j| chain.features()[n * frames + j]);
            for value in map.singular_values().unwrap() {
                // The tail beyond the last feature is below 1e-10 for eight features a frame.
                assert!((value - 1.0).abs() < 1e-10, "{value}");
            }
        }
    }
}
