//! The classical solution of the same problem: the truth that a network is measured by, and its rival.

use std::time::Instant;

use ndarray::Array1;
use num_complex::Complex64;

use super::equation::{Equation, Polynomial};
use super::series::Series;
use super::solution::{Problem, Solution};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::{Pde, Wave, constant};
use crate::spectral::simd::{Complex, Lanes};
use crate::stepper::{Options, Scheme, Stepper};

/// A solution on a grid of times and points.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Times, from 0.
    pub times: Vec<f64>,
    /// Points; one that means nothing for ordinary differential equations, and those of both directions in the plane.
    pub x: Vec<f64>,
    /// Values `[time, x, field]`, in the plane `[time, x, y]`.
    pub values: Vec<f64>,
    /// Seconds of the solver.
    pub seconds: f64,
}

/// Where a reference is given: times in equal steps from 0 to `end`, and `points` points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Places {
    /// Last time.
    pub end: f64,
    /// Steps between times.
    pub steps: usize,
    /// Points.
    pub points: usize,
}

impl Reference {
    /// Solves a problem: by ETDRK4 on `n` points with step `dt` (rounded down to fit between the times); an ordinary
    /// differential equation by Taylor series of order 28 with step `dt`.
    ///
    /// # Errors
    ///
    /// Those of [`Problem`] and [`Stepper`]; [`Error::Parameter`] if the points are not among the solver's, or an equation
    /// of one field is not `u_t = L u + f(u) + g(u)_x`.
    pub fn solve(problem: &Problem, places: Places, n: usize, dt: f64) -> Result<Self> {
        let equation = problem.equation()?;
        if !(dt > 0.0 && dt.is_finite()) {
            return Err(Error::parameter("reference.dt", dt, "must be positive and finite"));
        }
        if equation.order() == 0 {
            return Self::taylor(&equation, problem, places, dt);
        }
        match FluxForm::<4>::degree(&equation)? {
            ..=2 => Self::march(FluxForm::<2>::new(&equation)?, problem, places, n, dt),
            3 => Self::march(FluxForm::<3>::new(&equation)?, problem, places, n, dt),
            _ => Self::march(FluxForm::<4>::new(&equation)?, problem, places, n, dt),
        }
    }

