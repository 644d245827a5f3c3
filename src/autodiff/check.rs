//! Measures the derivatives of an operation.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Operation, Parameters, Tape, Var};
use crate::error::Result;

/// Relative errors of the derivatives of an operation, as [`check`] found them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// `|<J v, w> - <v, J^T w>|` over `|J v| |w|`, with the tangent of the operation; `None` if it has none.
    pub adjoint: Option<f64>,
    /// The same with central differences of sixth order in place of `J v`.
    pub difference: f64,
}

/// Compares adjoint, tangent and central differences of an operation in double precision, at the given inputs `(shape,
/// values)`, in random directions. The differences are good to about 1e-11 where the operation is smooth and of size
/// one.
///
/// # Errors
///
/// The operation's own, if the shapes do not fit.
pub fn check<O>(operation: impl Fn() -> O, inputs: &[(Vec<usize>, Vec<f64>)], seed: u64) -> Result<Check>
where
    O: Operation<f64> + 'static,
{
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = |len: usize| -> Vec<f64> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let directions: Vec<Vec<f64>> = inputs.iter().map(|(_, values)| noise(values.len())).collect();
    let mut tape = Tape::new(Parameters::new(), 1)?;
    let mut record = |step: f64| -> Result<(Tape<f64>, Vec<Var>, Var)> {
        let mut vars = Vec::new();
        for ((shape, values), direction) in inputs.iter().zip(&directions) {
            let moved: Vec<f64> = values.iter().zip(direction).map(|(x, v)| x + step * v).collect();
            vars.push(tape.variable(shape, &moved)?);
        }
        let output = tape.apply(operation(), &vars)?;
        Ok((std::mem::replace(&mut tape, Tape::new(Parameters::new(), 1)?), vars, output))
    };
    let (mut at, vars, output) = record(0.0)?;
    let cotangent = noise(at.values(output).len());
    let gradients = at.gradients(output, &cotangent, &vars)?;
    let pulled: f64 = gradients.iter().zip(&directions).map(|(g, v)| dot(g, v)).sum();

    // f'(0) = [45 (f_1 - f_-1) - 9 (f_2 - f_-2) + (f_3 - f_-3)] / 60 h + O(h^6).
    let h = 3e-3;
    let mut difference = vec![0.0; cotangent.len()];
    for (k, weight) in [(1.0, 45.0), (2.0, -9.0), (3.0, 1.0)] {
        for sign in [1.0, -1.0] {
            let (tape, _, output) = record(sign * k * h)?;
            for (d, &y) in difference.iter_mut().zip(tape.values(output)) {
                *d += sign * weight / (60.0 * h) * y;
            }
        }
    }
    let error = |tangent: &[f64]| (dot(tangent, &cotangent) - pulled).abs() / (norm(tangent) * norm(&cotangent));
    let pairs: Vec<(Var, &[f64])> = vars.iter().copied().zip(directions.iter().map(Vec::as_slice)).collect();
    let adjoint = at.tangent(output, &pairs).ok().map(|tangent| error(&tangent));
    Ok(Check { adjoint, difference: error(&difference) })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt().max(f64::MIN_POSITIVE)
}
