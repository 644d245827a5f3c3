use std::ops::Range;

use super::super::testing::{noise, transplant};
use super::super::vector;
use super::*;

/// A problem given by its residuals and Jacobian matrix.
struct Dense<F> {
    p: usize,
    m: usize,
    /// `(theta, i, row)`: the residual `i`, and its row.
    residual: F,
}

impl<F: Fn(&[f64], usize, &mut [f64]) -> f64> LeastSquares for Dense<F> {
    fn parameters(&self) -> usize {
        self.p
    }
    fn residuals(&self) -> usize {
        self.m
    }
    fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
        let mut row = vec![0.0; self.p];
        r.iter_mut().enumerate().for_each(|(i, r)| *r = (self.residual)(theta, i, &mut row));
    }
    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
        for ((i, r), row) in rows.zip(r).zip(jacobian.chunks_exact_mut(self.p)) {
            *r = (self.residual)(theta, i, row);
        }
    }
}

type Residual = fn(&[f64], usize, &mut [f64]) -> f64;

/// Rosenbrock's function in pairs of parameters.
fn rosenbrock(p: usize) -> Dense<Residual> {
    fn residual(theta: &[f64], i: usize, row: &mut [f64]) -> f64 {
        row.fill(0.0);
        let pair = i / 2 * 2;
        if i.is_multiple_of(2) {
            (row[pair], row[pair + 1]) = (-20.0 * theta[pair], 10.0);
            10.0 * (theta[pair + 1] - theta[pair] * theta[pair])
        } else {
            row[pair] = -1.0;
            1.0 - theta[pair]
        }
    }
    Dense { p, m: p, residual }
}

/// `a e^(-b x) + c e^(-d x)` on 40 points, with data of `(2, 1, 1, 5)`.
fn exponentials() -> Dense<Residual> {
    fn residual(theta: &[f64], i: usize, row: &mut [f64]) -> f64 {
        let x = i as f64 / 39.0;
        let model = |theta: &[f64]| theta[0] * (-theta[1] * x).exp() + theta[2] * (-theta[3] * x).exp();
        let (first, second) = ((-theta[1] * x).exp(), (-theta[3] * x).exp());
        row.copy_from_slice(&[first, -x * theta[0] * first, second, -x * theta[2] * second]);
        model(theta) - model(&[2.0, 1.0, 1.0, 5.0])
    }
    Dense { p: 4, m: 40, residual }
}

/// A network of `units` tanh units on `points`, three parameters each, with data of a sine.
fn network(units: usize, points: usize) -> Dense<impl Fn(&[f64], usize, &mut [f64]) -> f64> {
    let residual = move |theta: &[f64], i: usize, row: &mut [f64]| {
        let (x, weight) = (6.0 * i as f64 / (points - 1) as f64 - 3.0, (points as f64).powf(-0.5));
        let mut r = -weight * x.sin();
        for (theta, row) in theta.chunks(3).zip(row.chunks_mut(3)) {
            let u = (theta[0] * x + theta[1]).tanh();
            let slope = weight * theta[2] * (1.0 - u * u);
            row.copy_from_slice(&[slope * x, slope, weight * u]);
            r += weight * theta[2] * u;
        }
        r
    };
    Dense { p: 3 * units, m: points, residual }
}

const NIELSEN: GaussNewtonOptions = GaussNewtonOptions {
    damping: Damping::Nielsen,
    factorization: Factorization::Auto,
    scaling: Scaling::None,
    geodesic: false,
    first_damping: 1e-3,
    max_probes: 24,
    rows: 512,
};

/// Every kind of step.
fn kinds() -> Vec<GaussNewtonOptions> {
    let ratio = GaussNewtonOptions::default();
    let mut kinds = Vec::new();
    for base in [ratio, NIELSEN] {
        for factorization in [Factorization::Auto, Factorization::Normal, Factorization::Qr] {
            for scaling in [Scaling::None, Scaling::Columns] {
                for geodesic in [false, true] {
                    kinds.push(GaussNewtonOptions { factorization, scaling, geodesic, rows: 7, ..base });
                }
            }
        }
    }
    kinds
}