    fn march<P: Pde>(pde: P, problem: &Problem, places: Places, n: usize, dt: f64) -> Result<Self> {
        if !n.is_multiple_of(places.points) {
            let rule = format!("must be a multiple of the {} points of the comparison", places.points);
            return Err(Error::parameter("reference.points", n, rule));
        }
        let state = &problem.state()?[0];
        let grid = Grid::new(&[n], &[state.length])?;
        // Modes beyond the grid are left off.
        let kept = state.amplitudes.len().min(n / 2);
        let start = Series { amplitudes: state.amplitudes[..kept].to_vec(), ..state.clone() }.sample(n, 0)?;
        let interval = places.end / places.steps as f64;
        let steps = (interval / dt).ceil().max(1.0) as usize;
        let started = Instant::now();
        let mut stepper =
            Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, interval / steps as f64, &Options::default())?;
        let mut u = stepper.load(Array1::from(start).into_dyn().view())?;
        let (mut values, stride) = (Vec::new(), n / places.points);
        for time in 0..=places.steps {
            if time > 0 {
                stepper.advance(&mut u, steps)?;
            }
            values.extend(stepper.store(&u).iter().step_by(stride));
        }
        let seconds = started.elapsed().as_secs_f64();
        let x = (0..places.points).map(|j| state.origin + state.length * j as f64 / places.points as f64).collect();
        Ok(Self { times: places.times(), x, values, seconds })
    }

    /// Taylor series of the solution, `(k + 1) y_(k+1) = f_k` with the coefficients of products by Cauchy's rule.
    fn taylor(equation: &Polynomial, problem: &Problem, places: Places, dt: f64) -> Result<Self> {
        const ORDER: usize = 28;
        let mut y: Vec<f64> = problem.state()?.iter().map(|s| s.amplitudes[0].re).collect();
        let interval = places.end / places.steps as f64;
        let steps = (interval / dt).ceil().max(1.0) as usize;
        let h = interval / steps as f64;
        let (started, fields) = (Instant::now(), y.len());
        let mut values = y.clone();
        for _ in 0..places.steps * steps {
            let mut series = vec![vec![0.0; ORDER + 1]; fields];
            series.iter_mut().zip(&y).for_each(|(s, &y)| s[0] = y);
            for k in 0..ORDER {
                for term in equation.terms() {
                    let mut product = vec![0.0; k + 1];
                    product[0] = term.coefficient;
                    for &[field, _] in &term.factors {
                        let factor = &series[field];
                        product = (0..=k).map(|j| (0..=j).map(|i| product[i] * factor[j - i]).sum()).collect();
                    }
                    series[term.equation][k + 1] += product[k] / (k + 1) as f64;
                }
            }
            y.iter_mut().zip(&series).for_each(|(y, s)| *y = s.iter().rev().fold(0.0, |sum, c| sum * h + c));
            values.extend_from_slice(&y);
        }
        let kept = values.chunks_exact(fields).step_by(steps).flatten().copied().collect();
        Ok(Self { times: places.times(), x: vec![0.0], values: kept, seconds: started.elapsed().as_secs_f64() })
    }

    /// Relative L2 difference of values from these, over all times and points; and the same for each time.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn error(&self, values: &[f64]) -> (f64, Vec<f64>) {
        assert_eq!(values.len(), self.values.len(), "number of values");
        let row = self.values.len() / self.times.len();
        let sums = self.values.chunks_exact(row).zip(values.chunks_exact(row)).map(|(exact, values)| {
            let difference: f64 = exact.iter().zip(values).map(|(e, v)| (e - v) * (e - v)).sum();
            (difference, exact.iter().map(|e| e * e).sum::<f64>())
        });
        let sums: Vec<(f64, f64)> = sums.collect();
        let total = sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        ((total.0 / total.1).sqrt(), sums.iter().map(|s| (s.0 / s.1).sqrt()).collect())
    }

    /// Values `[time, x, field]` of a solution at the same places.
    ///
    /// # Errors
    ///
    /// As [`Solution::evaluate`].
    pub fn of(&self, solution: &Solution) -> Result<Vec<f64>> {
        let fields = self.values.len() / (self.times.len() * self.x.len());
        let points: Vec<[f64; 2]> = self.times.iter().flat_map(|&t| self.x.iter().map(move |&x| [x, t])).collect();
        let jets = solution.evaluate(&points)?;
        let jet = jets.len() / points.len();
        Ok(jets.chunks_exact(jet).flat_map(|u| u[..fields].to_vec()).collect())
    }
}

impl Places {
    pub(super) fn times(&self) -> Vec<f64> {
        (0..=self.steps).map(|i| self.end * i as f64 / self.steps as f64).collect()
    }
}

/// `u_t = L u + f(u) + g(u)_x` with polynomials `f` and `g` of degree up to `DEGREE`.
#[derive(Clone, Debug)]
struct FluxForm<const DEGREE: usize> {
    /// Factors of `d^k u / dx^k`, `k = 0..=4`.
    linear: [f64; 5],
    /// Coefficients of `u^j`, `j = 0..=4`.
    source: [f64; 5],
    flux: [f64; 5],
}

impl<const DEGREE: usize> FluxForm<DEGREE> {
    fn new(equation: &Polynomial) -> Result<Self> {
        let mut form = Self { linear: [0.0; 5], source: [0.0; 5], flux: [0.0; 5] };
        for term in equation.terms() {
            let orders: Vec<usize> = term.factors.iter().map(|f| f[1]).collect();
            let (degree, c) = (orders.len(), term.coefficient);
            let derivatives: Vec<usize> = orders.iter().copied().filter(|&k| k > 0).collect();
            match (degree, &derivatives[..]) {
                (1, _) => form.linear[orders[0]] += c,
                (..=4, []) => form.source[degree] += c,
                // u^m u_x = (u^(m+1))_x / (m + 1)
                (..=4, [1]) => form.flux[degree] += c / degree as f64,
                _ => {
                    let rule = "must be linear, u^m or u^m u_x (up to the fourth degree) for a reference";
                    return Err(Error::parameter("term", format!("{orders:?}"), rule));
                }
            }
        }
        match equation.fields() {
            1 => Ok(form),
            n => Err(Error::parameter("fields", n, "must be 1 for a reference of a partial differential equation")),
        }
    }

    fn degree(equation: &Polynomial) -> Result<usize> {
        let form = Self::new(equation)?;
        Ok((2..=4).rev().find(|&j| form.source[j] != 0.0 || form.flux[j] != 0.0).unwrap_or(1))
    }
}

