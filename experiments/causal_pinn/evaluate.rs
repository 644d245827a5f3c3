//! `causal_pinn evaluate`: the table, the figures, and values at points.

use std::time::Instant;

use ndarray::ArrayView2;
use parseval::pinn::plane::{self, Local};
use parseval::pinn::{Equation, NOTICE, Places, Reference, Solution};
use parseval::plot::{Axis, Curve, Figure, HeatMap, LinePlot, Quantity};
use parseval::run::report::Report;
use parseval::run::seeds::Statistics;
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, metrics};
use parseval::{Error, Result};
use serde_json::json;

use crate::config::Config;
use crate::train::{Solved, end, load};
use crate::{Experiment, Method};

/// The classical solution, and the one with twice the step and half the points, which tells its error.
pub fn references(config: &Config) -> Result<(Reference, Reference)> {
    let reference = &config.reference;
    let points = if config.interval.is_some() { reference.compare } else { 1 };
    let places = Places { end: end(config), steps: reference.times, points };
    let (n, dt) = (reference.points, reference.dt);
    if let Some(flow) = config.flow()? {
        let solve = |n, dt| plane::reference(&flow, places, n, dt);
        return Ok((solve(n, dt)?, solve(n / 2, 2.0 * dt)?));
    }
    let problem = config.problem()?;
    let solve = |n, dt| Reference::solve(&problem, places, n, dt);
    Ok((solve(n, dt)?, solve(n / 2, 2.0 * dt)?))
}

/// What a trained seed achieved.
struct Row {
    seed: u64,
    error: f64,
    last: f64,
    held_out: f64,
    train_seconds: f64,
    processor_seconds: f64,
    evaluate_seconds: f64,
    coefficients: Vec<(String, f64)>,
}

pub fn evaluate(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, method, out, threads, .. } = experiment;
    let (reference, coarse) = references(config)?;
    let mut rows = Vec::new();
    let mut example = None;
    let numbers = std::fs::read_to_string(out.join("seeds.json")).unwrap_or_default();
    let numbers: serde_json::Value = serde_json::from_str(&numbers).unwrap_or_default();
    for (seed, run) in experiment.trained()? {
        let Ok(solution) = load(config, run.path(), *threads) else {
            print.note(format_args!("seed {seed}: is not finished"));
            continue;
        };
        let started = Instant::now();
        let values = solution.at(&reference)?;
        let evaluate_seconds = started.elapsed().as_secs_f64();
        let (error, of_times) = reference.error(&values);
        let records = metrics::read(&run.metrics())?;
        let last =
            |name: &str| metrics::last_values(&records).into_iter().find(|(n, _)| n == name).map_or(f64::NAN, |v| v.1);
        let stored = numbers["runs"].as_array().and_then(|runs| runs.iter().find(|run| run["seed"] == seed));
        let unknown = config.inverse.iter().flat_map(|inverse| &inverse.unknown);
        let names = unknown.flat_map(|name| [name.clone(), format!("{name}, standard deviation")]);
        let coefficients = names.filter_map(|name| Some((name.clone(), stored?[name.as_str()].as_f64()?))).collect();
        rows.push(Row {
            seed,
            error,
            last: of_times.last().copied().unwrap_or(f64::NAN),
            held_out: last("train/held-out residual"),
            train_seconds: records.iter().map(|r| r.seconds).fold(0.0, f64::max),
            processor_seconds: last("train/processor seconds"),
            evaluate_seconds,
            coefficients,
        });
        example.get_or_insert((solution, values));
    }
    let Some((solution, values)) = example else {
        return Err(Error::parameter("--out", out.display(), "must hold a finished run"));
    };
    let (estimate, _) = reference.error(&coarse.values);
    let table = table(experiment, &rows, &reference, &coarse, &solution)?;
    let per_seed: Vec<_> = rows
        .iter()
        .map(|r| {
            json!({
                "seed": r.seed,
                "relative_l2": r.error,
                "relative_l2_at_the_end": r.last,
                "held_out_residual": r.held_out,
                "train_seconds": r.train_seconds,
                "processor_seconds": r.processor_seconds,
                "evaluate_seconds": r.evaluate_seconds,
                "coefficients": r.coefficients.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            })
        })
        .collect();
    let results = json!({"table": table.json(), "seeds": per_seed, "reference_error": estimate});
    let path = out.join("evaluation.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;
    let mut report = Report::new(format!("{}: a physics-informed network beside the classical solver", config.name));
    if *method == Method::Causal {
        report.text(NOTICE);
    }
    report.table(&table);
    let coefficients = coefficients(config, &rows)?;
    coefficients.iter().for_each(|table| report.table(table));
    report.text(&format!(
        "The reference agrees with the run of half the points and twice the step to {estimate:.1e} (relative L2 over all times)."
    ));
    match &solution {
        Solved::Line(_, solution) => figures(&mut report, config, &reference, solution, &values)?,
        Solved::Plane(flow, _) => plane_figures(&mut report, flow.length, &reference, &values)?,
    }
    for (index, (seed, run)) in experiment.trained()?.into_iter().enumerate() {
        report.heading(&format!("Training of seed {seed}"));
        report.curves(&metrics::read(&run.metrics())?)?;
        if index == 0 {
            report.provenance(&run)?;
        }
    }
    report.save(&out.join("report.html"))?;
    match experiment.json {
        true => print.line(results),
        false => {
            print.line(table.text())?;
            coefficients.iter().try_for_each(|table| print.line(table.text()))?;
            print.line(format_args!("{}", out.join("report.html").display()))
        }
    }
}

