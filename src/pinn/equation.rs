//! Evolution equations as polynomials in the derivatives of the solution.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::jet::MAX_ORDER;

/// An autonomous system `u_t = f(u, u_x, ..., u_xxxx; c)` of one equation a field.
///
/// A jet `u` is `[order, field]`: the values of all fields, then their first derivatives, up to [`Equation::order`]. For a
/// system of ordinary differential equations the order is 0.
///
/// `c` are coefficients; those of an inverse problem are unknown, hence an argument.
pub trait Equation: Send + Sync {
    /// Number of fields, and of equations.
    fn fields(&self) -> usize;

    /// Highest derivative in `x`, `0..=4`.
    fn order(&self) -> usize;

    /// The coefficients `c`.
    fn coefficients(&self) -> Vec<f64>;

    /// `f`, one value a field.
    fn rates(&self, c: &[f64], u: &[f64], f: &mut [f64]);

    /// `df / du`, `[equation, order, field]`, and `df / dc`, `[equation, coefficient]`.
    fn slopes(&self, c: &[f64], u: &[f64], du: &mut [f64], dc: &mut [f64]);

    /// Factors of `d^k / dx^k`, `k = 1..=4`, in the part of equation `field` that is linear in that field: what an
    /// exponential of the linear part may take over. Zero by default.
    fn linear(&self, c: &[f64], field: usize) -> [f64; MAX_ORDER] {
        let _ = (c, field);
        [0.0; MAX_ORDER]
    }
}

/// `c prod_i d^(k_i) u_(f_i) / dx^(k_i)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// `c`.
    pub coefficient: f64,
    /// `[field, order]` of each factor; none is the constant 1.
    pub factors: Vec<[usize; 2]>,
    /// The equation whose right-hand side it belongs to.
    #[serde(default)]
    pub equation: usize,
    /// Name of the coefficient, by which an inverse problem asks for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Term {
    /// A term of an equation of one field, with the orders of its factors: `[0, 1]` is `u u_x`.
    pub fn scalar(name: &str, coefficient: f64, orders: &[usize]) -> Self {
        Self::of(0, name, coefficient, &orders.iter().map(|&k| [0, k]).collect::<Vec<_>>())
    }

    /// A term of equation `equation` with the `[field, order]` of its factors.
    pub fn of(equation: usize, name: &str, coefficient: f64, factors: &[[usize; 2]]) -> Self {
        Self { coefficient, factors: factors.to_vec(), equation, name: name.into() }
    }

    /// Field and order if there is one factor only.
    fn single(&self) -> Option<[usize; 2]> {
        match self.factors[..] {
            [factor] => Some(factor),
            _ => None,
        }
    }
}

/// An equation whose right-hand side is a sum of [`Term`]s; its coefficients are those of the terms, in order.
///
/// ```
/// use parseval::pinn::{Equation, Polynomial};
/// let burgers = Polynomial::burgers(0.01);
/// let mut f = [0.0];
/// burgers.rates(&burgers.coefficients(), &[2.0, 3.0, 100.0], &mut f); // u, u_x, u_xx
/// assert!((f[0] - (-2.0 * 3.0 + 0.01 * 100.0)).abs() < 1e-14);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    fields: usize,
    order: usize,
    terms: Vec<Term>,
}

impl Polynomial {
    /// The system of `fields` equations with these terms.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] without fields or terms, for a derivative beyond the fourth, or a factor or an equation of a
    /// field that is not there.
    pub fn new(fields: usize, terms: Vec<Term>) -> Result<Self> {
        if fields == 0 {
            return Err(Error::parameter("fields", 0, "must be >= 1"));
        }
        if terms.is_empty() {
            return Err(Error::parameter("terms", "[]", "must have at least one"));
        }
        let rule = format!("must be below the number of fields, {fields}");
        for term in &terms {
            if term.equation >= fields {
                return Err(Error::parameter("equation", term.equation, rule));
            }
            for &[field, order] in &term.factors {
                if field >= fields {
                    return Err(Error::parameter("field of a factor", field, rule));
                }
                if order > MAX_ORDER {
                    let rule = format!("must be at most {MAX_ORDER}");
                    return Err(Error::parameter("order of a factor", order, rule));
                }
            }
            if !term.coefficient.is_finite() {
                return Err(Error::parameter("coefficient", term.coefficient, "must be finite"));
            }
        }
        let order = terms.iter().flat_map(|t| &t.factors).map(|f| f[1]).max().unwrap_or(0);
        Ok(Self { fields, order, terms })
    }

