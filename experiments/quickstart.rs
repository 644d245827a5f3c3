//! Three equations, from a recipe to a figure.
//!
//! Purpose: the whole path once: simulate, write HDF5, check, draw. Command: `cargo run --release`. Less than a minute on
//! two cores; the expected numbers are in `experiments/README.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use parseval::data::check::{Severity, check};
use parseval::data::{Dataset, OpenOptions};
use parseval::initial::{Kdv, Soliton};
use parseval::run::{self, Interrupt, Printer};
use parseval::simulate::figures::{Kind, draw};
use parseval::simulate::{Initial, Options, Recipe, Simulation, generate};
use parseval::{Error, Result};

/// Simulates Kuramoto-Sivashinsky, Korteweg-de Vries and Kolmogorov flow, checks the files and draws them.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 fine, 1 the run failed, 2 bad input, 130 interrupted.")]
struct Arguments {
    /// Folder for the files; those of an earlier quickstart are replaced.
    #[arg(long, value_name = "DIR", default_value = "out/quickstart")]
    out: PathBuf,
    /// No progress on standard error.
    #[arg(short, long)]
    quiet: bool,
}

const RECIPES: [&str; 3] = [
    include_str!("../datasets/small/ks_l22.toml"),
    include_str!("../datasets/small/kdv_solitons.toml"),
    include_str!("../datasets/small/ns_kolmogorov_re1000.toml"),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run::main(|printer| quickstart(&arguments, printer))
}

fn quickstart(arguments: &Arguments, printer: Printer) -> Result<()> {
    let start = Instant::now();
    let interrupt = Interrupt::install()?;
    let options = Options { threads: run::cores(), resume: false, quiet: arguments.quiet, interrupt: &interrupt };
    std::fs::create_dir_all(&arguments.out).map_err(|e| Error::io(&arguments.out, e))?;
    for recipe in RECIPES {
        let simulation = Simulation::new(Recipe::parse(recipe, &[])?, Path::new("."))?;
        one(&simulation, &arguments.out, &options, printer)?;
    }
    printer.line(format_args!("{:.1} s in all on {} threads", start.elapsed().as_secs_f64(), options.threads))
}

/// From a recipe to a figure.
fn one(simulation: &Simulation, folder: &Path, options: &Options, printer: Printer) -> Result<()> {
    let dataset = &simulation.recipe().dataset;
    let path = folder.join(format!("{}.hdf5", dataset.name));
    if path.exists() {
        std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
    }
    let report = generate(simulation, &path, options)?;
    let data = Dataset::open(&path, None)?;
    let times = simulation.times();
    let (frames, grid) = (times.len(), data.grid().shape());
    printer.line(&dataset.title)?;
    printer.line(format_args!(
        "  wrote    {}, {} sample(s) of {frames} frames on {grid:?}",
        path.display(),
        report.samples
    ))?;
    let rate = report.steps_per_second;
    printer.line(format_args!("  speed    {rate:.0} steps/s, {:.1} s with accuracy", report.wall_seconds))?;
    for (_, accuracy) in &report.accuracy {
        let [time, space] = [&accuracy.time, &accuracy.space].map(|e| e[frames - 1]);
        let until = accuracy.horizon(&times);
        printer
            .line(format_args!("  error    {time:.1e} in time, {space:.1e} in space at t = {}", times[frames - 1]))?;
        printer.line(format_args!("           below 1e-3 until t = {until}"))?;
    }
    if let Initial::Solitons { solitons } = &simulation.recipe().initial {
        let error = soliton_error(simulation, solitons, &data)?;
        printer.line(format_args!("  error    {error:.1e} against the exact solution at t = {}", times[frames - 1]))?;
    }
    let findings = check(&path, &OpenOptions::default())?;
    findings.iter().try_for_each(|finding| printer.line(format_args!("  {finding}")))?;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Error::format(&path, "fails its own check"));
    }
    printer.line("  check    sound")?;
    let figures = draw(&data, &Kind::ALL, None, folder)?;
    let names: Vec<_> = figures.iter().filter(|f| f.extension().is_some_and(|e| e != "svg")).collect();
    names.iter().try_for_each(|figure| printer.line(format_args!("  figure   {}", figure.display())))
}

/// Relative L2 error of the last frame.
fn soliton_error(simulation: &Simulation, solitons: &[Soliton], data: &Dataset) -> Result<f64> {
    let parameters = data.parameters();
    let kdv = Kdv { a: parameters["a"], b: parameters["b"] };
    let frames = data.times().len();
    let u = data.read::<f64>("u", 0, frames - 1..frames, 1)?;
    let exact = kdv.solitons(&simulation.stored_grid()?, solitons, data.times()[frames - 1])?;
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = square(&mut u.iter().zip(&exact).map(|(u, e)| u - e));
    Ok((difference / square(&mut exact.iter().copied())).sqrt())
}