fn table(
    experiment: &Experiment,
    rows: &[Row],
    reference: &Reference,
    coarse: &Reference,
    solution: &Solved,
) -> Result<Table> {
    let Experiment { config, method, .. } = experiment;
    let columns = [
        "method",
        "relative L2",
        "relative L2 at the end",
        "held-out residual",
        "seconds to train",
        "processor seconds",
        "seconds to solve or evaluate",
    ];
    let mut table = Table::new(format!("{}: errors up to t = {}", config.name, end(config)), &columns);
    let column = |value: fn(&Row) -> f64| Statistics::of(&rows.iter().map(value).collect::<Vec<_>>()).cell();
    let name = match method {
        Method::Default => "Gauss-Newton",
        Method::Causal => "causal weights, Adam",
    };
    let ([windows, parameters], seeds) = (solution.size(), rows.len());
    table.row([
        Cell::Text(format!("{name}, {windows} x {parameters} parameters, {seeds} seeds")),
        column(|r| r.error),
        column(|r| r.last),
        column(|r| r.held_out),
        column(|r| r.train_seconds),
        column(|r| r.processor_seconds),
        column(|r| r.evaluate_seconds),
    ])?;
    let is_plane = config.flow()?.is_some();
    let solver = |points: usize, dt: f64| match config.interval {
        Some(_) if is_plane => format!("ETDRK4, {points} x {points} points, dt = {dt}"),
        Some(_) => format!("ETDRK4, {points} points, dt = {dt}"),
        None => format!("Taylor series of order 28, dt = {dt}"),
    };
    let (error, of_times) = reference.error(&coarse.values);
    let (points, dt) = (config.reference.points, config.reference.dt);
    table.row([
        solver(points / 2, 2.0 * dt).into(),
        error.into(),
        of_times.last().copied().unwrap_or(f64::NAN).into(),
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        coarse.seconds.into(),
    ])?;
    let text = Cell::Text("reference".into());
    table.row([
        solver(points, dt).into(),
        text,
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        reference.seconds.into(),
    ])?;
    if let Some(published) = config.reference.published {
        let name = Cell::Text(format!("published: {}", config.reference.source));
        table.row([name, published.into(), Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty])?;
    }
    Ok(table)
}