    fn scalar<const N: usize>(terms: [(&str, f64, &[usize]); N]) -> Self {
        let terms: Vec<_> = terms.into_iter().map(|(name, c, orders)| Term::scalar(name, c, orders)).collect();
        Self::new(1, terms).expect("a term has one field and order up to four")
    }

    /// `u_t = diffusion u_xx + reaction (u - u^3)`.
    pub fn allen_cahn(diffusion: f64, reaction: f64) -> Self {
        let terms = [("diffusion", diffusion, &[2][..]), ("growth", reaction, &[0]), ("decay", -reaction, &[0, 0, 0])];
        Self::scalar(terms)
    }

    /// `u_t = -u u_x + nu u_xx`.
    pub fn burgers(nu: f64) -> Self {
        Self::scalar([("advection", -1.0, &[0, 1][..]), ("nu", nu, &[2])])
    }

    /// `u_t = -u u_x - dispersion u_xxx`.
    pub fn korteweg_de_vries(dispersion: f64) -> Self {
        Self::scalar([("advection", -1.0, &[0, 1][..]), ("dispersion", -dispersion, &[3])])
    }

    /// `u_t = -alpha u u_x - beta u_xx - gamma u_xxxx`.
    pub fn kuramoto_sivashinsky(alpha: f64, beta: f64, gamma: f64) -> Self {
        Self::scalar([("alpha", -alpha, &[0, 1][..]), ("beta", -beta, &[2]), ("gamma", -gamma, &[4])])
    }

    /// `u_t = -speed u_x + nu u_xx`.
    pub fn convection(speed: f64, nu: f64) -> Self {
        Self::scalar([("speed", -speed, &[1][..]), ("nu", nu, &[2])])
    }

    /// `x' = sigma (y - x)`, `y' = x (rho - z) - y`, `z' = x y - beta z`.
    pub fn lorenz(sigma: f64, rho: f64, beta: f64) -> Self {
        let [x, y, z] = [[0, 0], [1, 0], [2, 0]];
        let terms = vec![
            Term::of(0, "", sigma, &[y]),
            Term::of(0, "", -sigma, &[x]),
            Term::of(1, "rho", rho, &[x]),
            Term::of(1, "", -1.0, &[x, z]),
            Term::of(1, "", -1.0, &[y]),
            Term::of(2, "", 1.0, &[x, y]),
            Term::of(2, "beta", -beta, &[z]),
        ];
        Self::new(3, terms).expect("three fields, no derivative")
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Number of the coefficient of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there is none.
    pub fn coefficient(&self, name: &str) -> Result<usize> {
        let known = || self.terms.iter().map(|t| t.name.as_str()).filter(|n| !n.is_empty());
        let found = self.terms.iter().position(|t| !name.is_empty() && t.name == name);
        let rule = || format!("must be one of {}", known().collect::<Vec<_>>().join(", "));
        found.ok_or_else(|| Error::parameter("unknown coefficient", name, rule()))
    }

    /// The same terms with other coefficients.
    ///
    /// # Panics
    ///
    /// If their number differs.
    pub fn with_coefficients(&self, c: &[f64]) -> Self {
        assert_eq!(c.len(), self.terms.len(), "number of coefficients");
        let terms = self.terms.iter().zip(c).map(|(term, &coefficient)| Term { coefficient, ..term.clone() });
        Self { terms: terms.collect(), ..*self }
    }

    /// Value of a factor in a jet.
    fn value(&self, u: &[f64], [field, order]: [usize; 2]) -> f64 {
        u[order * self.fields + field]
    }
}

impl Equation for Polynomial {
    fn fields(&self) -> usize {
        self.fields
    }

    fn order(&self) -> usize {
        self.order
    }

    fn coefficients(&self) -> Vec<f64> {
        self.terms.iter().map(|t| t.coefficient).collect()
    }

    fn rates(&self, c: &[f64], u: &[f64], f: &mut [f64]) {
        f.fill(0.0);
        for (term, c) in self.terms.iter().zip(c) {
            f[term.equation] += c * term.factors.iter().map(|&factor| self.value(u, factor)).product::<f64>();
        }
    }

