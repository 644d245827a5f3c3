//! Durations and costs of all methods, as a table and as figures.

use ndarray::{Array1, Array2, Axis, concatenate, s};
use parseval::plot::{Axis as PlotAxis, Curve, Figure, HeatMap, Legend, LinePlot, Quantity, Stroke, Symbol};
use parseval::run::command::Common;
use parseval::run::report::Report;
use parseval::run::seeds::Statistics;
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, metrics};
use parseval::stencil::line::{Base, ModelConfig};
use parseval::stencil::metric::{Horizon, correlation, horizon_of_mean, spectrum};
use parseval::{Error, Result};
use serde_json::json;

use super::config::Config;
use super::data::Test;
use super::methods::{Prediction, finite_volume, insertion, learned, pseudo_spectral, truncated};
use super::runs;
use super::training::Trained;
use crate::tensors::load;

/// A method with what was measured of it.
struct Scored {
    prediction: Prediction,
    /// `[time, sample]`, from the start on.
    correlation: Array2<f64>,
    t95: Horizon,
    t80: Horizon,
    /// Mean relative error over the time of the test.
    error: f64,
}

fn score(config: &Config, test: &Test, prediction: Prediction) -> Result<Scored> {
    let later = correlation(prediction.fields.view(), test.truth.view())?;
    // All begin at the truth.
    let correlation = concatenate![Axis(0), Array2::ones((1, later.ncols())), later];
    let times: Vec<f64> = (0..correlation.nrows()).map(|i| i as f64 * config.scheme.dt).collect();
    let duration = |threshold| horizon_of_mean(&times, correlation.view(), threshold, config.evaluate.resamples, 0);
    let (t95, t80) = (duration(0.95), duration(0.8));
    let (mut sum, frames) = (0.0, test.truth.dim().0);
    for (p, t) in prediction.fields.axis_iter(Axis(0)).zip(test.truth.axis_iter(Axis(0))) {
        let square = |x: ndarray::ArrayView2<f64>| x.iter().map(|x| x * x).sum::<f64>();
        sum += (square((&p - &t).view()) / square(t)).sqrt();
    }
    Ok(Scored { prediction, correlation, t95, t80, error: sum / frames as f64 })
}

/// The pseudo-spectral solver with the largest step whose durations are within 3 % of those of the next smaller.
fn fastest_spectral(config: &Config, test: &Test, n: usize) -> Result<Scored> {
    let mut best: Option<Scored> = None;
    for &dt in config.evaluate.pseudo_spectral_dt.iter().filter(|dt| **dt <= config.scheme.dt) {
        let next = score(config, test, pseudo_spectral(config, test, n, dt)?)?;
        if let Some(last) = best.take() {
            let near = |a: f64, b: f64| (a - b).abs() <= 0.03 * b.max(config.scheme.dt);
            if near(last.t95.time, next.t95.time) && near(last.t80.time, next.t80.time) {
                return Ok(last);
            }
        }
        best = Some(next);
    }
    best.ok_or_else(|| {
        Error::parameter("evaluate.pseudo_spectral_dt", "[..]", "must have a step that is at most scheme.dt")
    })
}

/// Energy and spectrum of a long run, relative to the truth's.
struct Long {
    seed: u64,
    energy: f64,
    /// Largest relative deviation of the energy of a mode `1 <= m <= 12`.
    spectrum: f64,
    energies: Array1<f64>,
}

fn long_run(config: &Config, test: &Test, trained: &mut Trained, seed: u64, truth: &Array1<f64>) -> Result<Long> {
    let (dt, cells) = (config.scheme.dt, config.scheme.cells);
    let steps = (config.evaluate.long / dt).round() as usize;
    let past = test.past.mapv(|x| x as f32);
    let (mut sum, mut count) = (Array1::<f64>::zeros(cells / 2 + 1), 0.0);
    let Trained { tape, model } = trained;
    model.predict(tape, past.view(), steps, |step, u| {
        if 2 * step > steps && step % 4 == 0 {
            let fields = ndarray::ArrayView2::from_shape((u.len() / cells, cells), u).expect("rows of cells");
            sum += &spectrum(fields);
            count += 1.0;
        }
        Ok(())
    })?;
    let energies = sum / count;
    let modes = 1..=12.min(cells / 2 - 1);
    let deviation = modes.map(|m| (energies[m] / truth[m] - 1.0).abs()).fold(0.0, f64::max);
    Ok(Long { seed, energy: energies.sum() / truth.sum(), spectrum: deviation, energies })
}

/// Energy a mode of frames `[time, sample, cells]`.
fn mean_spectrum(fields: &ndarray::Array3<f64>) -> Array1<f64> {
    let (times, samples, cells) = fields.dim();
    spectrum(fields.view().into_shape_with_order((times * samples, cells)).expect("standard layout"))
}