/// Coefficients of an inverse problem.
fn coefficients(config: &Config, rows: &[Row]) -> Result<Option<Table>> {
    let Some(inverse) = &config.inverse else { return Ok(None) };
    let equation = config.problem()?.equation()?;
    let title = format!("{} samples, noise {}", inverse.samples, inverse.noise);
    let columns =
        ["coefficient", "true", "first guess", "found", "relative error", "standard deviation (Gauss-Newton)"];
    let mut table = Table::new(title, &columns);
    for (name, guess) in inverse.unknown.iter().zip(&inverse.guess) {
        let exact = equation.coefficients()[equation.coefficient(name)?];
        let of = |name: &str| -> Vec<f64> {
            rows.iter().filter_map(|r| r.coefficients.iter().find(|c| c.0 == name).map(|c| c.1)).collect()
        };
        let found = of(name);
        let errors: Vec<f64> = found.iter().map(|v| (v / exact - 1.0).abs()).collect();
        table.row([
            name.as_str().into(),
            exact.into(),
            (*guess).into(),
            Statistics::of(&found).cell(),
            Statistics::of(&errors).cell(),
            Statistics::of(&of(&format!("{name}, standard deviation"))).cell(),
        ])?;
    }
    Ok(Some(table))
}

fn figures(
    report: &mut Report,
    config: &Config,
    reference: &Reference,
    solution: &Solution,
    values: &[f64],
) -> Result<()> {
    let (nt, nx, t) = (reference.times.len(), reference.x.len(), &reference.times);
    let fields = values.len() / (nt * nx);
    if nx == 1 {
        let mut plot = LinePlot::new(Axis::new("t"), Axis::new("fields"));
        let mut errors = LinePlot::new(Axis::new("t"), Axis::new("|error|").log());
        for field in 0..fields {
            let of = |values: &[f64]| -> Vec<f64> { values.iter().skip(field).step_by(fields).copied().collect() };
            let (u, exact) = (of(values), of(&reference.values));
            let difference: Vec<f64> = u.iter().zip(&exact).map(|(u, e)| (u - e).abs().max(1e-17)).collect();
            plot = plot.curve(Curve::new(t, &u, format!("field {field}")));
            errors = errors.curve(Curve::new(&t[1..], &difference[1..], format!("field {field}")));
        }
        report.figure(&Figure::double_column().row([plot]), "Solution.")?;
        return report.figure(&Figure::double_column().row([errors]), "Error.");
    }
    let points: Vec<[f64; 2]> = t.iter().flat_map(|&t| reference.x.iter().map(move |&x| [x, t])).collect();
    let jets = solution.evaluate(&points)?;
    let equation = config.problem()?.equation()?;
    let (jet, c) = (jets.len() / points.len(), equation.coefficients());
    let mut f = vec![0.0; fields];
    let residual: Vec<f64> = jets
        .chunks_exact(jet)
        .map(|u| {
            equation.rates(&c, &u[..jet - fields], &mut f);
            (u[jet - fields] - f[0]).abs().max(1e-17).log10()
        })
        .collect();
    let first: Vec<f64> = values.iter().step_by(fields).copied().collect();
    let exact: Vec<f64> = reference.values.iter().step_by(fields).copied().collect();
    let difference: Vec<f64> = first.iter().zip(&exact).map(|(u, e)| (u - e).abs().max(1e-17).log10()).collect();
    let span = [0.0, t[nt - 1]];
    let length = config.interval.map_or(1.0, |i| i.length);
    let map = |values: &[f64], title: &str, quantity: Quantity| {
        let view = ArrayView2::from_shape((nt, nx), values).expect("a value for each time and point");
        HeatMap::space_time(view, length, span, quantity).title(title)
    };
    let figure = Figure::double_column().row([
        map(&first, "u", Quantity::Signed),
        map(&difference, "log10 |error|", Quantity::Positive),
        map(&residual, "log10 |residual|", Quantity::Positive),
    ]);
    report.figure(
        &figure,
        "Solution, its difference from the reference, and the residual; x from the left end of the interval.",
    )
}

