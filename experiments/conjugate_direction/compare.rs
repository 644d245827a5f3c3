//! `conjugate_direction compare`: one table and one set of figures for all solvers, scenes and sizes.

use std::time::Instant;

use parseval::linsolve::{Options, Report, Scene, Stop};
use parseval::plot::{Axis, CATEGORICAL, Curve, Figure, Legend, LinePlot, Stroke};
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, Progress, report};
use parseval::{Error, Result};
use serde_json::json;

use crate::Experiment;
use crate::models::{Models, SOLVERS};
use crate::solve::Case;

/// A solver on a case.
struct Row {
    scene: String,
    shape: Vec<usize>,
    solver: &'static str,
    unknowns: usize,
    setup_seconds: f64,
    /// Of the fastest solve.
    report: Report,
}

impl Row {
    /// Seconds for each order of magnitude that the residual fell.
    fn pace(&self) -> f64 {
        let orders = -self.report.relative_residual.log10();
        if orders > 0.0 { self.report.solve_seconds / orders } else { f64::INFINITY }
    }

    fn reached(&self, relative: f64) -> Cell {
        match self.report.iterations_to(relative) {
            // The direct method meets every tolerance in one go.
            Some(k) => Cell::Number(k as f64),
            None => Cell::Empty,
        }
    }

    fn json(&self) -> serde_json::Value {
        let r = &self.report;
        let to = |relative: f64| r.iterations_to(relative);
        json!({
            "scene": self.scene, "shape": self.shape, "solver": self.solver, "unknowns": self.unknowns,
            "stop": format!("{:?}", r.stop), "iterations": [to(1e-4), to(1e-6), to(1e-8)],
            "setup_seconds": self.setup_seconds, "solve_seconds": r.solve_seconds, "seconds_per_order": self.pace(),
            "relative_residual": r.relative_residual, "bytes": r.bytes, "history": r.history,
            "directions": [r.directions.accepted, r.directions.rejected, r.directions.unusable],
        })
    }
}

pub fn compare(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = experiment;
    let compare = &config.compare;
    let solvers = chosen(&compare.solvers)?;
    let models = Models::load(experiment)?;
    let options = Options { relative: compare.tolerance, threads: *threads, ..Options::default() };
    let cases = cases(experiment)?;
    let progress = Progress::new((cases.len() * solvers.len()) as u64, "solves", *quiet);
    let mut rows = Vec::new();
    for make in &cases {
        let case = make()?;
        for solver in &solvers {
            rows.extend(measure(&models, &case, solver, &options, compare.repeat)?);
            progress.advance(1);
        }
    }
    progress.finish();

    let title = format!("{}: to {:e} of |b| from zero, {threads} threads", config.name, compare.tolerance);
    let columns = [
        "scene",
        "cells",
        "solver",
        "to 1e-4",
        "to 1e-6",
        "to 1e-8",
        "set-up s",
        "solve s",
        "s an order",
        "residual",
        "MB",
        "stop",
    ];
    let mut table = Table::new(title, &columns);
    for row in &rows {
        let shape: Vec<String> = row.shape.iter().map(usize::to_string).collect();
        table.row([
            row.scene.as_str().into(),
            shape.join("x").into(),
            row.solver.into(),
            row.reached(1e-4),
            row.reached(1e-6),
            row.reached(1e-8),
            row.setup_seconds.into(),
            row.report.solve_seconds.into(),
            row.pace().into(),
            row.report.relative_residual.into(),
            (row.report.bytes as f64 / 1e6).into(),
            match row.report.stop {
                Stop::Converged => "".into(),
                stop => format!("{stop:?}").into(),
            },
        ])?;
    }
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let results = json!({"table": table.json(), "rows": rows.iter().map(Row::json).collect::<Vec<_>>()});
    let path = out.join("compare.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;

    let mut page = report::Report::new(format!("{}: solvers of Poisson systems", config.name));
    page.text(
        "All solvers in one program, one after the other, with one stopping rule: the true residual relative to the norm of the \
         right-hand side, from a zero start. Set-up is everything before the first iteration.",
    );
    page.table(&table);
    for (number, group) in rows.chunk_by(|a, b| a.scene == b.scene && a.shape == b.shape).enumerate() {
        let figure = histories(group);
        let name = format!("{}, {:?} cells, {} unknowns", group[0].scene, group[0].shape, group[0].unknowns);
        figure.save(out.join(format!("history-{number}.png")))?;
        page.figure(&figure, &format!("Residuals over iterations and over seconds: {name}."))?;
    }
    page.save(&out.join("report.html"))?;
    match json {
        true => print.line(results),
        false => {
            print.line(table.text())?;
            print.line(out.join("report.html").display())
        }
    }
}

/// The solvers of the configuration, all if it names none.
fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    let find = |name: &String| {
        SOLVERS
            .into_iter()
            .find(|s| s == name)
            .ok_or_else(|| Error::parameter("compare.solvers", name, format!("must be one of {}", SOLVERS.join("; "))))
    };
    if names.is_empty() { Ok(SOLVERS.to_vec()) } else { names.iter().map(find).collect() }
}

