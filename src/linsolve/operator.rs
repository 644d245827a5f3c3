//! Operators, preconditioners and solvers as traits.

use super::report::Report;
use crate::error::{Error, Result};

/// A symmetric positive (semi)definite linear map on vectors of length [`Operator::len`].
pub trait Operator: Send + Sync {
    /// Length of the vectors.
    fn len(&self) -> usize;

    /// Whether there is nothing to solve for.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `y = A x`. Both slices have length [`Operator::len`]; `y` holds anything before.
    fn apply(&self, x: &[f64], y: &mut [f64]);

    /// Projects a vector onto the range: takes out the null space, and zeroes what is no unknown.
    fn project(&self, _v: &mut [f64]) {}

    /// Relative distance of `b` from the range, in the 1-norm.
    fn incompatibility(&self, _b: &[f64]) -> f64 {
        0.0
    }

    /// The diagonal, where it is known.
    fn diagonal(&self) -> Option<Vec<f64>> {
        None
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        0
    }
}

impl<O: Operator + ?Sized> Operator for std::sync::Arc<O> {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn apply(&self, x: &[f64], y: &mut [f64]) {
        (**self).apply(x, y);
    }
    fn project(&self, v: &mut [f64]) {
        (**self).project(v);
    }
    fn incompatibility(&self, b: &[f64]) -> f64 {
        (**self).incompatibility(b)
    }
    fn diagonal(&self) -> Option<Vec<f64>> {
        (**self).diagonal()
    }
    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}

/// A user's own operator: a closure that writes `A x` to its second argument.
///
/// # Example
///
/// ```
/// use parseval::linsolve::{FnOperator, Krylov, Options, Solver};
/// let laplacian = FnOperator::new(3, |x: &[f64], y: &mut [f64]| {
///     for k in 0..3 {
///         y[k] = 2.0 * x[k] - if k > 0 { x[k - 1] } else { 0.0 } - x.get(k + 1).unwrap_or(&0.0);
///     }
/// });
/// let mut x = [0.0; 3];
/// let report = Krylov::cg(laplacian, &Options::default())?.solve(&[1.0, 0.0, 1.0], &mut x)?.clone();
/// assert!(report.is_converged() && (x[1] - 1.0).abs() < 1e-8);
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct FnOperator<F> {
    len: usize,
    apply: F,
    diagonal: Option<Vec<f64>>,
}

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> FnOperator<F> {
    /// The map `apply` on vectors of length `len`.
    pub fn new(len: usize, apply: F) -> Self {
        Self { len, apply, diagonal: None }
    }

    /// With its diagonal, for [`super::Jacobi`].
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless there is one entry for each unknown.
    pub fn with_diagonal(mut self, diagonal: Vec<f64>) -> Result<Self> {
        if diagonal.len() != self.len {
            return Err(Error::shape("diagonal", &[self.len], &[diagonal.len()]));
        }
        self.diagonal = Some(diagonal);
        Ok(self)
    }
}

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> Operator for FnOperator<F> {
    fn len(&self) -> usize {
        self.len
    }
    fn apply(&self, x: &[f64], y: &mut [f64]) {
        (self.apply)(x, y);
    }
    fn diagonal(&self) -> Option<Vec<f64>> {
        self.diagonal.clone()
    }
}

/// An approximate inverse `z = M r`.
pub trait Preconditioner: Send {
    /// Name for reports.
    fn name(&self) -> &'static str;

    /// `z = M r`. Both slices have the operator's length; `z` holds anything before.
    fn apply(&mut self, r: &[f64], z: &mut [f64]);

    /// Whether `M` is a fixed linear symmetric positive definite map. If not, the flexible method is used.
    fn is_linear_spd(&self) -> bool {
        true
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        0
    }
}

impl<M: Preconditioner + ?Sized> Preconditioner for Box<M> {
    fn name(&self) -> &'static str {
        (**self).name()
    }
    fn apply(&mut self, r: &[f64], z: &mut [f64]) {
        (**self).apply(r, z);
    }
    fn is_linear_spd(&self) -> bool {
        (**self).is_linear_spd()
    }
    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}

/// A planned solver: its vectors are allocated, [`Solver::solve`] only computes.
pub trait Solver: Send {
    /// Solves `A x = b` from the initial guess `x`, to which the solution is written.
    ///
    /// For a grid problem both slices are row-major fields over all cells. Entries of `b` outside the unknowns are ignored, those of `x`
    /// become zero; in a component without Dirichlet faces the mean of `b` is taken out and `x` is returned with mean zero.
    ///
    /// The report tells how it went, also when the tolerance was not met or the data were not finite.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a slice has another length than the operator.
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report>;
}