    fn slopes(&self, c: &[f64], u: &[f64], du: &mut [f64], dc: &mut [f64]) {
        du.fill(0.0);
        dc.fill(0.0);
        let (jet, coefficients) = ((self.order + 1) * self.fields, self.terms.len());
        for (i, (term, c)) in self.terms.iter().zip(c).enumerate() {
            dc[term.equation * coefficients + i] = term.factors.iter().map(|&f| self.value(u, f)).product();
            for (j, &[field, order]) in term.factors.iter().enumerate() {
                let others = term.factors.iter().enumerate().filter(|&(i, _)| i != j);
                let product: f64 = others.map(|(_, &factor)| self.value(u, factor)).product();
                du[term.equation * jet + order * self.fields + field] += c * product;
            }
        }
    }

    fn linear(&self, c: &[f64], field: usize) -> [f64; MAX_ORDER] {
        let mut linear = [0.0; MAX_ORDER];
        for (term, c) in self.terms.iter().zip(c).filter(|(term, _)| term.equation == field) {
            match term.single() {
                Some([f, order]) if f == field && order > 0 => linear[order - 1] += c,
                _ => {}
            }
        }
        linear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_derivatives_of_the_rates() {
        let equations = [
            Polynomial::allen_cahn(1e-4, 5.0),
            Polynomial::kuramoto_sivashinsky(5.0, 0.5, 0.005),
            Polynomial::korteweg_de_vries(0.022f64.powi(2)),
            Polynomial::lorenz(10.0, 28.0, 8.0 / 3.0),
            Polynomial::new(2, vec![Term::of(1, "", 2.0, &[[0, 3], [1, 3], [1, 3]]), Term::of(0, "", 1.5, &[])])
                .unwrap(),
        ];
        for equation in equations {
            let (fields, c) = (equation.fields(), equation.coefficients());
            let jet = (equation.order() + 1) * fields;
            let u: Vec<f64> = (0..jet).map(|i| (1.7 * i as f64 + 0.3).sin()).collect();
            let (mut du, mut dc) = (vec![f64::NAN; fields * jet], vec![f64::NAN; fields * c.len()]);
            equation.slopes(&c, &u, &mut du, &mut dc);
            // Rates are polynomials of degree three at most in each argument: differences of step h are exact but for
            // h^2 times the third derivative, and rounding 1e-16 / h times coefficients up to 28.
            let difference = |change: &dyn Fn(f64) -> Vec<f64>| -> Vec<f64> {
                let (up, down) = (change(1e-5), change(-1e-5));
                up.iter().zip(&down).map(|(a, b)| (a - b) / 2e-5).collect()
            };
            let rates = |c: &[f64], u: &[f64]| {
                let mut f = vec![0.0; fields];
                equation.rates(c, u, &mut f);
                f
            };
            for i in 0..jet {
                let exact = difference(&|h| {
                    let mut u = u.clone();
                    u[i] += h;
                    rates(&c, &u)
                });
                for (e, exact) in exact.iter().enumerate() {
                    assert!((du[e * jet + i] - exact).abs() < 2e-9, "{} {exact}", du[e * jet + i]);
                }
            }
            for i in 0..c.len() {
                let exact = difference(&|h| {
                    let mut c = c.clone();
                    c[i] += h;
                    rates(&c, &u)
                });
                for (e, exact) in exact.iter().enumerate() {
                    assert!((dc[e * c.len() + i] - exact).abs() < 2e-9);
                }
            }
        }
    }

    #[test]
    fn linear_part_is_that_of_single_derivatives() {
        let ks = Polynomial::kuramoto_sivashinsky(5.0, 0.5, 0.005);
        assert_eq!(ks.linear(&ks.coefficients(), 0), [0.0, -0.5, 0.0, -0.005]);
        let ac = Polynomial::allen_cahn(1e-4, 5.0);
        assert_eq!(ac.linear(&ac.coefficients(), 0), [0.0, 1e-4, 0.0, 0.0]);
    }

    #[test]
    fn inconsistent_terms_are_refused_by_name() {
        let message = |fields, term| Polynomial::new(fields, vec![term]).unwrap_err().to_string();
        let of = |factors: &[[usize; 2]]| Term::of(0, "", 1.0, factors);
        assert_eq!(message(1, of(&[[0, 5]])), "order of a factor = 5 is not allowed: must be at most 4");
        let rule = "must be below the number of fields, 1";
        assert_eq!(message(1, of(&[[1, 0]])), format!("field of a factor = 1 is not allowed: {rule}"));
        assert_eq!(message(1, Term::of(2, "", 1.0, &[])), format!("equation = 2 is not allowed: {rule}"));
        let error = Polynomial::burgers(0.1).coefficient("gamma").unwrap_err().to_string();
        assert_eq!(error, "unknown coefficient = gamma is not allowed: must be one of advection, nu");
    }
}