/// The vorticity at the start, the middle and the end, and its difference from the reference.
fn plane_figures(report: &mut Report, length: f64, reference: &Reference, values: &[f64]) -> Result<()> {
    let (nt, n) = (reference.times.len(), reference.x.len());
    let map = |values: &[f64], title: String, quantity: Quantity| {
        let view = ArrayView2::from_shape((n, n), values).expect("a value for each point");
        HeatMap::field(view, [length; 2], quantity).title(title)
    };
    let plane = |values: &[f64], time: usize| values[time * n * n..][..n * n].to_vec();
    let times = [0, nt / 2, nt - 1];
    let omega = times.map(|i| map(&plane(values, i), format!("t = {}", reference.times[i]), Quantity::Signed));
    report.figure(&Figure::double_column().row(omega), "Vorticity.")?;
    let error = times.map(|i| {
        let pairs = plane(values, i).into_iter().zip(plane(&reference.values, i));
        let difference: Vec<f64> = pairs.map(|(a, b)| (a - b).abs().max(1e-17).log10()).collect();
        map(&difference, format!("log10 |error|, t = {}", reference.times[i]), Quantity::Positive)
    });
    report.figure(&Figure::double_column().row(error), "Difference from the reference.")
}

/// `N` numbers of a text, separated by commas.
fn numbers<const N: usize>(text: &str, names: &str) -> Result<[f64; N]> {
    let refuse = || Error::parameter("--at", text, format!("must be {N} numbers, {names}"));
    let numbers = text.split(',').map(|s| s.trim().parse().map_err(|_| refuse()));
    numbers.collect::<Result<Vec<f64>>>()?.try_into().map_err(|_| refuse())
}

/// `causal_pinn evaluate --at X,T`.
pub fn at(experiment: &Experiment, points: &[String], print: Printer) -> Result<()> {
    let (_, run) = experiment.trained()?.swap_remove(0);
    let (problem, solution) = match load(&experiment.config, run.path(), experiment.threads)? {
        Solved::Line(problem, solution) => (problem, solution),
        Solved::Plane(_, solution) => return plane_at(experiment, &solution, points, print),
    };
    let parsed = points.iter().map(|text| numbers::<2>(text, "X,T")).collect::<Result<Vec<_>>>()?;
    let jets = solution.evaluate(&parsed)?;
    let jet = jets.len() / parsed.len();
    let orders = jet / problem.fields - 1;
    let names =
        (0..orders).map(|k| format!("u{}{}", if k > 0 { "_" } else { "" }, "x".repeat(k))).chain(["u_t".to_owned()]);
    let names: Vec<String> = names.collect();
    let columns: Vec<&str> = ["x", "t", "field"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = Table::new(format!("{}, {}", experiment.config.name, run.path().display()), &columns);
    let mut records = Vec::new();
    for (&[x, t], jet) in parsed.iter().zip(jets.chunks_exact(jet)) {
        for field in 0..problem.fields {
            let values: Vec<f64> = jet.iter().skip(field).step_by(problem.fields).copied().collect();
            table.row([x, t, field as f64].into_iter().chain(values.iter().copied()).map(Cell::Number))?;
            records.push(json!({"x": x, "t": t, "field": field, "derivatives": values}));
        }
    }
    match experiment.json {
        true => print.line(json!({"components": names, "points": records})),
        false => print.line(table.text()),
    }
}

/// `causal_pinn evaluate --at X,Y,T`.
fn plane_at(experiment: &Experiment, solution: &plane::Solution, points: &[String], print: Printer) -> Result<()> {
    let parsed = points.iter().map(|text| numbers::<3>(text, "X,Y,T")).collect::<Result<Vec<_>>>()?;
    let names = ["psi", "u", "v", "omega", "omega_x", "omega_y", "lap omega", "omega_t"];
    let columns: Vec<&str> = ["x", "y", "t"].into_iter().chain(names).collect();
    let mut table = Table::new(experiment.config.name.clone(), &columns);
    let mut records = Vec::new();
    for (&[x, y, t], here) in parsed.iter().zip(solution.evaluate(&parsed)?) {
        let Local { psi, omega, omega_x, omega_y, lap_omega, omega_t, .. } = here;
        let values = [psi, here.u(), here.v(), omega, omega_x, omega_y, lap_omega, omega_t];
        table.row([x, y, t].into_iter().chain(values).map(Cell::Number))?;
        records.push(json!({"x": x, "y": y, "t": t, "values": values}));
    }
    match experiment.json {
        true => print.line(json!({"components": names, "points": records})),
        false => print.line(table.text()),
    }
}
