//! `lagrangian_pinn landscape`: the loss around trained parameters.

use ndarray::Array2;
use parseval::optim::LeastSquares;
use parseval::plot::{Axis, Figure, HeatMap, Nodes, Quantity};
use parseval::run::Printer;
use parseval::run::report::Report;
use parseval::{Error, Result};

use crate::Experiment;
use crate::config::Form;
use crate::evaluate::{restored, trained};

/// Rounds of the power iteration; the two leading eigenvalues are far from each other and from the rest.
const ROUNDS: usize = 100;

/// Draws `log10 |r|^2` in the plane through the trained parameters that is spanned by the two leading eigenvectors of
/// `J^T J`, the Hessian at a small residual: Krishnapriyan et al., *NeurIPS* 2021, section 3.
pub fn landscape(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, out, .. } = experiment;
    let mut panels = Vec::new();
    for &form in &config.methods {
        let Some((seed, _, checkpoint)) = trained(experiment, form)?.into_iter().next() else { continue };
        let training = restored(experiment, form, seed, &checkpoint)?;
        let Some((mut problem, theta)) = training.march().landscape() else { continue };
        panels.push(panel(experiment, form, &mut problem, &theta));
        print.note(format_args!("{}: done", form.name()));
    }
    if panels.is_empty() {
        let rule = "must hold trained networks: run `lagrangian_pinn train` first";
        return Err(Error::parameter("--out", out.display(), rule));
    }
    let mut figure = Figure::double_column();
    while !panels.is_empty() {
        figure = figure.row(panels.drain(..panels.len().min(3)).collect::<Vec<_>>());
    }
    let path = out.join("landscape.png");
    figure.save(&path)?;
    let mut report = Report::new(format!("{}: landscapes of the loss", config.name));
    let caption = "Loss around the trained parameters, in the plane of the two stiffest directions; steps are in units \
                   of the length of the parameters.";
    report.figure(&figure, caption)?;
    report.save(&out.join("landscape.html"))?;
    print.line(path.display())
}

fn panel(experiment: &Experiment, form: Form, problem: &mut impl LeastSquares, theta: &[f64]) -> HeatMap {
    let landscape = experiment.config.landscape;
    let [first, second] = stiffest(problem, theta);
    let length = theta.iter().map(|t| t * t).sum::<f64>().sqrt();
    let (n, mut r) = (landscape.points, vec![0.0; problem.residuals()]);
    let step = |i: usize| landscape.reach * length * (2.0 * i as f64 / (n - 1).max(1) as f64 - 1.0);
    let values = Array2::from_shape_fn((n, n), |(i, j)| {
        let at: Vec<f64> = (0..theta.len()).map(|k| theta[k] + step(i) * first[k] + step(j) * second[k]).collect();
        problem.residual(&at, &mut r);
        r.iter().map(|r| r * r).sum::<f64>().log10()
    });
    // The minimum itself, of a few cells, would take all colours.
    let mut sorted: Vec<f64> = values.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[sorted.len() / 50], sorted[sorted.len() - 1]);
    let axis = |label: &str| Axis::new(label).limits(-landscape.reach, landscape.reach);
    HeatMap {
        x: axis("step along the first"),
        y: axis("step along the second"),
        nodes: [Nodes::EndsIncluded; 2],
        aspect: Some(1.0),
        ..HeatMap::new(values.view(), Quantity::Positive).title(form.name()).label("log₁₀ loss").limits(low, high)
    }
}

/// The two leading right singular vectors of the Jacobian matrix.
fn stiffest(problem: &mut impl LeastSquares, theta: &[f64]) -> [Vec<f64>; 2] {
    let (p, m) = (problem.parameters(), problem.residuals());
    let (mut r, mut rows) = (vec![0.0; m], vec![0.0; m * p]);
    problem.rows(theta, 0..m, &mut r, &mut rows);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut found: Vec<Vec<f64>> = Vec::new();
    for start in 0..2 {
        let mut v: Vec<f64> = (0..p).map(|i| (1.7 * (i + start) as f64).sin()).collect();
        for _ in 0..ROUNDS {
            let mut next = vec![0.0; p];
            for row in rows.chunks_exact(p) {
                let along = dot(row, &v);
                next.iter_mut().zip(row).for_each(|(n, j)| *n += along * j);
            }
            for known in &found {
                let along = dot(known, &next);
                next.iter_mut().zip(known).for_each(|(n, k)| *n -= along * k);
            }
            let size = dot(&next, &next).sqrt().max(f64::MIN_POSITIVE);
            v = next.into_iter().map(|n| n / size).collect();
        }
        found.push(v);
    }
    let second = found.pop().unwrap_or_default();
    [found.pop().unwrap_or_default(), second]
}
