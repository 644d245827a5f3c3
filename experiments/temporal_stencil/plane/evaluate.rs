//! `temporal_stencil evaluate` in two dimensions.

use ndarray::{Array5, ArrayView3, ArrayView5, s};
use parseval::autodiff::Tape;
use parseval::plot::{Axis, Curve, Figure, LinePlot, Symbol};
use parseval::run::checkpoint::Checkpoint;
use parseval::run::command::Common;
use parseval::run::report::Report;
use parseval::run::seeds::Statistics;
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, metrics};
use parseval::stencil::metric::{Horizon, horizon_of_mean};
use parseval::stencil::plane::metric;
use parseval::stencil::plane::{CorrectionConfig, CorrectionMode, LearnedSolver};
use parseval::{Error, Result};
use serde_json::json;

use super::classical::{self, Run, last_frames, seconds};
use super::config::{Config, Model};
use super::data::{self, Data, Test};
use super::train::{self, Precision, every, predict, window};
use crate::runs::Trained;
use crate::tensors;

/// Frames of the data between compared frames, and the times of those.
pub fn times(config: &Config) -> (usize, Vec<f64>) {
    let (dt, every) = (config.data.dt, every(config, config.evaluate.spacing));
    let frames = (config.data.time / (every as f64 * dt) + 1e-9).floor() as usize + 1;
    (every, (0..frames).map(|k| k as f64 * every as f64 * dt).collect())
}

/// The truth at the compared times.
fn truth(config: &Config, test: &Test) -> Array5<Precision> {
    let (every, times) = times(config);
    let frames = test.frames.slice(s![.., config.data.past - 1..;every as isize, .., .., ..]);
    frames.slice(s![.., ..times.len(), .., .., ..]).to_owned()
}

/// A learned solver and its tape.
type Parts<'a> = (&'a dyn LearnedSolver<Precision>, &'a mut Tape<Precision>);

/// Predictions at the compared times; zeros after a blow-up.
fn predictions(config: &Config, test: &Test, parts: Parts) -> Result<Array5<Precision>> {
    let (every, times) = times(config);
    match predict(config, parts, test.frames.view(), (times.len(), every)) {
        Err(Error::BlowUp { .. }) => Ok(Array5::zeros(truth(config, test).raw_dim())),
        other => other,
    }
}

/// `T95` and `T80` of the test.
pub fn horizons(config: &Config, test: &Test, parts: Parts) -> Result<Vec<(String, f64)>> {
    let prediction = predictions(config, test, parts)?;
    let [t95, t80] = score(config, prediction.view(), truth(config, test).view())?;
    Ok(vec![("test/T95".to_owned(), t95.time), ("test/T80".to_owned(), t80.time)])
}

/// `T95` and `T80` with their intervals.
fn score(config: &Config, prediction: ArrayView5<Precision>, truth: ArrayView5<Precision>) -> Result<[Horizon; 2]> {
    let (_, times) = times(config);
    let correlations = metric::correlations(prediction, truth)?;
    let resamples = config.evaluate.resamples;
    Ok([0.95, 0.8].map(|level| horizon_of_mean(&times, correlations.view(), level, resamples, 0)))
}

/// Mean energy spectrum of the last frames.
fn spectrum(frames: ArrayView5<Precision>) -> Vec<f64> {
    let last = last_frames(frames);
    let mut mean = Mean::default();
    last.iter().for_each(|field| mean.add(field.view()));
    mean.spectrum()
}

/// Mean energy and energy spectrum of fields.
#[derive(Default)]
struct Mean {
    shells: Vec<f64>,
    energy: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, field: ArrayView3<Precision>) {
        let shells = metric::energy_spectrum(field);
        self.shells.resize(shells.len(), 0.0);
        self.shells.iter_mut().zip(shells).for_each(|(sum, e)| *sum += e);
        self.energy += metric::kinetic_energy(field);
        self.count += 1;
    }

    fn energy(&self) -> f64 {
        self.energy / self.count.max(1) as f64
    }

    fn spectrum(&self) -> Vec<f64> {
        self.shells.iter().map(|sum| sum / self.count.max(1) as f64).collect()
    }
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
    Base,
    Learned,
}

/// All methods on one test.
struct Results {
    rows: Vec<Row>,
    /// Spectrum of the truth at the end.
    reference: Vec<f64>,
}

