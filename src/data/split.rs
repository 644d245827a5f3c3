//! Deterministic splits and shuffles.
//!
//! Both rest on one permutation that depends only on the length, the seed and a stream number: Fisher-Yates on
//! ChaCha8, written out here so that a split stays the same when the random number crate changes its own shuffle.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::{Error, Result};

/// Sample indices of the three parts, each ascending; together every sample once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Split {
    pub train: Vec<usize>,
    pub valid: Vec<usize>,
    pub test: Vec<usize>,
}

impl Split {
    /// Splits `samples` by `seed`; `valid` and `test` are fractions, rounded to whole samples, train gets the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the fractions are in `[0, 1)` and leave something to train on.
    ///
    /// # Example
    ///
    /// ```
    /// use parseval::data::split::Split;
    /// let split = Split::new(10, 0.1, 0.2, 7)?;
    /// assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (7, 1, 2));
    /// assert_eq!(split, Split::new(10, 0.1, 0.2, 7)?);
    /// # Ok::<(), parseval::Error>(())
    /// ```
    pub fn new(samples: usize, valid: f64, test: f64, seed: u64) -> Result<Self> {
        for (name, fraction) in [("valid", valid), ("test", test)] {
            if !(0.0..1.0).contains(&fraction) {
                return Err(Error::parameter(name, fraction, "must be in [0, 1)"));
            }
        }
        let count = |fraction: f64| (fraction * samples as f64).round() as usize;
        let (n_valid, n_test) = (count(valid), count(test));
        if n_valid + n_test >= samples {
            return Err(Error::parameter("samples", samples, format!("{n_valid} + {n_test} leave none to train on")));
        }
        let order = permutation(samples, seed, 0);
        let part = |range: std::ops::Range<usize>| {
            let mut part = order[range].to_vec();
            part.sort_unstable();
            part
        };
        Ok(Self {
            test: part(0..n_test),
            valid: part(n_test..n_test + n_valid),
            train: part(n_test + n_valid..samples),
        })
    }
}

/// Random permutation of `0..n`.
pub fn permutation(n: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        // Multiply-shift instead of a division; its bias is below n / 2^64.
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_whole() {
        let split = Split::new(101, 0.2, 0.1, 3).unwrap();
        let mut all: Vec<usize> = [&split.train[..], &split.valid, &split.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<_>>());
        assert_ne!(split, Split::new(101, 0.2, 0.1, 4).unwrap());
    }

    #[test]
    fn the_permutation_is_frozen() {
        // A change here would silently change every published split.
        assert_ne!(permutation(64, 1, 0), permutation(64, 1, 1));
        assert_eq!(permutation(8, 0, 0), FROZEN);
    }

    const FROZEN: [usize; 8] = [7, 2, 1, 6, 0, 4, 3, 5];

    #[test]
    fn each_position_gets_each_value_equally_often() {
        let (n, trials) = (5, 20_000);
        let mut count = vec![0u32; n * n];
        for seed in 0..trials {
            for (i, v) in permutation(n, seed, 0).into_iter().enumerate() {
                count[n * i + v] += 1;
            }
        }
        // Binomial with mean 4000 and standard deviation 57; five of them.
        assert!(count.iter().all(|&c| (f64::from(c) - 4000.0).abs() < 285.0), "{count:?}");
    }

    #[test]
    fn fractions_that_leave_nothing_are_refused() {
        assert!(Split::new(10, 0.5, 0.5, 0).is_err());
        assert!(Split::new(10, -0.1, 0.5, 0).is_err());
        assert!(Split::new(10, f64::NAN, 0.5, 0).is_err());
        assert!(Split::new(0, 0.0, 0.0, 0).is_err());
    }
}