/// Prints and draws the comparison.
pub fn evaluate(common: &Common, print: Printer) -> Result<()> {
    let config = Config::load(&common.config, &common.set)?;
    let runs = runs(common, &config)?;
    let (out, runs) = (runs.out(), runs.trained()?);
    let lead = config.evaluate.windows.iter().map(|&w| config.frames(w)).max().unwrap_or(0).max(config.lead());
    let test = Test::make(&config, lead, common.threads())?;
    let truth_spectrum = mean_spectrum(&test.truth);

    let mut own = Vec::new();
    let mut long = Vec::new();
    let mut parameters = 0;
    for (seed, _, checkpoint) in &runs {
        let mut model = Trained::new(&config, *seed, 1)?;
        load(&mut model.tape, &checkpoint.model)?;
        parameters = model.tape.parameters().len();
        own.push(score(&config, &test, learned(&config, &test, &mut model, format!("learned, seed {seed}"))?)?);
        if config.evaluate.long > 0.0 {
            long.push(long_run(&config, &test, &mut model, *seed, &truth_spectrum)?);
        }
    }
    let mut others = Vec::new();
    let plain = Config {
        model: ModelConfig {
            width: 1,
            layers: 1,
            stencil: config.model.stencil,
            base: Base::Mean,
            ..Default::default()
        },
        ..config.clone()
    };
    let label = "no model, same cells and step".to_owned();
    others.push(score(&config, &test, learned(&plain, &test, &mut Trained::new(&plain, 0, 1)?, label)?)?);
    let coarsest = config.evaluate.finite_volume.first().copied().unwrap_or(config.scheme.cells);
    for &n in &config.evaluate.finite_volume {
        let dt = config.evaluate.finite_volume_dt
            * match config.evaluate.flux {
                parseval::stencil::line::Flux::Central => 1.0,
                parseval::stencil::line::Flux::VanLeer => coarsest as f64 / n as f64,
            };
        others.push(score(&config, &test, finite_volume(&config, &test, n, dt, config.evaluate.flux)?)?);
    }
    for &n in &config.evaluate.pseudo_spectral {
        others.push(fastest_spectral(&config, &test, n)?);
    }
    others.push(score(&config, &test, truncated(&config, &test)?)?);
    others.push(score(&config, &test, insertion(&config, &test, 0.0, config.evaluate.insert_every)?)?);
    for &window in &config.evaluate.windows {
        others.push(score(&config, &test, insertion(&config, &test, window, config.evaluate.insert_every)?)?);
    }

    let samples = test.truth.dim().1;
    let title = format!(
        "{}: {samples} trajectories, {} time units; T: time to a mean correlation of 0.95 and 0.8, with 90 % intervals over trajectories",
        config.name, config.data.test_time
    );
    let columns =
        ["method", "T95", "T95 90 %", "T80", "T80 90 %", "mean error", "steps a unit", "kFLOP a unit", "µs a unit"];
    let mut table = Table::new(title, &columns);
    let mean = |value: &dyn Fn(&Scored) -> f64| Statistics::of(&own.iter().map(value).collect::<Vec<_>>()).cell();
    table.row([
        Cell::Text(format!("learned, {} seeds, {parameters} parameters", own.len())),
        mean(&|r| r.t95.time),
        Cell::Empty,
        mean(&|r| r.t80.time),
        Cell::Empty,
        mean(&|r| r.error),
        Cell::Number(own[0].prediction.steps),
        Cell::Number(own[0].prediction.flops / 1e3),
        mean(&|r| r.prediction.seconds * 1e6),
    ])?;
    for row in own.iter().chain(&others) {
        table.row(cells(row))?;
    }
    let mut report = Report::new(format!("{}: learned finite volumes beside classical solvers", config.name));
    report.table(&table);

    let curves = correlation_figure(&config, &own, &others);
    curves.save(out.join("correlation.png"))?;
    report.figure(&curves, "Mean correlation with the truth over time.")?;
    let cost = cost_figure(&own, &others);
    cost.save(out.join("error_cost.png"))?;
    report.figure(&cost, "Time to a correlation of 0.8 against the cost of a time unit on this machine.")?;
    let energies = spectrum_figure(&truth_spectrum, &own, &others, &long);
    energies.save(out.join("spectrum.png"))?;
    report.figure(&energies, "Energy of the modes: truth, predictions over the time of the test, and the long run.")?;
    let map = |fields: &ndarray::Array3<f64>| {
        let (length, time) = (config.equation.length(), config.data.test_time);
        HeatMap::space_time(fields.slice(s![.., 0, ..]), length, [0.0, time], Quantity::Signed)
    };
    let fields = Figure::triptych(map(&test.truth), map(&own[0].prediction.fields))?;
    fields.save(out.join("fields.png"))?;
    report.figure(&fields, "First trajectory of the test over space and time: truth, prediction, difference.")?;

    let mut stability = Table::new(
        format!("Long run of {} time units, second half", config.evaluate.long),
        &["seed", "energy / truth", "largest deviation of a mode up to 12"],
    );
    for row in &long {
        stability.row([Cell::Number(row.seed as f64), Cell::Number(row.energy), Cell::Number(row.spectrum)])?;
    }
    if !long.is_empty() {
        report.table(&stability);
    }
    for (seed, run, _) in &runs {
        report.heading(&format!("Training of seed {seed}"));
        report.curves(&metrics::read(&run.metrics())?)?;
    }
    report.provenance(&runs[0].1)?;
    report.save(&out.join("report.html"))?;
    let results = json!({"table": table.json(), "long": stability.json(), "parameters": parameters});
    let path = out.join("evaluation.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;
    match common.json {
        true => print.line(results),
        false => {
            print.line(table.text())?;
            if !long.is_empty() {
                print.line(stability.text())?;
            }
            print.line(format_args!("{}", out.join("report.html").display()))
        }
    }
}

fn cells(row: &Scored) -> [Cell; 9] {
    let p = &row.prediction;
    let interval = |d: &Horizon| Cell::Text(format!("{:.1} .. {:.1}", d.low, d.high));
    let label = match p.blow_up {
        Some((time, count)) => format!("{} ({count} blew up, the first after {time:.1})", p.label),
        None => p.label.clone(),
    };
    [
        Cell::Text(label),
        Cell::Number(row.t95.time),
        interval(&row.t95),
        Cell::Number(row.t80.time),
        interval(&row.t80),
        if p.blow_up.is_some() { Cell::Empty } else { Cell::Number(row.error) },
        Cell::Number(p.steps),
        if p.flops.is_nan() { Cell::Empty } else { Cell::Number(p.flops / 1e3) },
        Cell::Number(p.seconds * 1e6),
    ]
}

fn correlation_figure(config: &Config, own: &[Scored], others: &[Scored]) -> Figure {
    let mut plot = LinePlot::new(PlotAxis::new("time"), PlotAxis::new("correlation"));
    for row in own.iter().chain(others) {
        let time: Vec<f64> = (0..row.correlation.nrows()).map(|i| i as f64 * config.scheme.dt).collect();
        let mean: Vec<f64> = row.correlation.rows().into_iter().map(|r| r.mean().unwrap_or(0.0)).collect();
        // The palette repeats; families differ by their strokes.
        let label = row.prediction.label.clone();
        let stroke = match label.split([' ', ',']).next() {
            Some("learned") => Stroke::Solid,
            Some("perfect") => Stroke::Dotted,
            _ => Stroke::Dashed,
        };
        plot = plot.curve(Curve::new(&time, &mean, label).stroke(stroke));
    }
    Figure::double_column().row([plot.legend(Legend::Outside)])
}

fn cost_figure(own: &[Scored], others: &[Scored]) -> Figure {
    let mut plot = LinePlot::new(PlotAxis::new("microseconds a time unit").log(), PlotAxis::new("T80"));
    let mut family = |name: &str, rows: &[Scored], symbol: Symbol, stroke: Stroke| {
        let of = |r: &&Scored| r.prediction.label.starts_with(name);
        let (x, y): (Vec<f64>, Vec<f64>) =
            rows.iter().filter(of).map(|r| (r.prediction.seconds * 1e6, r.t80.time)).unzip();
        if !x.is_empty() {
            plot = std::mem::replace(&mut plot, LinePlot::new(PlotAxis::new(""), PlotAxis::new("")))
                .curve(Curve::new(&x, &y, name).symbol(symbol).stroke(stroke));
        }
    };
    // Seeds are no series.
    family("learned", own, Symbol::Square, Stroke::None);
    family("no model", others, Symbol::Circle, Stroke::Solid);
    family("finite volumes", others, Symbol::Circle, Stroke::Solid);
    family("pseudo-spectral", others, Symbol::Circle, Stroke::Solid);
    Figure::single_column().row([plot])
}

fn spectrum_figure(truth: &Array1<f64>, own: &[Scored], others: &[Scored], long: &[Long]) -> Figure {
    let modes: Vec<f64> = (1..truth.len()).map(|m| m as f64).collect();
    let curve = |energy: &Array1<f64>, label: &str| {
        Curve::new(&modes, &energy.iter().skip(1).copied().collect::<Vec<f64>>(), label)
    };
    let mut plot = LinePlot::new(PlotAxis::new("mode"), PlotAxis::new("energy").log()).curve(curve(truth, "truth"));
    plot = plot.curve(curve(&mean_spectrum(&own[0].prediction.fields), "learned"));
    if others[0].prediction.blow_up.is_none() {
        plot = plot.curve(curve(&mean_spectrum(&others[0].prediction.fields), "no model"));
    }
    if let Some(long) = long.first() {
        plot = plot.curve(curve(&long.energies, "learned, long run"));
    }
    Figure::single_column().row([plot])
}
