//! Mean, spread and increments of each field, for normalisation.
//!
//! One pass in double precision. Each frame's mean and sum of squares about it are merged into the total with the
//! pairwise update of Chan, Golub & LeVeque, *The American Statistician* 37 (1983), 242-247, Eq. (1.5):
//!
//! ```text
//! delta = mean_b - mean_a,   mean = mean_a + delta n_b / n,   M2 = M2_a + M2_b + delta^2 n_a n_b / n
//! ```
//!
//! Deviations are of the population (divided by n). Names and keys are those of The Well's `stats.yaml`.

use std::fmt::Write;

use ndarray::{ArrayD, ArrayView1, ArrayViewD, Axis};

use super::Dataset;
use crate::error::Result;

/// Running moments of a stream of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: f64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// Adds a block of numbers.
    pub fn add(&mut self, block: ArrayView1<f64>) {
        if block.is_empty() {
            return;
        }
        let count = block.len() as f64;
        let mean = block.sum() / count;
        let m2 = block.fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
        let total = self.count + count;
        let delta = mean - self.mean;
        self.mean += delta * count / total;
        self.m2 += m2 + delta * delta * self.count * count / total;
        self.count = total;
    }

    /// Mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation.
    pub fn std(&self) -> f64 {
        (self.m2 / self.count.max(1.0)).sqrt()
    }

    /// Root mean square.
    pub fn rms(&self) -> f64 {
        (self.mean * self.mean + self.m2 / self.count.max(1.0)).sqrt()
    }
}

/// Statistics of one field, an entry a channel.
#[derive(Clone, Debug)]
pub struct FieldStats {
    /// Name of the field.
    pub name: String,
    /// Its rank; a scalar is written as a number, others as lists.
    pub rank: usize,
    /// Of the values.
    pub value: Vec<Moments>,
    /// Of the increments between consecutive frames; empty for a field constant in time.
    pub delta: Vec<Moments>,
}

/// Statistics over the given samples (use those of the train part only), one frame in memory at a time.
///
/// # Errors
///
/// As [`Dataset::read`].
pub fn stats(data: &Dataset, samples: &[usize]) -> Result<Vec<FieldStats>> {
    let mut all = Vec::new();
    for field in data.fields() {
        let mut value = vec![Moments::default(); field.channels];
        let mut delta = vec![Moments::default(); if field.time_varying { field.channels } else { 0 }];
        let frames = if field.time_varying { data.times().len() } else { 1 };
        for &sample in samples {
            let mut previous: Option<ArrayD<f64>> = None;
            for t in 0..frames {
                let frame = data.read::<f64>(&field.name, sample, t..t + 1, 1)?.index_axis_move(Axis(0), 0);
                add_channels(&mut value, frame.view());
                if let Some(previous) = &previous {
                    add_channels(&mut delta, (&frame - previous).view());
                }
                previous = Some(frame);
            }
        }
        all.push(FieldStats { name: field.name.clone(), rank: field.rank, value, delta });
    }
    Ok(all)
}

/// Adds a frame `[channel, x..]`.
fn add_channels(moments: &mut [Moments], frame: ArrayViewD<f64>) {
    for (moments, channel) in moments.iter_mut().zip(frame.axis_iter(Axis(0))) {
        let flat = channel.as_slice().expect("a channel of a frame is contiguous");
        moments.add(ArrayView1::from(flat));
    }
}

/// Text of The Well's `stats.yaml`.
///
/// Keys `mean, std, rms, mean_delta, std_delta, rms_delta`, each a map from field to number or list.
pub fn to_yaml(stats: &[FieldStats]) -> String {
    let mut text = String::new();
    type Measure = (&'static str, fn(&Moments) -> f64);
    let measures: [Measure; 3] = [("mean", Moments::mean), ("std", Moments::std), ("rms", Moments::rms)];
    for (suffix, of_delta) in [("", false), ("_delta", true)] {
        for (name, measure) in measures {
            let _ = writeln!(text, "{name}{suffix}:");
            for field in stats {
                let moments = if of_delta { &field.delta } else { &field.value };
                let numbers: Vec<String> = moments.iter().map(|m| format!("{:e}", measure(m))).collect();
                match (field.rank, numbers.as_slice()) {
                    (_, []) => {}
                    (0, [one]) => _ = writeln!(text, "  {}: {one}", field.name),
                    _ => _ = writeln!(text, "  {}: [{}]", field.name, numbers.join(", ")),
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::well::tests::{header, write};
    use crate::data::well::{Precision, Writer};

    #[test]
    fn moments_of_blocks_are_those_of_the_whole() {
        // A mean 1e8 times the spread: the textbook formula E[x^2] - E[x]^2 would lose all digits.
        let x: Vec<f64> = (0..1000).map(|i| 1e8 + (i as f64 * 0.7).sin()).collect();
        let mut whole = Moments::default();
        whole.add(ArrayView1::from(&x));
        let mut parts = Moments::default();
        for block in x.chunks(37) {
            parts.add(ArrayView1::from(block));
        }
        let spread = x.iter().map(|v| (v - 1e8).powi(2)).sum::<f64>() / 1000.0;
        let mean = x.iter().map(|v| v - 1e8).sum::<f64>() / 1000.0;
        // x itself carries 1.5e-8 of rounding about its mean.
        assert!((parts.mean() - 1e8 - mean).abs() < 1e-7);
        assert!((parts.std() - (spread - mean * mean).sqrt()).abs() < 1e-7);
        assert!((parts.std() - whole.std()).abs() < 1e-7);
    }

    #[test]
    fn statistics_of_a_file_are_those_of_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.hdf5");
        let header = header(2, Precision::F64);
        let mut writer = Writer::create(&path, &header).unwrap();
        write(&mut writer, &header, 0);
        write(&mut writer, &header, 1);
        let stats = stats(&Dataset::open(&path, None).unwrap(), &[0, 1]).unwrap();
        let omega = &stats[1];
        // Values 1100 and 2100 plus i/512, i < 72, with mean 1600 + 71/1024.
        assert!((omega.value[0].mean() - (1600.0 + 71.0 / 1024.0)).abs() < 1e-10);
        let spread = (500.0f64.powi(2) + (72.0f64.powi(2) - 1.0) / 12.0 / 512.0f64.powi(2)).sqrt();
        assert!((omega.value[0].std() - spread).abs() < 1e-10);
        // Consecutive frames of a scalar differ by 24/512 everywhere.
        assert!((omega.delta[0].mean() - 24.0 / 512.0).abs() < 1e-12);
        assert!(omega.delta[0].std() < 1e-12);
        assert_eq!(stats[0].value.len(), 2);
        assert!(stats[3].delta.is_empty());
        let yaml = to_yaml(&stats);
        assert!(yaml.contains("mean_delta:\n  velocity: [") && yaml.contains("  omega: 1.6"), "{yaml}");
    }
}
