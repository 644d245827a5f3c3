//! `sfno evaluate`: the table and the error-cost figure.

use std::time::Instant;

use ndarray::{ArrayD, ArrayView2, s};
use parseval::Result;
use parseval::operator::refine::{Anchor, AnchorMethod, AnchorOptions, anchors};
use parseval::pde::Pde;
use parseval::plot::{Axis, Curve, Figure, HeatMap, LinePlot, Quantity, Stroke, Symbol};
use parseval::run::report::Report;
use parseval::run::seeds::Statistics;
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, metrics};
use parseval::simulate::WithPde;
use parseval::spectral::layout::Dealias;
use serde_json::json;

use crate::Experiment;
use crate::train::{Precision, load, predict, predictor};
use crate::windows::{Windows, errors};

/// What a trained seed achieved.
struct Row {
    seed: u64,
    l2: f64,
    h1: f64,
    train_seconds: f64,
    solve_seconds: f64,
}

pub fn evaluate(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, source, out, threads, .. } = experiment;
    let test: Windows<Precision> = source.windows(config, &source.test)?;
    let (frames, batch) = (config.data.output_frames, config.data.batch);
    let mut rows = Vec::new();
    let mut example = None;
    let mut parameters = 0;
    for (seed, run, checkpoint) in experiment.trained()? {
        let mut model = predictor::<Precision>(config, source, seed, *threads)?;
        load(&mut model, &checkpoint.model)?;
        parameters = model.parameters().len();
        let prediction = predict(&mut model, test.input(), frames, batch)?;
        let (l2, h1) = errors(source.grid(), prediction.view(), test.target())?;
        let one = batch.min(test.len());
        let input = test.input().slice_move(s![..one, .., .., .., ..]).to_owned();
        let mut times = Vec::new();
        for _ in 0..config.evaluate.repeat {
            let start = Instant::now();
            model.predict(input.view(), frames)?;
            times.push(start.elapsed().as_secs_f64() / one as f64);
        }
        let summary = metrics::read(&run.metrics())?;
        let train_seconds = summary.iter().map(|r| r.seconds).fold(0.0, f64::max);
        rows.push(Row { seed, l2, h1, train_seconds, solve_seconds: median(&mut times) });
        example.get_or_insert(prediction);
    }
    let classical =
        source.equation()?.with(source.grid(), Anchors { experiment, references: test.trajectories() })??;

    let title = format!("{}: {} windows of the test, {} frames", config.name, test.len(), frames);
    let mut table =
        Table::new(title, &["method", "relative L2", "relative H1", "seconds to train", "seconds to solve"]);
    let column = |value: fn(&Row) -> f64| Statistics::of(&rows.iter().map(value).collect::<Vec<_>>()).cell();
    let name = format!("{} ({} seeds, {parameters} parameters)", kind(experiment), rows.len());
    let cells = [column(|r| r.l2), column(|r| r.h1), column(|r| r.train_seconds), column(|r| r.solve_seconds)];
    table.row([Cell::Text(name)].into_iter().chain(cells))?;
    for anchor in &classical {
        table.row([label(anchor).into(), anchor.l2.into(), anchor.h1.into(), Cell::Empty, anchor.seconds.into()])?;
    }
    let per_seed: Vec<_> = rows
        .iter()
        .map(|r| json!({"seed": r.seed, "l2": r.l2, "h1": r.h1, "train_seconds": r.train_seconds, "solve_seconds": r.solve_seconds}))
        .collect();
    let results = json!({"table": table.json(), "seeds": per_seed, "parameters": parameters});
    let path = out.join("evaluation.json");
    std::fs::write(&path, format!("{results:#}\n")).map_err(|e| parseval::Error::io(&path, e))?;

    let cost = cost_figure(&classical, &rows);
    cost.save(out.join("error_cost.png"))?;
    let mut report = Report::new(format!("{}: neural operator beside the classical solver", config.name));
    report.table(&table);
    report.figure(
        &cost,
        "Error against cost: relative L2 error over the test windows, seconds a window on this machine.",
    )?;
    if let Some(prediction) = example {
        let (truth, guess) = (test.target(), prediction.view());
        let fields = fields_figure(
            truth.slice(s![0, 0, frames - 1, .., ..]),
            guess.slice(s![0, 0, frames - 1, .., ..]),
            source.grid().lengths()[0],
        )?;
        fields.save(out.join("fields.png"))?;
        report.figure(&fields, "Last frame of the first test window: truth, prediction, difference.")?;
    }
    for (seed, run, _) in experiment.trained()? {
        report.heading(&format!("Training of seed {seed}"));
        report.curves(&metrics::read(&run.metrics())?)?;
        if seed == rows[0].seed {
            report.provenance(&run)?;
        }
    }
    report.save(&out.join("report.html"))?;
    match experiment.json {
        true => print.line(results),
        false => {
            print.line(table.text())?;
            print.line(format_args!("{}", out.join("report.html").display()))
        }
    }
}

