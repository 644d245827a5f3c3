//! Points that fill a box evenly.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Primitive polynomials and first direction numbers of Sobol's sequence in dimensions 2 to 4 (Joe & Kuo, *SIAM J. Sci.
/// Comput.* 30 (2008), the table `new-joe-kuo-6`): degree, inner coefficients, `m_1, m_2, ...`.
const DIRECTIONS: [(u32, u32, &[u32]); 3] = [(1, 0, &[1]), (2, 1, &[1, 3]), (3, 1, &[1, 3, 1])];

/// Sobol's sequence in up to four dimensions with a random digital shift, which keeps its evenness.
///
/// The first `2^k` points have one in each of `2^k` equal intervals of each coordinate.
#[derive(Clone, Debug)]
pub struct Sobol {
    directions: Vec<[u32; 32]>,
    shift: Vec<u32>,
    state: Vec<u32>,
    index: u32,
}

impl Sobol {
    /// The sequence in `dimensions` dimensions with the shift of a seed.
    ///
    /// # Panics
    ///
    /// If there are no dimensions or more than four.
    pub fn new(dimensions: usize, shift: u64) -> Self {
        assert!((1..=DIRECTIONS.len() + 1).contains(&dimensions), "{dimensions} dimensions, at most 4");
        let mut directions = vec![std::array::from_fn(|i| 1 << (31 - i))];
        for &(degree, inner, first) in &DIRECTIONS[..dimensions - 1] {
            let degree = degree as usize;
            let mut v = [0u32; 32];
            for i in 0..32 {
                v[i] = match first.get(i) {
                    Some(m) => m << (31 - i),
                    None => {
                        let taken = (1..degree).filter(|k| inner >> (degree - 1 - k) & 1 == 1);
                        taken.fold(v[i - degree] ^ (v[i - degree] >> degree), |sum, k| sum ^ v[i - k])
                    }
                };
            }
            directions.push(v);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(shift);
        let shift = (0..dimensions).map(|_| rng.random()).collect();
        Self { directions, shift, state: vec![0; dimensions], index: 0 }
    }

    /// The next point of the unit cube, away from its faces by at least `2^-33`.
    pub fn point(&mut self, point: &mut [f64]) {
        for ((x, state), shift) in point.iter_mut().zip(&self.state).zip(&self.shift) {
            *x = (f64::from(state ^ shift) + 0.5) / 4_294_967_296.0;
        }
        let bit = self.index.trailing_ones() as usize % 32;
        self.index = self.index.wrapping_add(1);
        self.state.iter_mut().zip(&self.directions).for_each(|(state, v)| *state ^= v[bit]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_elementary_box_has_its_point() {
        let mut sobol = Sobol::new(4, 3);
        let points: Vec<[f64; 4]> = (0..256)
            .map(|_| {
                let mut p = [0.0; 4];
                sobol.point(&mut p);
                p
            })
            .collect();
        for axis in 0..4 {
            let mut bins = [0; 256];
            points.iter().for_each(|p| bins[(p[axis] * 256.0) as usize] += 1);
            assert!(bins.iter().all(|&n| n == 1), "axis {axis}");
        }
        // The first two dimensions are a net: one point in each box 1/2^a x 1/2^(8 - a).
        for a in 0..=8 {
            let mut bins = [0; 256];
            for p in &points {
                let (i, j) = ((p[0] * f64::from(1 << a)) as usize, (p[1] * f64::from(1 << (8 - a))) as usize);
                bins[i << (8 - a) | j] += 1;
            }
            assert!(bins.iter().all(|&n| n == 1), "boxes 1/2^{a}");
        }
    }
}
