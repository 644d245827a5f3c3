//! Maps of staggered fields that turn solutions of Kolmogorov flow into solutions.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Flow;
use crate::field::Real;

/// A symmetry: first, if so, the reflection `x -> -x` with a shift along y by half a period of the forcing; then shifts
/// by whole cells.
///
/// The reflection turns `u` into `-u`; the shift by half a period turns the sign of `sin(k y)` as well, so the forcing is
/// kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symmetry {
    /// Cells along x and y.
    pub shift: [usize; 2],
    /// Whether it reflects x.
    pub reflected: bool,
}

impl Symmetry {
    /// A random symmetry of a flow on `n x n` cells: any shift along x, whole periods of the forcing along y (any shift
    /// without forcing), with or without reflection. A step that the cells do not divide is left out.
    pub fn random(flow: &Flow, n: usize, rng: &mut ChaCha8Rng) -> Self {
        let mode = flow.forcing.map_or(0, |f| f.mode);
        let period = match mode {
            0 => 1,
            m if n.is_multiple_of(m) => n / m,
            _ => n,
        };
        let can_reflect = mode == 0 || n.is_multiple_of(2 * mode);
        let mut shift = [rng.random_range(0..n), period * rng.random_range(0..n / period)];
        let reflected = can_reflect && rng.random_range(0..2) == 1;
        if reflected && mode > 0 {
            shift[1] = (shift[1] + n / (2 * mode)) % n;
        }
        Self { shift, reflected }
    }

    /// Applies it to staggered fields `[.., 2, n, n]`.
    ///
    /// # Panics
    ///
    /// If there are not whole fields.
    pub fn apply<T: Real>(&self, n: usize, fields: &[T], out: &mut [T]) {
        let plane = n * n;
        assert!(fields.len() == out.len() && fields.len().is_multiple_of(2 * plane), "Symmetry: length of the fields");
        let [sx, sy] = self.shift.map(|s| s % n);
        for (number, (from, to)) in fields.chunks_exact(plane).zip(out.chunks_exact_mut(plane)).enumerate() {
            let component = number % 2;
            let negate = self.reflected && component == 0;
            for (i, row) in to.chunks_exact_mut(n).enumerate() {
                let i = (i + n - sx) % n;
                // u lies at (i + 1) h, v at (i + 1/2) h.
                let i = match (self.reflected, component) {
                    (false, _) => i,
                    (true, 0) => (2 * n - 2 - i) % n,
                    (true, _) => n - 1 - i,
                };
                let line = &from[i * n..][..n];
                row[sy..].copy_from_slice(&line[..n - sy]);
                row[..sy].copy_from_slice(&line[n - sy..]);
                if negate {
                    row.iter_mut().for_each(|x| *x = -*x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::autodiff::Workers;
    use crate::stencil::plane::{Cells, FiniteVolume, Interpolation, Stencil};

    #[test]
    fn a_step_commutes_with_every_symmetry() {
        let n = 16;
        let flow = Flow::default();
        let solver = FiniteVolume::<f64>::plan(&flow, n, 0.025).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let state: Vec<f64> = (0..2 * n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let workers = Workers::new(1).unwrap();
        let limited = |state: &[f64]| {
            let mut next = state.to_vec();
            solver.advance(&workers, Interpolation::VanLeer, &mut next, 3).unwrap();
            next
        };
        let zeros = vec![0.0; Cells::Square.logits() * n * n];
        let learned = |state: &[f64]| {
            let mut next = state.to_vec();
            solver.step_learned(Stencil::default(), state, &zeros, &mut next);
            next
        };
        let mut reflections = 0;
        for _ in 0..20 {
            let symmetry = Symmetry::random(&flow, n, &mut rng);
            reflections += usize::from(symmetry.reflected);
            let map = |state: &[f64]| {
                let mut out = state.to_vec();
                symmetry.apply(n, state, &mut out);
                out
            };
            for step in [&limited as &dyn Fn(&[f64]) -> Vec<f64>, &learned] {
                let (a, b) = (map(&step(&state)), step(&map(&state)));
                // Round-off of three steps on values of size one.
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{symmetry:?}");
            }
        }
        assert!((1..20).contains(&reflections));
    }
}