pub(crate) fn check_lengths(n: usize, b: &[f64], x: &[f64]) -> Result<()> {
    for (what, len) in [("b", b.len()), ("x", x.len())] {
        if len != n {
            return Err(Error::shape(what, &[n], &[len]));
        }
    }
    Ok(())
}

/// Probes an operator with two pseudo-random vectors: `u.Av = v.Au` and `u.Au >= 0` must hold.
///
/// A failure is certain; a success is none for every vector, and [`super::Stop::IndefiniteOperator`] watches the solve itself.
///
/// # Errors
///
/// [`Error::Parameter`] that names what was violated and by how much.
pub fn check_operator(operator: &impl Operator) -> Result<()> {
    check_symmetry("operator", operator.len(), |x, y| operator.apply(x, y), |v| operator.project(v))
}

/// The same probe for a preconditioner of `operator`, on its range.
///
/// Symmetry is asked for to 1e-5: a single-precision preconditioner rounds.
///
/// # Errors
///
/// As [`check_operator`].
pub fn check_preconditioner(operator: &impl Operator, preconditioner: &mut impl Preconditioner) -> Result<()> {
    check_symmetry("preconditioner", operator.len(), |x, y| preconditioner.apply(x, y), |v| operator.project(v))
}

fn check_symmetry(
    name: &str,
    n: usize,
    mut apply: impl FnMut(&[f64], &mut [f64]),
    project: impl Fn(&mut [f64]),
) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = || -> Vec<f64> {
        let mut next = || {
            // xorshift64 (Marsaglia 2003): any fixed noise will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..n).map(|_| next()).collect()
    };
    let (mut u, mut v) = (noise(), noise());
    project(&mut u);
    project(&mut v);
    let (mut au, mut av) = (vec![0.0; n], vec![0.0; n]);
    apply(&u, &mut au);
    apply(&v, &mut av);
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let (uau, vav, uav, vau) = (dot(&u, &au), dot(&v, &av), dot(&u, &av), dot(&v, &au));
    if ![uau, vav, uav, vau].iter().all(|x| x.is_finite()) {
        return Err(Error::parameter(name, "not finite", "must map finite vectors to finite vectors"));
    }
    if uau < 0.0 || vav < 0.0 {
        return Err(Error::parameter(name, format!("u.Au = {:.3e}", uau.min(vav)), "must be positive semidefinite"));
    }
    // For a nonsymmetric part N, u.Nv is of the size ||Nv|| ||u|| / sqrt(n): compare with that, not with u.Au alone.
    let scale =
        (dot(&u, &u) * dot(&av, &av)).sqrt().max((dot(&v, &v) * dot(&au, &au)).sqrt()) / (n.max(1) as f64).sqrt();
    if (uav - vau).abs() > 1e-5 * scale {
        let value = format!("u.Av - v.Au = {:.3e}, of {scale:.3e}", uav - vau);
        return Err(Error::parameter(name, value, "must be symmetric"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tridiagonal(low: f64, high: f64, shift: f64) -> FnOperator<impl Fn(&[f64], &mut [f64]) + Send + Sync> {
        FnOperator::new(50, move |x: &[f64], y: &mut [f64]| {
            for k in 0..50 {
                let (before, after) = (if k > 0 { x[k - 1] } else { 0.0 }, x.get(k + 1).copied().unwrap_or(0.0));
                y[k] = (2.0 + shift) * x[k] - low * before - high * after;
            }
        })
    }

    #[test]
    fn operators_that_are_not_symmetric_or_not_positive_are_named() {
        assert!(check_operator(&tridiagonal(1.0, 1.0, 0.0)).is_ok());
        let text = check_operator(&tridiagonal(1.0, 0.9, 0.0)).unwrap_err().to_string();
        assert!(text.contains("operator") && text.contains("symmetric"), "{text}");
        let text = check_operator(&tridiagonal(1.0, 1.0, -4.0)).unwrap_err().to_string();
        assert!(text.contains("positive"), "{text}");
        let text = check_operator(&tridiagonal(1.0, 1.0, f64::NAN)).unwrap_err().to_string();
        assert!(text.contains("finite"), "{text}");
    }

    #[test]
    fn lengths_are_named() {
        assert!(check_lengths(3, &[0.0; 3], &[0.0; 2]).unwrap_err().to_string().contains('x'));
    }
}