/// Name of the model.
fn kind(experiment: &Experiment) -> &'static str {
    match experiment.config.model {
        parseval::operator::Model::Sfno(_) => "SFNO",
        parseval::operator::Model::Fno(_) => "FNO",
    }
}

fn label(anchor: &Anchor) -> String {
    let blown = if anchor.blow_ups > 0 { format!(" ({} blew up)", anchor.blow_ups) } else { String::new() };
    match anchor.method {
        AnchorMethod::Persistence => "persistence".to_owned(),
        AnchorMethod::Etdrk4 { n, dt } => format!("ETDRK4, {n} points, dt = {dt}{blown}"),
    }
}

/// Rows of the classical solver.
struct Anchors<'a> {
    experiment: &'a Experiment,
    references: ArrayD<f64>,
}

impl WithPde for Anchors<'_> {
    type Output = Result<Vec<Anchor>>;

    fn call<P: Pde>(self, pde: P) -> Self::Output {
        let Experiment { config, source, threads, .. } = self.experiment;
        let (n, dt) = (source.grid().shape()[0], source.dt);
        let listed = |list: &Vec<usize>, or: Vec<usize>| if list.is_empty() { or } else { list.clone() };
        let dts = &config.evaluate.dts;
        let options = AnchorOptions {
            resolutions: listed(&config.evaluate.resolutions, vec![n / 2, n]),
            dts: if dts.is_empty() { vec![dt, dt / 2.0, dt / 4.0] } else { dts.clone() },
            dealias: Dealias::Truncate,
            threads: *threads,
        };
        anchors(&pde, source.grid(), dt, self.references.view(), &options)
    }
}

/// Error over cost, one curve a resolution and a point a seed.
fn cost_figure(classical: &[Anchor], rows: &[Row]) -> Figure {
    let mut plot = LinePlot::new(Axis::new("seconds for a window").log(), Axis::new("relative L2 error").log());
    let mut resolutions: Vec<usize> = classical
        .iter()
        .filter_map(|a| match a.method {
            AnchorMethod::Etdrk4 { n, .. } => Some(n),
            AnchorMethod::Persistence => None,
        })
        .collect();
    resolutions.dedup();
    for n in resolutions {
        let of = |a: &&Anchor| matches!(a.method, AnchorMethod::Etdrk4 { n: m, .. } if m == n) && a.l2.is_finite();
        let points: Vec<&Anchor> = classical.iter().filter(of).collect();
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|a| (a.seconds, a.l2)).unzip();
        plot = plot.curve(Curve::new(&x, &y, format!("ETDRK4, {n} points")).symbol(Symbol::Circle));
    }
    let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|r| (r.solve_seconds, r.l2)).unzip();
    plot = plot.curve(Curve::new(&x, &y, "operator").symbol(Symbol::Square).stroke(Stroke::None));
    Figure::single_column().row([plot])
}

fn fields_figure(truth: ArrayView2<Precision>, guess: ArrayView2<Precision>, length: f64) -> Result<Figure> {
    let map = |values: ArrayView2<Precision>| HeatMap::field(values, [length; 2], Quantity::Signed);
    Figure::triptych(map(truth), map(guess))
}

/// Median of some times.
pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