/// `sum_j a_j u^j`.
#[inline(always)]
fn horner<V: Lanes>(a: &[f64; 5], u: V) -> V {
    a.iter().rev().fold(constant(0.0), |sum: V, &a| sum.madd(u, constant(a)))
}

/// Its derivative.
#[inline(always)]
fn slope<V: Lanes>(a: &[f64; 5], u: V) -> V {
    (1..5).rev().fold(constant(0.0), |sum: V, j| sum.madd(u, constant(j as f64 * a[j])))
}

impl<const DEGREE: usize> Pde for FluxForm<DEGREE> {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 2;
    const DEGREE: usize = DEGREE;

    fn id(&self) -> &'static str {
        "polynomial"
    }

    fn equation(&self) -> String {
        "u_t = L u + f(u) + g(u)_x".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, _grid: &Grid) -> Result<()> {
        Ok(())
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        let ik = Complex64::new(0.0, k[0]);
        self.linear.iter().rev().fold(Complex64::default(), |sum, c| sum * ik + c)
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        products[0] = horner(&self.source, fields[0]);
        products[1] = horner(&self.flux, fields[0]);
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        products[0] = slope(&self.source, fields[0]) * tangent[0];
        products[1] = slope(&self.flux, fields[0]) * tangent[0];
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        fields_bar[0] = slope(&self.source, fields[0]) * cotangent[0] + slope(&self.flux, fields[0]) * cotangent[1];
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = products[0] + products[1].scale_i(wave.k[0]);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        products[0] = tendency[0];
        products[1] = tendency[0].scale_i(wave.k[0] * constant(-1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinn::{Architecture, Initial, Interval, Lifting, Parity};

    fn problem(equation: &Polynomial, initial: Initial) -> Problem {
        let interval = (equation.order() > 0).then_some(Interval { from: -1.0, length: 2.0 });
        Problem {
            fields: equation.fields(),
            terms: equation.terms().to_vec(),
            interval,
            initial,
            lifting: Lifting::default(),
            parity: Parity::None,
            about: 0.0,
            network: Architecture::default(),
        }
    }

    #[test]
    fn burgers_agrees_with_the_closed_form() {
        let nu = 0.05;
        let places = Places { end: 0.5, steps: 2, points: 16 };
        let problem = problem(&Polynomial::burgers(nu), Initial::MinusSine {});
        let reference = Reference::solve(&problem, places, 256, 1e-3).unwrap();
        let p = std::f64::consts::PI;
        let burgers = crate::pde::Burgers { nu };
        let exact: Vec<f64> = reference
            .times
            .iter()
            .flat_map(|&t| reference.x.iter().map(move |&x| (x, t)))
            .map(|(x, t)| burgers.cole_hopf(2.0, |y| -(p * y).sin(), |y| (p * y).cos() / p, x, t))
            .collect();
        // Fourth order: (2e-3 of the first run to 1e-3) the error at half the step would be 16 times less.
        let (error, _) = reference.error(&exact);
        assert!(error < 1e-9, "{error}");
    }

    #[test]
    fn series_of_an_ordinary_equation_are_exact() {
        // y' = -y^2, y(0) = 1: y = 1 / (1 + t).
        let equation = Polynomial::new(1, vec![crate::pinn::Term::of(0, "", -1.0, &[[0, 0], [0, 0]])]).unwrap();
        let problem = problem(&equation, Initial::Point { values: vec![1.0] });
        let reference = Reference::solve(&problem, Places { end: 2.0, steps: 4, points: 1 }, 0, 0.1).unwrap();
        for (t, y) in reference.times.iter().zip(&reference.values) {
            // The series of 1 / (1 + t) has radius 1: 0.1^29, and a rounding for each of 20 steps.
            assert!((y - 1.0 / (1.0 + t)).abs() < 1e-14);
        }
    }

    #[test]
    fn terms_without_flux_form_are_refused_by_name() {
        let equation = Polynomial::new(1, vec![crate::pinn::Term::scalar("", 1.0, &[1, 1])]).unwrap();
        let places = Places { end: 1.0, steps: 1, points: 16 };
        let error = Reference::solve(&problem(&equation, Initial::Cosine {}), places, 32, 0.1).unwrap_err().to_string();
        assert!(error.starts_with("term = [1, 1] is not allowed: must be linear"), "{error}");
    }
}
