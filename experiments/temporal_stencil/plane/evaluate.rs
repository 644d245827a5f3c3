//! `temporal_stencil evaluate` in two dimensions.

use std::collections::VecDeque;

use ndarray::{Array5, ArrayView5, s};
use parseval::autodiff::Tape;
use parseval::plot::{Axis, Curve, Figure, LinePlot, Symbol};
use parseval::run::report::Report;
use parseval::run::seeds::Statistics;
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, metrics};
use parseval::stencil::plane::TemporalStencil;
use parseval::stencil::plane::metric::{self, Horizon};
use parseval::{Error, Result};
use serde_json::json;

use super::Experiment;
use super::classical::{self, Run, last_frames, seconds};
use super::config::Config;
use super::data::{self, Data};
use super::train::{self, Precision, predict};

/// Steps of the model between compared frames, and the times of those.
pub fn times(config: &Config) -> (usize, Vec<f64>) {
    let dt = config.data.dt;
    let every = (config.evaluate.spacing / dt).round().max(1.0) as usize;
    let frames = (config.data.time / (every as f64 * dt) + 1e-9).floor() as usize + 1;
    (every, (0..frames).map(|k| k as f64 * every as f64 * dt).collect())
}

/// The truth at the compared times.
pub fn truth(config: &Config, data: &Data) -> Array5<Precision> {
    let (every, times) = times(config);
    let frames = data.test.slice(s![.., config.data.past - 1..;every as isize, .., .., ..]);
    frames.slice(s![.., ..times.len(), .., .., ..]).to_owned()
}

/// Predictions of the test at the compared times; zeros after a blow-up.
fn test(
    config: &Config,
    data: &Data,
    model: &TemporalStencil<Precision>,
    tape: &mut Tape<Precision>,
) -> Result<Array5<Precision>> {
    let (every, times) = times(config);
    match predict(model, tape, data.test.view(), config.data.past, (times.len(), every)) {
        Err(Error::BlowUp { .. }) => Ok(Array5::zeros(truth(config, data).raw_dim())),
        other => other,
    }
}

/// `T95` and `T80` of the test.
pub fn horizons(
    config: &Config,
    data: &Data,
    model: &TemporalStencil<Precision>,
    tape: &mut Tape<Precision>,
) -> Result<Vec<(String, f64)>> {
    let prediction = test(config, data, model, tape)?;
    let [t95, t80] = score(config, prediction.view(), truth(config, data).view())?;
    Ok(vec![("test/T95".to_owned(), t95.time), ("test/T80".to_owned(), t80.time)])
}

/// `T95` and `T80` with their intervals.
fn score(config: &Config, prediction: ArrayView5<Precision>, truth: ArrayView5<Precision>) -> Result<[Horizon; 2]> {
    let (_, times) = times(config);
    let correlations = metric::correlations(prediction, truth)?;
    let resamples = config.evaluate.resamples;
    Ok([0.95, 0.8].map(|level| metric::horizon_of_mean(&times, correlations.view(), level, resamples, 0)))
}

/// Mean energy spectrum of the last frames.
fn spectrum(frames: ArrayView5<Precision>) -> Vec<f64> {
    let last = last_frames(frames);
    let mut sum = Vec::new();
    for field in &last {
        let shells = metric::energy_spectrum(field.view());
        sum.resize(shells.len(), 0.0);
        sum.iter_mut().zip(shells).for_each(|(s, e)| *s += e / last.len() as f64);
    }
    sum
}

struct Row {
    label: String,
    horizons: [Horizon; 2],
    spectrum: Vec<f64>,
    flop: f64,
    seconds: f64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Volumes,
    Spectral,
    Insertion,
    Learned,
}

