//! A linear system of one's own in four ways: `cargo run --release --example own_operator`.
//! `(1 - h^2 lap + c) x = b` on a ring of n points, given as a closure; then the same solvers on a grid with obstacles.
use parseval::linsolve::{
    FnOperator, Guard, Guarded, Identity, Jacobi, Krylov, Method, Options, Scene, Solver, source,
};

struct Residual;
impl parseval::linsolve::Direction for Residual {
    fn name(&self) -> &'static str {
        "what a network would return"
    }
    fn direction(&mut self, r: &[f64], q: &mut [f64]) {
        q.copy_from_slice(r);
    }
}

fn main() -> parseval::Result<()> {
    let n = 1000;
    let c = |k: usize| 1e-3 + (k % 10) as f64;
    let ring = move |x: &[f64], y: &mut [f64]| {
        (0..n).for_each(|k| y[k] = (2.0 + c(k)) * x[k] - x[(k + 1) % n] - x[(k + n - 1) % n]);
    };
    let operator = || FnOperator::new(n, ring).with_diagonal((0..n).map(|k| 2.0 + c(k)).collect());
    let (b, options) = (vec![1.0; n], Options::default());
    let jacobi = Jacobi::new(&operator()?)?;
    let blocks: Vec<u32> = (0..n as u32).map(|k| k / 100).collect();
    let mut solvers: Vec<(&str, Box<dyn Solver>)> = vec![
        ("conjugate gradients", Box::new(Krylov::cg(operator()?, &options)?)),
        ("with the diagonal", Box::new(Krylov::new(operator()?, jacobi, &options)?)),
        ("with ten blocks deflated", Box::new(Krylov::deflated(operator()?, Identity, &blocks, 10, &options)?)),
        ("guarded directions", Box::new(Guarded::new(operator()?, Identity, Residual, &Guard::default(), &options)?)),
        ("a grid, multigrid", Box::new(Scene::Sphere.problem(&[10, 10, 10])?.plan(Method::Multigrid, &options)?)),
    ];
    for (name, solver) in &mut solvers {
        let mut x = vec![0.0; n]; // the initial guess
        let rhs = if name.contains("grid") { source(&[10, 10, 10]) } else { b.clone() };
        let report = solver.solve(&rhs, &mut x)?;
        println!(
            "{name:<25} {:?}: {} iterations, residual {:.1e}",
            report.stop, report.iterations, report.relative_residual
        );
    }
    Ok(())
}
