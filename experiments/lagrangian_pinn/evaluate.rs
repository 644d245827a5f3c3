//! `lagrangian_pinn evaluate`: the table, the fields, the report.

use std::time::Instant;

use ndarray::ArrayView2;
use parseval::plot::{Axis, Curve, Figure, HeatMap, LinePlot, Quantity};
use parseval::run::checkpoint::Checkpoint;
use parseval::run::report::Report;
use parseval::run::seeds::{Ensemble, Statistics};
use parseval::run::table::{Cell, Table};
use parseval::run::training::Train;
use parseval::run::{Printer, RunDirectory, metrics};
use parseval::{Error, Result};
use serde_json::json;

use crate::Experiment;
use crate::config::{Form, MAY_CHANGE};
use crate::problem::Truth;
use crate::train::Training;

/// Folder and latest checkpoint of every trained seed of a form; none if it was not trained.
pub fn trained(experiment: &Experiment, form: Form) -> Result<Vec<(u64, RunDirectory, Checkpoint)>> {
    let (folder, resolved) = (experiment.folder(form), experiment.resolved(form)?);
    Ensemble::trained(&folder, &resolved, MAY_CHANGE, (&experiment.config.name, 1), false)
}

/// A training as it was left.
pub fn restored(experiment: &Experiment, form: Form, seed: u64, checkpoint: &Checkpoint) -> Result<Training> {
    let mut training = Training::new(&experiment.config, form, seed, experiment.threads)?;
    training.restore(checkpoint)?;
    Ok(training)
}

/// What a trained seed achieved.
struct Row {
    error: f64,
    train_seconds: f64,
    solve_seconds: f64,
    least_jacobian: f64,
}

pub fn evaluate(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, out, .. } = experiment;
    let truth = Truth::new(config)?;
    let columns = ["method", "relative L2", "seconds to train", "seconds to evaluate", "least J"];
    let mut table = Table::new(config.name.clone(), &columns);
    let mut report = Report::new(format!("{}: networks in moving coordinates", config.name));
    let mut over_time = LinePlot::new(Axis::new("t"), Axis::new("relative L2 error").log());
    let (mut figures, mut results) = (Vec::new(), Vec::new());
    for &form in &config.methods {
        let (mut rows, mut parameters) = (Vec::new(), 0);
        for (seed, run, checkpoint) in trained(experiment, form)? {
            let training = restored(experiment, form, seed, &checkpoint)?;
            let march = training.march();
            if !march.is_done() {
                print.note(format_args!("{}, seed {seed}: not finished; go on with train --resume", form.name()));
                continue;
            }
            parameters = march.parameters();
            let start = Instant::now();
            let (error, each, values) = truth.measure(march.solution(), print);
            let solve_seconds = start.elapsed().as_secs_f64();
            let records = metrics::read(&run.metrics())?;
            let train_seconds = records.iter().map(|r| r.seconds).fold(0.0, f64::max);
            let least = march.solution().pieces.iter().map(|piece| piece.least_jacobian(64));
            let least_jacobian = least.fold(f64::INFINITY, f64::min);
            if rows.is_empty() {
                over_time = over_time.curve(Curve::new(&truth.reference.times[1..], &each[1..], form.name()));
                figures.push((form, fields(&truth, &values, config)?, records, run));
            }
            results.push(json!({"form": form.name(), "seed": seed, "error": error, "train_seconds": train_seconds}));
            rows.push(Row { error, train_seconds, solve_seconds, least_jacobian });
        }
        if rows.is_empty() {
            continue;
        }
        let column = |value: fn(&Row) -> f64| Statistics::of(&rows.iter().map(value).collect::<Vec<_>>()).cell();
        let name = format!("{} ({} seeds, {parameters} parameters)", form.name(), rows.len());
        table.row([
            Cell::Text(name),
            column(|r| r.error),
            column(|r| r.train_seconds),
            column(|r| r.solve_seconds),
            column(|r| r.least_jacobian),
        ])?;
    }
    if results.is_empty() {
        let rule = "must hold trained networks: run `lagrangian_pinn train` first";
        return Err(Error::parameter("--out", out.display(), rule));
    }
    for &(n, dt) in &config.evaluate.solvers {
        let (error, seconds) = truth.solver(n, dt)?;
        let name = format!("ETDRK4, {n} points, dt = {dt}");
        table.row([name.into(), error.into(), Cell::Empty, seconds.into(), Cell::Empty])?;
    }
    let results = json!({"table": table.json(), "seeds": results});
    let path = out.join("evaluation.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;
    report.table(&table);
    let over_time = Figure::single_column().row([over_time]);
    over_time.save(out.join("error.png"))?;
    report.figure(&over_time, "Relative L2 error at each time, first seed.")?;
    for (form, figure, records, run) in figures {
        report.heading(form.name());
        figure.save(out.join(format!("{}.png", form.name())))?;
        report.figure(&figure, "Truth, solution, difference; x to the right, time upwards.")?;
        report.curves(&records)?;
        report.provenance(&run)?;
    }
    report.save(&out.join("report.html"))?;
    match experiment.json {
        true => print.line(results),
        false => {
            print.line(table.text())?;
            print.line(out.join("report.html").display())
        }
    }
}

/// Space-time diagrams of truth, solution and difference.
fn fields(truth: &Truth, values: &[f64], config: &crate::config::Config) -> Result<Figure> {
    let (times, points) = (truth.reference.times.len(), truth.reference.x.len());
    let length = truth.reference.x[1] * points as f64;
    let end = config.march.ends.last().copied().unwrap_or(1.0);
    let is_positive = truth.reference.values.iter().all(|&u| u > 0.0);
    let quantity = if is_positive { Quantity::Positive } else { Quantity::Signed };
    let map = |values: &[f64]| {
        let values = ArrayView2::from_shape((times, points), values).expect("a value for each time and point");
        HeatMap::space_time(values, length, [0.0, end], quantity).label("u")
    };
    Figure::triptych(map(&truth.reference.values), map(values))
}