pub fn evaluate(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, json, .. } = experiment;
    let data = data::read(config)?;
    let truth = truth(config, &data);
    let reference = spectrum(truth.view());
    let mut rows = Vec::new();
    let mut add = |kind: Kind, run: Run| -> Result<()> {
        let horizons = score(config, run.frames.view(), truth.view())?;
        let spectrum = spectrum(run.frames.view());
        let Run { label, flop, seconds, .. } = run;
        rows.push(Row { label, horizons, spectrum, flop, seconds, kind });
        Ok(())
    };
    let own = [config.data.n, (1.0 / config.data.dt).round() as usize];
    for &setup in std::iter::once(&own).chain(&config.evaluate.volumes) {
        add(Kind::Volumes, classical::volumes(config, &data, setup, *threads)?)?;
    }
    for &setup in &config.evaluate.spectral {
        add(Kind::Spectral, classical::spectral(config, &data, setup, *threads)?)?;
    }
    for &setup in &config.evaluate.insertion {
        add(Kind::Insertion, classical::insertion(config, &data, setup, *threads)?)?;
    }
    let (mut parameters, mut stability) = (0, Vec::new());
    let runs = experiment.trained()?;
    for (seed, _, checkpoint) in &runs {
        let (model, mut tape) = train::model(config, *seed, *threads)?;
        train::load(&mut tape, &checkpoint.model)?;
        parameters = tape.parameters().len();
        let frames = test(config, &data, &model, &mut tape)?;
        let steps = 1.0 / config.data.dt;
        let run = Run {
            label: format!("learned, seed {seed}"),
            frames,
            flop: steps * model.flops(),
            seconds: time_unit(config, &data, *seed, checkpoint)?,
        };
        add(Kind::Learned, run)?;
        if config.evaluate.long > 0.0 {
            stability.push(long_run(config, &data, &model, &mut tape)?);
        }
    }

    let title = format!("{}: {} trajectories, {} cells, {parameters} parameters", config.name, truth.dim().0, own[0]);
    let columns = ["method", "T95", "T95 90 %", "T80", "T80 90 %", "ln E error", "MFLOP/unit", "ms/unit"];
    let mut table = Table::new(title, &columns);
    let interval = |h: &Horizon| Cell::Text(format!("{:.2} .. {:.2}", h.low, h.high));
    let threshold = 1e-6 * reference.iter().sum::<f64>();
    for row in &rows {
        table.row([
            row.label.clone().into(),
            row.horizons[0].time.into(),
            interval(&row.horizons[0]),
            row.horizons[1].time.into(),
            interval(&row.horizons[1]),
            metric::spectrum_distance(&row.spectrum, &reference, threshold).into(),
            (row.flop / 1e6).into(),
            (row.seconds * 1e3).into(),
        ])?;
    }
    let learned: Vec<&Row> = rows.iter().filter(|r| r.kind == Kind::Learned).collect();
    if learned.len() > 1 {
        let column =
            |of: &dyn Fn(&Row) -> f64| Statistics::of(&learned.iter().map(|r| of(r)).collect::<Vec<_>>()).cell();
        table.row([
            format!("learned, {} seeds", learned.len()).into(),
            column(&|r| r.horizons[0].time),
            Cell::Empty,
            column(&|r| r.horizons[1].time),
            Cell::Empty,
            column(&|r| metric::spectrum_distance(&r.spectrum, &reference, threshold)),
            (learned[0].flop / 1e6).into(),
            column(&|r| r.seconds * 1e3),
        ])?;
    }
    let results = json!({"table": table.json(), "parameters": parameters, "stability": stability});
    let path = out.join("evaluation.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| Error::io(&path, e))?;
    let (cost, spectra) = (cost_figure(&rows), spectrum_figure(&rows, &reference));
    cost.save(out.join("horizon_cost.png"))?;
    spectra.save(out.join("spectrum.png"))?;
    let mut report = Report::new(format!("{}: learned interpolation beside classical solvers", config.name));
    report.table(&table);
    report.figure(&cost, "Correlation time T80 against seconds a time unit of one sample on one thread.")?;
    report.figure(&spectra, "Energy of shells at the end of the test, mean over trajectories.")?;
    for (seed, run, _) in &runs {
        report.heading(&format!("Training of seed {seed}"));
        report.curves(&metrics::read(&run.metrics())?)?;
    }
    if let Some((_, run, _)) = runs.first() {
        report.provenance(run)?;
    }
    report.save(&out.join("report.html"))?;
    if *json {
        return print.line(results);
    }
    print.line(table.text())?;
    for (ratio, finite) in &stability {
        print.line(format_args!(
            "free run over {} time units: mean energy {ratio:.3} of the truth's, {finite} trajectories finite",
            config.evaluate.long
        ))?;
    }
    print.line(out.join("report.html").display())
}