/// Steps until the loss is below a bound.
fn steps(
    options: GaussNewtonOptions,
    problem: &mut impl LeastSquares,
    theta: &mut [f64],
    bound: f64,
    most: usize,
) -> usize {
    let mut method = GaussNewton::new(problem.parameters(), problem.residuals(), options, 1).unwrap();
    for step in 1..=most {
        let report = method.step(problem, theta).unwrap();
        assert!(report.loss <= report.before, "{options:?}");
        if report.loss < bound {
            return step;
        }
    }
    panic!("no convergence in {most} steps: {options:?}, {theta:?}, {:?}", method.step(problem, theta));
}

#[test]
fn damping_stays_where_no_step_helps() {
    // The least of (theta - 1)^2 + (theta + 1)^2 is at 0.
    let mut problem = Dense {
        p: 1,
        m: 2,
        residual: |theta: &[f64], i: usize, row: &mut [f64]| {
            row[0] = 1.0;
            theta[0] + if i == 0 { -1.0 } else { 1.0 }
        },
    };
    let options = GaussNewtonOptions { damping: Damping::Nielsen, ..GaussNewtonOptions::default() };
    let (mut method, mut theta) = (GaussNewton::new(1, 2, options, 1).unwrap(), [0.0]);
    let first = method.step(&mut problem, &mut theta).unwrap();
    for _ in 0..20 {
        let report = method.step(&mut problem, &mut theta).unwrap();
        assert_eq!((report.accepted, report.loss, theta[0]), (false, 2.0, 0.0));
        assert_eq!(report.lambda, first.lambda);
    }
}

#[test]
fn rosenbrock_is_solved_by_every_kind_of_step() {
    for options in kinds() {
        let mut theta: Vec<f64> = [-1.2, 1.0].into_iter().cycle().take(6).collect();
        steps(options, &mut rosenbrock(6), &mut theta, 1e-24, 60);
        // The loss is at least (1 - x)^2.
        assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-10), "{theta:?}");
    }
}

#[test]
fn separable_problem_gives_its_known_parameters() {
    for options in kinds() {
        let mut theta = [1.0, 0.3, 1.0, 3.0];
        steps(options, &mut exponentials(), &mut theta, 1e-26, 200);
        for (theta, exact) in theta.into_iter().zip([2.0, 1.0, 1.0, 5.0]) {
            // Residuals of 1e-13 over the least singular value, 0.03.
            assert!((theta - exact).abs() < 1e-10, "{options:?}: {theta} {exact}");
        }
    }
}

/// `J theta - y` with random entries, `y = J ones + z`, `z` orthogonal to the columns (where there are more rows).
#[allow(clippy::type_complexity)]
fn linear(p: usize, m: usize) -> (Dense<impl Fn(&[f64], usize, &mut [f64]) -> f64>, Vec<f64>) {
    let matrix = noise(m * p, 5);
    let y: Vec<f64> = matrix.chunks(p).map(|row| row.iter().sum()).collect();
    let rows = matrix.clone();
    let residual = move |theta: &[f64], i: usize, row: &mut [f64]| {
        row.copy_from_slice(&rows[i * p..][..p]);
        row.iter().zip(theta).map(|(a, b)| a * b).sum::<f64>() - y[i]
    };
    (Dense { p, m, residual }, matrix)
}

#[test]
fn linear_problem_takes_one_step() {
    for options in kinds().into_iter().filter(|options| matches!(options.damping, Damping::Ratio { .. })) {
        let (mut problem, _) = linear(20, 50);
        let mut theta = vec![0.0; 20];
        steps(options, &mut problem, &mut theta, 1e-24, 1);
        // Residuals of 1e-12 over the least singular value, about one.
        assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-11), "{options:?}");
    }
}