impl Results {
    fn of(config: &Config, test: &Test, runs: &[Trained], threads: usize) -> Result<Self> {
        let truth = truth(config, test);
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
            add(Kind::Volumes, classical::volumes(config, test, setup, threads)?)?;
        }
        for &setup in &config.evaluate.spectral {
            add(Kind::Spectral, classical::spectral(config, test, setup, threads)?)?;
        }
        for &setup in &config.evaluate.insertion {
            add(Kind::Insertion, classical::insertion(config, test, setup, threads)?)?;
        }
        if let Model::Correction(model) = &config.model {
            let mut base = config.clone();
            base.model = Model::Correction(CorrectionConfig { mode: CorrectionMode::Without, ..*model });
            add(Kind::Base, learned(&base, test, "base without correction", None, threads)?)?;
        }
        for (seed, _, checkpoint) in runs {
            let label = format!("learned, seed {seed}");
            add(Kind::Learned, learned(config, test, &label, Some((*seed, checkpoint)), threads)?)?;
        }
        Ok(Self { rows, reference: spectrum(truth.view()) })
    }

    fn table(&self, title: String) -> Result<Table> {
        let columns = ["method", "T95", "T95 90 %", "T80", "T80 90 %", "ln E error", "MFLOP/unit", "ms/unit"];
        let mut table = Table::new(title, &columns);
        let interval = |h: &Horizon| Cell::Text(format!("{:.2} .. {:.2}", h.low, h.high));
        let threshold = 1e-6 * self.reference.iter().sum::<f64>();
        let distance = |row: &Row| metric::spectrum_distance(&row.spectrum, &self.reference, threshold);
        for row in &self.rows {
            table.row([
                row.label.clone().into(),
                row.horizons[0].time.into(),
                interval(&row.horizons[0]),
                row.horizons[1].time.into(),
                interval(&row.horizons[1]),
                distance(row).into(),
                (row.flop / 1e6).into(),
                (row.seconds * 1e3).into(),
            ])?;
        }
        let learned: Vec<&Row> = self.rows.iter().filter(|r| r.kind == Kind::Learned).collect();
        if learned.len() > 1 {
            let column =
                |of: &dyn Fn(&Row) -> f64| Statistics::of(&learned.iter().map(|r| of(r)).collect::<Vec<_>>()).cell();
            table.row([
                format!("learned, {} seeds", learned.len()).into(),
                column(&|r| r.horizons[0].time),
                Cell::Empty,
                column(&|r| r.horizons[1].time),
                Cell::Empty,
                column(&distance),
                (learned[0].flop / 1e6).into(),
                column(&|r| r.seconds * 1e3),
            ])?;
        }
        Ok(table)
    }
}

/// A learned model on a test: the one of a checkpoint, or with the initial parameters of seed 0.
fn learned(
    config: &Config,
    test: &Test,
    label: &str,
    trained: Option<(u64, &Checkpoint)>,
    threads: usize,
) -> Result<Run> {
    let (model, mut tape) = load(config, trained, threads)?;
    Ok(Run {
        label: label.to_owned(),
        frames: predictions(config, test, (&*model, &mut tape))?,
        flop: model.flops() / model.dt(),
        seconds: time_unit(config, test, load(config, trained, 1)?)?,
    })
}

fn load(config: &Config, trained: Option<(u64, &Checkpoint)>, threads: usize) -> Result<train::Learned> {
    let (model, mut tape) = train::model(config, trained.map_or(0, |(seed, _)| seed), threads)?;
    if let Some((_, checkpoint)) = trained {
        tensors::load(&mut tape, &checkpoint.model)?;
    }
    Ok((model, tape))
}

/// Seconds of one sample and time unit.
fn time_unit(config: &Config, test: &Test, (model, mut tape): train::Learned) -> Result<f64> {
    let steps = (1.0 / model.dt()).ceil() as usize;
    let start = window(config, &*model, test.frames.slice(s![..1, .., .., .., ..]));
    let mut result = Ok(());
    let time = seconds(|| result = model.predict(&mut tape, &mut start.clone(), steps, &mut |_, _| Ok(())));
    match result {
        Ok(()) | Err(Error::BlowUp { .. }) => Ok(time / (steps as f64 * model.dt())),
        Err(error) => Err(error),
    }
}

/// What a long free run keeps of the statistics of the truth.
struct Stability {
    seed: u64,
    /// Mean energy over that of the truth.
    energy: f64,
    /// Largest relative error of the mean energy of the shells `1 ..= last`, and its shell.
    shells: (f64, usize),
    last: usize,
    /// Trajectories that stay finite, of all.
    finite: [usize; 2],
}

