//! Simulates the data set of a recipe.
//!
//! Purpose: a file with measured accuracy from a text of twenty lines; safe against a kill at any moment.
//! Command: `simulate datasets/ks_l22.toml`. Minutes: see `datasets/README.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use parseval::run::{self, Interrupt, Printer};
use parseval::simulate::{Options, Recipe, Report, Simulation, generate};
use parseval::{Error, Result};

/// Simulates the data set of a recipe and writes it to HDF5.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    /// Recipe, TOML.
    recipe: PathBuf,
    /// File to write [default: out/NAME.hdf5].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of samples, instead of the recipe's.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Seed, instead of the recipe's.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Overrides a value of the recipe, such as time.dt=0.01; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Goes on with a file that is there.
    #[arg(long)]
    resume: bool,
    /// Threads [default: all cores]; the result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Checks the recipe, prints it with all defaults, and ends.
    #[arg(long)]
    dry_run: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// No progress on standard error.
    #[arg(short, long)]
    quiet: bool,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 the run failed, 2 bad input, 130 interrupted (the file is kept).";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run::main(|printer| simulate(&arguments, printer))
}

fn simulate(arguments: &Arguments, printer: Printer) -> Result<()> {
    let mut overrides = arguments.set.clone();
    overrides.extend(arguments.samples.map(|n| format!("dataset.samples={n}")));
    overrides.extend(arguments.seed.map(|s| format!("dataset.seed={s}")));
    let recipe = Recipe::load(&arguments.recipe, &overrides)?;
    let folder = arguments.recipe.parent().unwrap_or(Path::new("."));
    let simulation = Simulation::new(recipe, folder)?;
    if arguments.dry_run {
        return printer.line(simulation.resolved().trim_end());
    }
    let name = format!("out/{}.hdf5", simulation.recipe().dataset.name);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(name));
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let interrupt = Interrupt::install()?;
    let threads = arguments.threads.map_or_else(run::cores, usize::from);
    let options = Options { threads, resume: arguments.resume, quiet: arguments.quiet, interrupt: &interrupt };
    let result = generate(&simulation, &out, &options);
    if let Err(Error::Interrupted { .. } | Error::BlowUp { .. }) = &result {
        printer.note(format_args!("{} is kept; to go on, repeat the command with --resume", out.display()));
    }
    report(&simulation, &out, &result?, arguments.json, printer)
}

fn report(simulation: &Simulation, out: &Path, report: &Report, json: bool, printer: Printer) -> Result<()> {
    let times = simulation.times();
    let last = times.len() - 1;
    if json {
        let accuracy = report.accuracy.iter().map(|(sample, accuracy)| {
            serde_json::json!({
                "sample": sample,
                "error_time": accuracy.time[last],
                "error_space": accuracy.space[last],
                "error_time_first_frame": accuracy.time[1],
                "error_space_first_frame": accuracy.space[1],
                "resolved_until": accuracy.horizon(&times),
            })
        });
        return printer.line(serde_json::json!({
            "file": out,
            "samples": report.samples,
            "computed": report.computed,
            "wall_seconds": report.wall_seconds,
            "steps_per_second": report.steps_per_second,
            "accuracy": accuracy.collect::<Vec<_>>(),
        }));
    }
    printer.line(format_args!(
        "{}: {} samples ({} computed now) in {:.1} s, {:.0} steps/s",
        out.display(),
        report.samples,
        report.computed,
        report.wall_seconds,
        report.steps_per_second
    ))?;
    for (sample, accuracy) in &report.accuracy {
        printer.line(format_args!(
            "sample {sample}: error at t = {} is {:.1e} in time, {:.1e} in space (first frame {:.1e}, {:.1e}); below 1e-3 until t = {}",
            times[last],
            accuracy.time[last],
            accuracy.space[last],
            accuracy.time[1],
            accuracy.space[1],
            accuracy.horizon(&times)
        ))?;
    }
    Ok(())
}