#[test]
fn step_satisfies_the_normal_equations_and_promises_what_it_says() {
    for options in kinds().into_iter().filter(|options| !options.geodesic) {
        for (p, m) in [(12, 30), (12, 12), (30, 12)] {
            let (mut problem, matrix) = linear(p, m);
            let theta = noise(p, 9);
            let mut r = vec![0.0; m];
            problem.residual(&theta, &mut r);
            let mut linear = Linear::new(p, m, &options, 1).unwrap();
            let before = linear.linearise(&mut problem, &theta, 1).unwrap();
            let lambda = 0.3;
            let (radius, predicted) = linear.solve(lambda).unwrap();
            let d = linear.step().to_vec();
            let after: Vec<f64> = matrix
                .chunks(p)
                .zip(&r)
                .map(|(row, r)| r + row.iter().zip(&d).map(|(a, b)| a * b).sum::<f64>())
                .collect();
            let mut length = 0.0;
            for j in 0..p {
                let column = |r: &[f64]| (0..m).map(|i| matrix[i * p + j] * r[i]).sum::<f64>();
                let square: f64 = (0..m).map(|i| matrix[i * p + j].powi(2)).sum();
                let scale = if options.scaling == Scaling::Columns { square } else { 1.0 };
                length += scale * d[j] * d[j];
                // Thirty terms of size ten, and a condition of 100.
                assert!((column(&after) + lambda * scale * d[j]).abs() < 1e-12, "{options:?} {p} {m}");
            }
            assert!((length.sqrt() - radius).abs() < 1e-13 * radius);
            let reduction = before - vector::dot(&after, &after);
            // Both are differences of numbers of the size of the loss.
            assert!((predicted - reduction).abs() < 1e-13 * before, "{options:?}: {predicted} {reduction}");
        }
    }
}