/// Energy and spectrum over the second half of free runs from the starts of the test, once a time unit, beside all
/// trajectories of the data.
fn stability(config: &Config, data: &Data, seed: u64, (model, mut tape): train::Learned) -> Result<Stability> {
    let steps = (config.evaluate.long / model.dt()).round() as usize;
    let unit = (1.0 / model.dt()).round().max(1.0) as usize;
    let (n, samples) = (config.data.n, data.test.frames.dim().0);
    let (mut mean, mut finite) = (Mean::default(), 0);
    for sample in 0..samples {
        let mut window = window(config, &*model, data.test.frames.slice(s![sample..=sample, .., .., .., ..]));
        let outcome = model.predict(&mut tape, &mut window, steps, &mut |step, state| {
            if step.is_multiple_of(unit) && 2 * step > steps {
                mean.add(ArrayView3::from_shape((2, n, n), &model.decode(state)).expect("one frame"));
            }
            Ok(())
        });
        match outcome {
            Ok(()) => finite += 1,
            Err(Error::BlowUp { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut truth = Mean::default();
    let every = (0.5 / config.data.dt).round().max(1.0) as isize;
    for frames in [&data.train, &data.valid, &data.test.frames] {
        for trajectory in frames.slice(s![.., ..;every, .., .., ..]).outer_iter() {
            trajectory.outer_iter().for_each(|frame| truth.add(frame));
        }
    }
    // Shells whose modes all lie below the Nyquist mode.
    let last = 12.min(n / 2 - 1);
    let errors = mean.spectrum().into_iter().zip(truth.spectrum()).map(|(e, t)| (e / t - 1.0).abs());
    let errors = errors.enumerate().skip(1).take(last).map(|(k, e)| (e, k));
    Ok(Stability {
        seed,
        energy: mean.energy() / truth.energy(),
        shells: errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, 0)),
        last,
        finite: [finite, samples],
    })
}

/// Prints and draws correlation times, spectra and costs beside classical solvers.
pub fn evaluate(common: &Common, print: Printer) -> Result<()> {
    let config = &Config::load(&common.config, &common.set)?;
    let threads = common.threads();
    let data = data::read(config)?;
    let runs = super::runs(common, config)?;
    let (out, runs) = (runs.out(), runs.trained()?);
    let parameters = train::model(config, 0, 1)?.1.parameters().len();
    let results = Results::of(config, &data.test, &runs, threads)?;
    let title = |config: &Config, name: &str| {
        format!("{name}: {} trajectories, {} cells, {parameters} parameters", config.data.test, config.data.n)
    };
    let table = results.table(title(config, &config.name))?;
    let mut others = Vec::new();
    for flow in &config.evaluate.flows {
        let other = config.on(flow)?;
        let test = data::test_alone(&other, threads, common.quiet)?;
        let table = Results::of(&other, &test, &runs, threads)?.table(title(&other, &flow.name))?;
        others.push((&flow.name, table));
    }
    let mut stable = Vec::new();
    if config.evaluate.long > 0.0 {
        for (seed, _, checkpoint) in &runs {
            stable.push(stability(config, &data, *seed, load(config, Some((*seed, checkpoint)), threads)?)?);
        }
    }

    let path = out.join("evaluation.json");
    let values = json!({
        "table": table.json(),
        "parameters": parameters,
        "flows": others.iter().map(|(name, table)| json!({"name": name, "table": table.json()})).collect::<Vec<_>>(),
        "stability": stable.iter().map(Stability::json).collect::<Vec<_>>(),
    });
    std::fs::write(&path, format!("{values:#}\n")).map_err(|e| Error::io(&path, e))?;
    let (cost, spectra) = (cost_figure(&results.rows), spectrum_figure(&results.rows, &results.reference));
    cost.save(out.join("horizon_cost.png"))?;
    spectra.save(out.join("spectrum.png"))?;
    let mut report = Report::new(format!("{}: learned beside classical solvers", config.name));
    report.table(&table);
    report.figure(&cost, "Correlation time T80 against seconds a time unit of one sample on one thread.")?;
    report.figure(&spectra, "Energy of shells at the end of the test, mean over trajectories.")?;
    for (name, table) in &others {
        report.heading(&format!("Not trained on: {name}"));
        report.table(table);
    }
    for (seed, run, _) in &runs {
        report.heading(&format!("Training of seed {seed}"));
        report.curves(&metrics::read(&run.metrics())?)?;
    }
    if let Some((_, run, _)) = runs.first() {
        report.provenance(run)?;
    }
    report.save(&out.join("report.html"))?;
    if common.json {
        return print.line(values);
    }
    print.line(table.text())?;
    for (_, table) in &others {
        print.line(table.text())?;
    }
    for stability in &stable {
        print.line(format_args!("free run over {} time units, {}", config.evaluate.long, stability.text()))?;
    }
    print.line(out.join("report.html").display())
}

impl Stability {
    fn json(&self) -> serde_json::Value {
        json!({
            "seed": self.seed,
            "energy": self.energy,
            "spectrum_error": self.shells.0,
            "shell": self.shells.1,
            "finite": self.finite[0],
            "trajectories": self.finite[1],
        })
    }

    fn text(&self) -> String {
        let Self { seed, energy, shells: (error, shell), last, finite: [finite, all] } = self;
        format!(
            "seed {seed}: {finite} of {all} trajectories finite, mean energy {energy:.3} of the truth's, spectrum within \
             {:.1} % for k <= {last} (worst at k = {shell})",
            100.0 * error
        )
    }
}

fn cost_figure(rows: &[Row]) -> Figure {
    let mut plot = LinePlot::new(Axis::new("seconds a time unit").log(), Axis::new("T80"));
    for (kind, label, symbol) in [
        (Kind::Volumes, "finite volumes", Symbol::Circle),
        (Kind::Spectral, "spectral", Symbol::Circle),
        (Kind::Insertion, "spectral, truth inserted", Symbol::Square),
        (Kind::Base, "base without correction", Symbol::Circle),
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