/// Makes one system.
type Make<'a> = Box<dyn Fn() -> Result<Case> + 'a>;

/// The systems of the configuration, to be made one after the other.
fn cases(experiment: &Experiment) -> Result<Vec<Make<'_>>> {
    let compare = &experiment.config.compare;
    let names: Vec<String> = match compare.scenes.is_empty() && compare.flags.is_empty() {
        true => Scene::ALL.iter().map(|s| s.name().to_owned()).collect(),
        false => compare.scenes.clone(),
    };
    // A misprint is told before anything is measured.
    names.iter().try_for_each(|name| Case::of_scene(name, 4).map(drop))?;
    let mut cases: Vec<Make> = Vec::new();
    for &size in &compare.sizes {
        for name in names.clone() {
            cases.push(Box::new(move || Case::of_scene(&name, size)));
        }
        for number in 0..compare.held_out {
            cases.push(Box::new(move || Case::held_out(number, size)));
        }
    }
    for path in &compare.flags {
        cases.push(Box::new(move || Case::of_flags(path, compare)));
    }
    Ok(cases)
}

fn measure(
    models: &Models,
    case: &Case,
    solver: &'static str,
    options: &Options,
    repeat: usize,
) -> Result<Option<Row>> {
    let start = Instant::now();
    let Some(mut planned) = models.plan(solver, &case.problem, options)? else { return Ok(None) };
    let setup_seconds = start.elapsed().as_secs_f64();
    let mut best: Option<Report> = None;
    for _ in 0..repeat {
        let mut x = vec![0.0; case.b.len()];
        let report = planned.solve(&case.b, &mut x)?;
        if best.as_ref().is_none_or(|b| report.solve_seconds < b.solve_seconds) {
            best = Some(report.clone());
        }
        // A slow solve is not worth repeating.
        if best.as_ref().is_some_and(|b| b.solve_seconds > 5.0) {
            break;
        }
    }
    let (problem, scene) = (&case.problem, case.scene.clone());
    let row = |report| Row {
        scene,
        shape: problem.shape().to_vec(),
        solver,
        unknowns: problem.unknowns(),
        setup_seconds,
        report,
    };
    Ok(best.map(row))
}

/// Residuals of the rows of one case, over iterations and over seconds.
fn histories(rows: &[Row]) -> Figure {
    let residual = || Axis::new("relative residual").log();
    let mut by_iteration = LinePlot::new(Axis::new("iteration").log(), residual()).legend(Legend::Hidden);
    let mut by_second = LinePlot::new(Axis::new("seconds").log(), residual()).legend(Legend::Outside);
    for row in rows {
        let history = &row.report.history;
        let steps = row.report.iterations.max(1) as f64;
        // A logarithmic axis has no zero: the start stands at half an iteration.
        let at: Vec<f64> = (0..history.len()).map(|k| (k as f64).max(0.5)).collect();
        let seconds: Vec<f64> = at.iter().map(|k| k / steps * row.report.solve_seconds).collect();
        by_iteration = by_iteration.curve(styled(Curve::new(&at, history, row.solver), row.solver));
        by_second = by_second.curve(styled(Curve::new(&seconds, history, row.solver), row.solver));
    }
    Figure { aspect: 0.8, ..Figure::double_column() }.row([by_iteration, by_second])
}

/// A colour and a stroke of its own for each solver.
pub fn styled(curve: Curve, solver: &str) -> Curve {
    let number = SOLVERS.iter().position(|s| *s == solver).unwrap_or(0);
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    curve.colour(CATEGORICAL[number % CATEGORICAL.len()]).stroke(strokes[number / CATEGORICAL.len() % strokes.len()])
}