#[test]
fn few_residuals_take_the_step_of_the_primal_form() {
    let (p, m) = (90, 40);
    for scaling in [Scaling::None, Scaling::Columns] {
        let after = |factorization| {
            let mut theta = noise(p, 3);
            let options = GaussNewtonOptions { scaling, factorization, ..NIELSEN };
            let mut method = GaussNewton::new(p, m, options, 1).unwrap();
            let report = method.step(&mut network(p / 3, m), &mut theta).unwrap();
            (report, theta)
        };
        let ((dual, a), (primal, b)) = (after(Factorization::Auto), after(Factorization::Qr));
        assert_eq!((dual.phase, primal.phase), (Phase::Dual, Phase::Qr));
        assert!((dual.radius / primal.radius - 1.0).abs() < 1e-9 && (dual.rho - primal.rho).abs() < 1e-9);
        // A damping of 1e-3 leaves a condition of 1e3, twice: 1e-16 1e6.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}

#[test]
fn singular_problem_is_regularised_and_says_so() {
    // Two parameters only enter by their sum, one not at all.
    let residual = |theta: &[f64], i: usize, row: &mut [f64]| {
        let x = 0.5 + i as f64;
        row.copy_from_slice(&[x, x, 1.0, 0.0]);
        (theta[0] + theta[1]) * x + theta[2] - 3.0 * x - 1.0
    };
    for options in kinds() {
        let mut theta = [0.0, 1.0, 0.0, 7.0];
        let mut problem = Dense { p: 4, m: 10, residual };
        let mut method = GaussNewton::new(4, 10, options, 1).unwrap();
        let reports: Vec<_> = (0..40).map(|_| method.step(&mut problem, &mut theta).unwrap()).collect();
        // Round-off of residuals of size 30.
        assert!(reports[39].loss < 1e-22, "{options:?}: {:?}", reports[39]);
        assert!((theta[0] + theta[1] - 3.0).abs() < 1e-10);
        // Along the null space a step is rounding over rounding: it may move, but not away.
        assert!((theta[0] - theta[1] + 1.0).abs() < 10.0, "{options:?}: {theta:?}");
        assert_eq!(theta[3], 7.0, "a parameter without influence does not move");
        let floor = matches!(options.damping, Damping::Ratio { .. }) && options.factorization == Factorization::Qr;
        assert!(!floor || reports.iter().any(|report| report.regularised), "{options:?}");
    }
}

#[test]
fn qr_goes_on_where_normal_equations_stall() {
    // Coefficients of a polynomial of degree 19 from its values: the condition of the matrix is 1e14.
    const P: usize = 20;
    let residual = |theta: &[f64], i: usize, row: &mut [f64]| {
        let x = i as f64 / 99.0;
        (0..P).for_each(|k| row[k] = x.powi(k as i32));
        row.iter().zip(theta).map(|(a, t)| a * (t - 1.0)).sum()
    };
    let error = |factorization| {
        let mut theta = [0.0; P];
        let options = GaussNewtonOptions { factorization, ..GaussNewtonOptions::default() };
        let mut problem = Dense { p: P, m: 100, residual };
        let mut method = GaussNewton::new(P, 100, options, 1).unwrap();
        for _ in 0..30 {
            method.step(&mut problem, &mut theta).unwrap();
        }
        (theta.iter().fold(0.0, |most: f64, x| most.max((x - 1.0).abs())), method.phase())
    };
    let ((normal, _), (qr, _), (auto, phase)) =
        (error(Factorization::Normal), error(Factorization::Qr), error(Factorization::Auto));
    // Measured 2e-5, 3e-10 and 3e-7. (The normal equations get there slowly, by refining their own errors.)
    assert!(normal > 5e-6 && qr < 1e-8 && auto < 2e-6 && phase == Phase::Qr, "{normal:e} {qr:e} {auto:e}");
}

#[test]
fn resumed_run_is_the_same_run_on_any_number_of_threads() {
    for options in kinds() {
        let (p, m) = (24, 60);
        let mut problem = network(p / 3, m);
        let run = |method: &mut GaussNewton, theta: &mut [f64], problem: &mut _, steps: usize| {
            (0..steps).map(|_| method.step(problem, theta).unwrap()).last().unwrap()
        };
        let new = |threads| GaussNewton::new(p, m, options, threads).unwrap();
        let (mut through, mut theta) = (new(1), noise(p, 1));
        let whole = run(&mut through, &mut theta, &mut problem, 20);
        let (mut first, mut cut) = (new(2), noise(p, 1));
        run(&mut first, &mut cut, &mut problem, 10);
        let mut second = new(3);
        transplant(&first, &mut second);
        let rest = run(&mut second, &mut cut, &mut problem, 10);
        assert_eq!((whole, theta, through.state()), (rest, cut, second.state()));
    }
}

#[test]
fn bad_sizes_and_values_are_refused_by_name() {
    let message = |p, m, options| GaussNewton::new(p, m, options, 1).err().unwrap().to_string();
    assert_eq!(message(0, 1, NIELSEN), "parameters = 0 is not allowed: must be >= 1");
    let options = GaussNewtonOptions { rows: 0, ..NIELSEN };
    assert_eq!(message(1, 1, options), "rows = 0 is not allowed: must be >= 1");
    let damping = Damping::Ratio { target: 1.5, late_target: 0.5 };
    assert_eq!(
        message(1, 1, GaussNewtonOptions { damping, ..NIELSEN }),
        "target = 1.5 is not allowed: must be in (0, 1)"
    );

    let mut method = GaussNewton::new(2, 2, NIELSEN, 1).unwrap();
    let wrong = method.step(&mut rosenbrock(4), &mut [1.0; 2]).unwrap_err().to_string();
    assert_eq!(wrong, "parameters of the problem: expected shape [2], got [4]");
    let spoilt = method.step(&mut rosenbrock(2), &mut [f64::NAN, 1.0]).unwrap_err().to_string();
    assert!(spoilt.contains("the sum of squared residuals is NaN at step 1"), "{spoilt}");
}

#[test]
fn trial_that_is_not_finite_only_shortens_the_step() {
    // The logarithm of a negative number on the far side of the minimum at 1e-3.
    let residual = |theta: &[f64], _: usize, row: &mut [f64]| {
        row[0] = 1.0 / theta[0];
        theta[0].ln() - 1e-3f64.ln()
    };
    for options in kinds() {
        let mut theta = [2.0];
        steps(options, &mut Dense { p: 1, m: 1, residual }, &mut theta, 1e-24, 100);
        assert!((theta[0] - 1e-3).abs() < 1e-14);
    }
}
