//! `conjugate_direction plume`: a simulation whose pressure is solved for by each solver in turn.

use std::time::Instant;

use ndarray::Array2;
use parseval::linsolve::{Options, Solver};
use parseval::plot::{Animation, Axis, Curve, Figure, HeatMap, Legend, LinePlot, Nodes, Quantity};
use parseval::run::table::{Cell, Table};
use parseval::run::{Printer, Progress, report};
use parseval::{Error, Result};
use serde_json::json;

use crate::Experiment;
use crate::compare::styled;
use crate::flow::Flow;
use crate::models::{Models, SOLVERS};

/// Account of one solver over the simulation.
struct Tally {
    name: &'static str,
    solver: Box<dyn Solver>,
    setup_seconds: f64,
    seconds: f64,
    iterations: Vec<f64>,
    failures: usize,
    /// Whether its pressure drives the flow.
    drives: bool,
}

pub fn plume(experiment: &Experiment, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, json, quiet } = experiment;
    let settings = &config.plume;
    let mut flow = Flow::new(&settings.shape, settings.sphere, settings.courant)?;
    let options = Options { relative: settings.tolerance, threads: *threads, ..Options::default() };
    let models = Models::load(experiment)?;
    let mut tallies = Vec::new();
    for name in SOLVERS {
        let drives = name == settings.solver;
        let listed = &config.compare.solvers;
        if !(drives || listed.is_empty() || listed.iter().any(|s| s == name)) {
            continue;
        }
        let start = Instant::now();
        if let Some(solver) = models.plan(name, &flow.problem, &options)? {
            let setup_seconds = start.elapsed().as_secs_f64();
            tallies.push(Tally {
                name,
                solver,
                setup_seconds,
                seconds: 0.0,
                iterations: Vec::new(),
                failures: 0,
                drives,
            });
        }
    }
    if !tallies.iter().any(|t| t.drives) {
        let rule = format!("must be one of {}, and apply to this flow", SOLVERS.join("; "));
        return Err(Error::parameter("plume.solver", &settings.solver, rule));
    }
    let progress = Progress::new(settings.steps as u64, "steps", *quiet);
    let (mut frames, mut times, mut solves, mut at) = (Vec::new(), Vec::new(), 0, Vec::new());
    let (mut advection, mut divergence) = (0.0, 0.0f64);
    for step in 0..settings.steps {
        let start = Instant::now();
        let (_, b) = flow.predict()?;
        advection += start.elapsed().as_secs_f64();
        let is_frame = step % settings.frame_every == 0;
        let mut pressure = Vec::new();
        // The others solve the same system from the same start; at the frames only, as some take long.
        for tally in tallies.iter_mut().filter(|t| t.drives || is_frame) {
            let mut p = flow.pressure.clone();
            let report = tally.solver.solve(&b, &mut p)?;
            let (iterations, seconds, failed) = (report.iterations, report.solve_seconds, !report.is_converged());
            if is_frame {
                tally.iterations.push(iterations as f64);
                tally.seconds += seconds;
                tally.failures += usize::from(failed);
            }
            if tally.drives {
                if failed {
                    return Err(Error::Differ {
                        what: format!("A p and b in step {step}, solved by {}:", tally.name),
                        difference: report.relative_residual,
                        tolerance: settings.tolerance,
                    });
                }
                pressure = p;
            }
        }
        flow.correct(pressure)?;
        if is_frame {
            divergence = divergence.max(flow.divergence()?);
            frames.push(flow.slice());
            times.push(flow.time);
            at.push(step as f64);
            solves += 1;
        }
        progress.advance(1);
    }
    progress.finish();

    let shape: Vec<String> = settings.shape.iter().map(usize::to_string).collect();
    let title = format!(
        "{}: plume on {} cells, {} steps, pressure to {:e}, {threads} threads",
        config.name,
        shape.join("x"),
        settings.steps,
        settings.tolerance
    );
    let columns = ["solver", "iterations a step", "most", "seconds a step", "set-up s", "of the step", "failures"];
    let mut table = Table::new(title, &columns);
    let advection = advection / settings.steps as f64;
    for t in &tallies {
        let mean = t.iterations.iter().sum::<f64>() / solves as f64;
        let seconds = t.seconds / solves as f64;
        let most = t.iterations.iter().copied().fold(0.0, f64::max);
        let failures = if t.failures == 0 { Cell::Empty } else { (t.failures as f64).into() };
        table.row([
            t.name.into(),
            mean.into(),
            most.into(),
            seconds.into(),
            t.setup_seconds.into(),
            format!("{:.0} %", 100.0 * seconds / (seconds + advection)).into(),
            failures,
        ])?;
    }
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let animation = Animation { frames_per_second: 12.0 };
    let figures = frames.iter().zip(&times).map(|(frame, t)| {
        Figure::single_column().row([map(frame, flow.lengths()).title(format!("t = {t:.2}"))]).dpi(120.0)
    });
    animation.save(out.join("plume.gif"), figures)?;
    let shown = [1, 2, 3].map(|part| (frames.len() * part / 3).max(1) - 1);
    let maps = shown.iter().map(|&k| map(&frames[k], flow.lengths()).title(format!("t = {:.2}", times[k]))).collect();
    let snapshots = Figure::snapshots(maps, 3)?;
    snapshots.save(out.join("plume.png"))?;
    let mut plot = LinePlot::new(Axis::new("step"), Axis::new("iterations").log()).legend(Legend::Outside);
    for t in &tallies {
        plot = plot.curve(styled(Curve::new(&at, &t.iterations, t.name), t.name));
    }
    let iterations = Figure { aspect: 0.45, ..Figure::double_column() }.row([plot]);
    iterations.save(out.join("plume-iterations.png"))?;

    let mut page = report::Report::new(format!("{}: smoke around a sphere", config.name));
    page.text(
        "An inviscid plume of smoke in a box with an open top. At every frame all solvers solve for the same pressure from that of the \
         step before; one of them drives the flow.",
    );
    page.text(&format!("Largest divergence that was left, times the size of a cell: {divergence:.1e}."));
    page.table(&table);
    page.figure(&snapshots, "Smoke in the middle slice.")?;
    page.figure(&iterations, "Iterations of each solver over the simulation.")?;
    page.save(&out.join("plume.html"))?;
    match json {
        true => print.line(json!({
            "table": table.json(), "seconds_of_the_rest_of_a_step": advection, "largest_divergence": divergence,
        })),
        false => {
            print.line(table.text())?;
            print.line(out.join("plume.html").display())
        }
    }
}

fn map(values: &Array2<f64>, lengths: [f64; 2]) -> HeatMap {
    let map = HeatMap::field(values.view(), lengths, Quantity::Positive).label("smoke").limits(0.0, 1.0);
    HeatMap { nodes: [Nodes::Cells; 2], masked: true, y: Axis::new("z").limits(0.0, lengths[1]), ..map }
}