/// Seconds of one sample and time unit on one thread.
fn time_unit(
    config: &Config,
    data: &Data,
    seed: u64,
    checkpoint: &parseval::run::checkpoint::Checkpoint,
) -> Result<f64> {
    let (model, mut tape) = train::model(config, seed, 1)?;
    train::load(&mut tape, &checkpoint.model)?;
    let steps = (1.0 / config.data.dt).round() as usize;
    let window = |t: usize| data.test.slice(s![0, t, .., .., ..]).iter().copied().collect::<Vec<Precision>>();
    let past = config.data.past;
    let start: VecDeque<Vec<Precision>> = (past - model.window()..past).map(window).collect();
    let mut result = Ok(());
    let time = seconds(|| result = model.predict(&mut tape, &mut start.clone(), steps, |_, _| Ok(())));
    match result {
        Ok(()) | Err(Error::BlowUp { .. }) => Ok(time),
        Err(error) => Err(error),
    }
}

/// Mean energy over the second half of a long free run over that of the test, and the trajectories that stay finite.
fn long_run(
    config: &Config,
    data: &Data,
    model: &TemporalStencil<Precision>,
    tape: &mut Tape<Precision>,
) -> Result<(f64, usize)> {
    let past = config.data.past;
    let steps = (config.evaluate.long / config.data.dt).round() as usize;
    let every = (1.0 / config.data.dt).round() as usize;
    let (mut sum, mut count, mut finite) = (0.0, 0usize, 0);
    for sample in 0..data.test.dim().0 {
        let frame = |t: usize| data.test.slice(s![sample, t, .., .., ..]).iter().copied().collect::<Vec<Precision>>();
        let mut window: VecDeque<Vec<Precision>> = (past - model.window()..past).map(frame).collect();
        let n = config.data.n;
        let outcome = model.predict(tape, &mut window, steps, |step, state| {
            if step.is_multiple_of(every) && 2 * step > steps {
                let field = ndarray::ArrayView3::from_shape((2, n, n), state).expect("one sample");
                sum += metric::kinetic_energy(field);
                count += 1;
            }
            Ok(())
        });
        match outcome {
            Ok(()) => finite += 1,
            Err(Error::BlowUp { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let truth =
        |frames: &Array5<Precision>| frames.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / frames.len() as f64;
    Ok((sum / count.max(1) as f64 / truth(&data.test), finite))
}

fn cost_figure(rows: &[Row]) -> Figure {
    let mut plot = LinePlot::new(Axis::new("seconds a time unit").log(), Axis::new("T80"));
    for (kind, label, symbol) in [
        (Kind::Volumes, "finite volumes", Symbol::Circle),
        (Kind::Spectral, "spectral", Symbol::Circle),
        (Kind::Insertion, "spectral, truth inserted", Symbol::Square),
        (Kind::Learned, "learned", Symbol::Square),
    ] {
        let of: Vec<&Row> = rows.iter().filter(|r| r.kind == kind).collect();
        if of.is_empty() {
            continue;
        }
        let (x, y): (Vec<f64>, Vec<f64>) = of.iter().map(|r| (r.seconds, r.horizons[1].time)).unzip();
        plot = plot.curve(Curve::new(&x, &y, label).symbol(symbol));
    }
    Figure::single_column().row([plot])
}

fn spectrum_figure(rows: &[Row], reference: &[f64]) -> Figure {
    let k: Vec<f64> = (1..reference.len()).map(|k| k as f64).collect();
    let mut plot = LinePlot::new(Axis::new("k").log(), Axis::new("E(k)").log());
    plot = plot.curve(Curve::new(&k, &reference[1..], "truth"));
    let mut seen = Vec::new();
    for row in rows.iter().filter(|r| matches!(r.kind, Kind::Volumes | Kind::Learned)) {
        if !seen.contains(&(row.kind as usize)) && row.spectrum.iter().all(|e| *e >= 0.0) {
            seen.push(row.kind as usize);
            plot = plot.curve(Curve::new(&k, &row.spectrum[1..], row.label.clone()));
        }
    }
    Figure::single_column().row([plot])
}
