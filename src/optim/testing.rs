//! What the tests share.

use super::{NamedTensor, Stateful};

/// Reproducible numbers in `[-1, 1)`.
pub fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Extended Rosenbrock function, `sum_i 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2` over pairs; minimum 0 at `(1, .., 1)`.
pub fn rosenbrock(x: &[f64], grad: &mut [f64]) -> f64 {
    let mut value = 0.0;
    for (x, grad) in x.chunks(2).zip(grad.chunks_mut(2)) {
        let (a, b) = (x[1] - x[0] * x[0], 1.0 - x[0]);
        value += 100.0 * a * a + b * b;
        grad[0] = -400.0 * a * x[0] - 2.0 * b;
        grad[1] = 200.0 * a;
    }
    value
}

/// The usual start of [`rosenbrock`].
pub fn rosenbrock_start(n: usize) -> Vec<f64> {
    [-1.2, 1.0].into_iter().cycle().take(n).collect()
}

/// Copies the state of `from` into `into`, and checks that it comes out as it went in and that a damaged one is refused.
pub fn transplant(from: &impl Stateful, into: &mut impl Stateful) {
    let state = from.state();
    into.restore(&state).unwrap();
    assert_eq!(into.state(), state);
    assert!(into.restore(&state[1..]).is_err(), "a tensor is absent");
    let foreign = NamedTensor::count("foreign", 1);
    assert!(into.restore(&[state.clone(), vec![foreign]].concat()).is_err(), "a tensor is unknown");
    let mut misshapen = state.clone();
    misshapen[0].shape.push(2);
    assert!(into.restore(&misshapen).is_err(), "a tensor has another shape");
    assert_eq!(into.state(), state, "a refused state must change nothing");
}
