//! Exponential moving average of the parameters.

use serde::{Deserialize, Serialize};

use super::tensor::Reader;
use super::{NamedTensor, Stateful, vector};
use crate::error::{Error, Result};
use crate::field::Real;

/// How the average begins, when there is little to average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmaStart {
    /// At the first parameters seen, with full decay from then on.
    #[default]
    First,
    /// At zero, divided by the weight so far `1 - decay^t`, as the moments of Adam.
    BiasCorrected,
    /// Decay `min(decay, (1 + t) / (10 + t))` at update `t = 1, 2, ..` (TensorFlow's `num_updates`); from the first
    /// parameters seen.
    WarmUp,
}

/// Exponential moving average `a <- decay a + (1 - decay) theta` of a path of parameters.
///
/// It is kept in `f64` for `f32` parameters too: single precision would stop following changes below
/// `eps / (1 - decay)`, a relative 6e-4 at decay 0.9999.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    start: EmaStart,
    average: Vec<f64>,
    count: u64,
}

impl Ema {
    /// Average of `n` parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `decay` is not in `[0, 1)`.
    pub fn new(n: usize, decay: f64, start: EmaStart) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::parameter("decay", decay, "must be in [0, 1)"));
        }
        Ok(Self { decay, start, average: vec![0.0; n], count: 0 })
    }

    /// Takes in the parameters after a step.
    ///
    /// # Panics
    ///
    /// If the length is not `n`.
    pub fn update<T: Real>(&mut self, theta: &[T]) {
        assert_eq!(theta.len(), self.average.len(), "Ema::update");
        let decay = match self.start {
            EmaStart::First | EmaStart::WarmUp if self.count == 0 => 0.0,
            EmaStart::WarmUp => self.decay.min((1 + self.count) as f64 / (10 + self.count) as f64),
            _ => self.decay,
        };
        self.count += 1;
        let average = &mut self.average;
        vector::vectorize::<T, _>(
            #[inline(always)]
            || {
                for (a, x) in average.iter_mut().zip(theta) {
                    *a = decay * *a + (1.0 - decay) * x.as_f64();
                }
            },
        );
    }

    /// Writes the average; zero before the first update.
    ///
    /// # Panics
    ///
    /// If the length is not `n`.
    pub fn store<T: Real>(&self, theta: &mut [T]) {
        assert_eq!(theta.len(), self.average.len(), "Ema::store");
        let weight = match self.start {
            EmaStart::BiasCorrected if self.count > 0 => 1.0 - self.decay.powf(self.count as f64),
            _ => 1.0,
        };
        for (x, a) in theta.iter_mut().zip(&self.average) {
            *x = T::of(a / weight);
        }
    }
}

impl Stateful for Ema {
    fn state(&self) -> Vec<NamedTensor> {
        vec![
            NamedTensor::new("average", &[self.average.len()], self.average.iter().copied()),
            NamedTensor::count("count", self.count),
        ]
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let mut reader = Reader::new(state);
        let (average, count) = (reader.take("average", &[self.average.len()])?, reader.take_count("count")?);
        reader.finish()?;
        (self.average, self.count) = (average, count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::transplant;

    fn averages(start: EmaStart, path: &[f64]) -> Vec<f64> {
        let mut ema = Ema::new(1, 0.75, start).unwrap();
        let mut out = [0.0];
        path.iter()
            .map(|&x| {
                ema.update(&[x]);
                ema.store(&mut out);
                out[0]
            })
            .collect()
    }

    #[test]
    fn averages_are_the_weighted_sums() {
        // Weights are powers of two: exact.
        assert_eq!(averages(EmaStart::First, &[8.0, 0.0, 4.0]), [8.0, 6.0, 5.5]);
        // 2 / (1/4), (2 * 3/4 + 0) / (7/16): divided once.
        assert_eq!(averages(EmaStart::BiasCorrected, &[8.0, 0.0]), [8.0, 1.5 / 0.4375]);
        // Decays 0, 2/11, 3/12: each value is rounded a few times.
        let warm = averages(EmaStart::WarmUp, &[11.0, 0.0, 4.0]);
        for (got, exact) in warm.into_iter().zip([11.0, 2.0, 0.5 + 3.0]) {
            assert!((got - exact).abs() < 1e-14);
        }
    }

    #[test]
    fn a_constant_path_is_its_own_average_from_the_first_update() {
        for start in [EmaStart::First, EmaStart::BiasCorrected, EmaStart::WarmUp] {
            for average in averages(start, &[0.3; 50]) {
                // One rounding an update, damped by the decay.
                assert!((average - 0.3).abs() < 1e-15, "{start:?}");
            }
        }
    }

    #[test]
    fn restored_average_goes_on_with_the_same_bits() {
        let path = |ema: &mut Ema, from: u32| (from..from + 5).for_each(|i| ema.update(&[(i as f32).sin(), 1.0]));
        let mut through = Ema::new(2, 0.9, EmaStart::WarmUp).unwrap();
        path(&mut through, 0);
        let mut resumed = Ema::new(2, 0.9, EmaStart::WarmUp).unwrap();
        transplant(&through, &mut resumed);
        path(&mut through, 5);
        path(&mut resumed, 5);
        assert_eq!(through.state(), resumed.state());
        assert!(Ema::new(2, 1.0, EmaStart::First).is_err());
    }
}
