//! Random numbers by name: every consumer has a stream of its own.
//!
//! What one consumer draws does not shift what another draws, so results do not depend on the order of work or on the
//! number of threads, and a sample can be made again alone.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Name of the generator, as in provenance.
pub const RNG: &str = "chacha8";

/// The stream `index` of the consumer `name`: ChaCha8 under the key `SHA-256(seed, name)`.
///
/// # Example
///
/// ```
/// use parseval::run::seed::stream;
/// use rand::Rng;
/// assert_eq!(stream(1, "sample", 0).next_u64(), stream(1, "sample", 0).next_u64());
/// assert_ne!(stream(1, "sample", 0).next_u64(), stream(1, "sample", 1).next_u64());
/// ```
pub fn stream(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    rng.set_stream(index);
    rng
}

/// First 64 bits of a stream, as a seed for functions that take one.
pub fn derive(seed: u64, name: &str, index: u64) -> u64 {
    stream(seed, name, index).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn streams_differ_by_seed_name_and_index() {
        let mut seen = HashSet::new();
        for seed in [0, 1, u64::MAX] {
            for name in ["sample", "shuffle", ""] {
                for index in [0, 1, u64::MAX] {
                    assert!(seen.insert(derive(seed, name, index)), "{seed} {name} {index}");
                }
            }
        }
    }
}
