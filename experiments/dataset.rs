//! Looks into data sets, checks, converts and compares them.
//!
//! Purpose: to trust a file before training on it. Command: `dataset check out/ks_l22.hdf5`. Seconds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use parseval::data::check::{Severity, check};
use parseval::data::convert::convert;
use parseval::data::diff::diff;
use parseval::data::{Dataset, Layout, OpenOptions};
use parseval::run::{self, Printer, Progress};
use parseval::{Error, Result};
use serde_json::json;

/// Looks into data sets, checks, converts and compares them.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 fine, 1 the run failed or files differ, 2 bad input or a file that fails its check."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what a file holds, where it comes from and how accurate it is.
    Info {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        reading: Reading,
        /// Prints JSON, a line a file.
        #[arg(long)]
        json: bool,
    },
    /// Checks a file against its format and reads every number.
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        reading: Reading,
        /// Prints JSON, a line a file.
        #[arg(long)]
        json: bool,
    },
    /// Copies any readable layout into the toolkit's own; a repeated call resumes.
    Convert {
        /// File to read.
        input: PathBuf,
        /// File to write.
        output: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// No progress on standard error.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Compares two files, relative to the first.
    Diff {
        /// Reference.
        a: PathBuf,
        /// File to compare with it.
        b: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// Largest relative L2 difference that passes.
        #[arg(long, value_name = "E", default_value_t = 0.0)]
        tolerance: f64,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a file may leave open.
#[derive(Args)]
struct Reading {
    /// Layout: well, pdebench, matlab, netcdf or npy [default: detected].
    #[arg(long, value_name = "LAYOUT", value_parser = str::parse::<Layout>)]
    layout: Option<Layout>,
    /// Period of each axis, for files without coordinates.
    #[arg(long, value_name = "L", value_delimiter = ',')]
    extent: Option<Vec<f64>>,
    /// Time between frames, for files without times.
    #[arg(long, value_name = "DT")]
    dt: Option<f64>,
}

impl Reading {
    fn options(&self) -> OpenOptions {
        OpenOptions { layout: self.layout, extent: self.extent.clone(), dt: self.dt }
    }

    fn open(&self, path: &Path) -> Result<Dataset> {
        Dataset::open_with(path, &self.options())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run::main(|printer| match &arguments.command {
        Command::Info { files, reading, json } => {
            files.iter().try_for_each(|f| info(&reading.open(f)?, *json, printer))
        }
        Command::Check { files, reading, json } => check_all(files, reading, *json, printer),
        Command::Convert { input, output, reading, quiet } => {
            convert_one(&reading.open(input)?, output, *quiet, printer)
        }
        Command::Diff { a, b, reading, tolerance, json } => {
            compare(&reading.open(a)?, &reading.open(b)?, *tolerance, *json, printer)
        }
    })
}

fn info(data: &Dataset, json: bool, printer: Printer) -> Result<()> {
    let complete = data.complete().iter().filter(|c| **c).count();
    let (times, grid) = (data.times(), data.grid());
    let attribute = |name: &str| data.attributes().get(name).and_then(|a| a.as_text()).unwrap_or_default().to_owned();
    let provenance = data.provenance();
    let curves = data.error_curves();
    let last = times.len() - 1;
    if json {
        let fields = data.fields().iter().map(|f| {
            json!({"name": f.name, "rank": f.rank, "channels": f.channels, "units": f.units(),
                   "precision": if f.is_f32 { "f32" } else { "f64" }})
        });
        let errors = curves.iter().map(|c| json!({"sample": c.sample, "time": c.time[last], "space": c.space[last]}));
        return printer.line(json!({
            "file": data.path(), "layout": data.layout().name(), "name": data.name(), "title": attribute("title"),
            "equation": attribute("equation"), "parameters": data.parameters(), "samples": data.samples(),
            "complete": complete, "frames": times.len(), "times": [times[0], times[last]], "n": grid.shape(),
            "length": grid.lengths(), "fields": fields.collect::<Vec<_>>(), "errors": errors.collect::<Vec<_>>(),
            "warnings": data.warnings(), "recipe": provenance.map(|p| p.config_toml),
        }));
    }
    let line = |name: &str, text: String| {
        if text.is_empty() { Ok(()) } else { printer.line(format_args!("{name:<11}{text}")) }
    };
    printer.line(data.path().display())?;
    line("layout", data.layout().name().to_owned())?;
    line("name", data.name().to_owned())?;
    line("title", attribute("title"))?;
    line("equation", attribute("equation"))?;
    line("parameters", data.parameters().iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", "))?;
    line("samples", format!("{} ({complete} complete)", data.samples()))?;
    line("times", format!("{} frames, {} to {}", times.len(), times[0], times[last]))?;
    line("grid", format!("{:?} points on {:?}", grid.shape(), grid.lengths()))?;
    for field in data.fields() {
        let rank = ["scalar", "vector", "matrix"].get(field.rank).copied().unwrap_or("tensor");
        let precision = if field.is_f32 { "f32" } else { "f64" };
        line(
            "field",
            format!("{}: {rank}, {} channel(s), {precision}, units {}", field.name, field.channels, field.units()),
        )?;
    }
    for c in curves {
        let (sample, time, space) = (c.sample, c.time[last], c.space[last]);
        line("error", format!("sample {sample} at t = {}: {time:.1e} in time, {space:.1e} in space", times[last]))?;
    }
    if let Some(p) = provenance {
        line("made by", format!("{} ({}), {}, seed {}", p.generator, p.started_utc, p.solver, p.seed))?;
    }
    data.warnings().iter().try_for_each(|w| line("warning", w.clone()))
}

fn check_all(files: &[PathBuf], reading: &Reading, json: bool, printer: Printer) -> Result<()> {
    let mut broken = Vec::new();
    for path in files {
        let findings = check(path, &reading.options())?;
        let is_sound = findings.iter().all(|f| f.severity != Severity::Error);
        if json {
            let texts: Vec<_> = findings.iter().map(|f| f.to_string()).collect();
            printer.line(json!({"file": path, "sound": is_sound, "findings": texts}))?;
        } else {
            findings.iter().try_for_each(|f| printer.line(format_args!("{}: {f}", path.display())))?;
            printer.line(format_args!("{}: {}", path.display(), if is_sound { "sound" } else { "not sound" }))?;
        }
        if !is_sound {
            broken.push(path);
        }
    }
    match broken.first() {
        None => Ok(()),
        Some(path) => Err(Error::format(*path, format!("{} of {} files are not sound", broken.len(), files.len()))),
    }
}

fn convert_one(data: &Dataset, output: &Path, quiet: bool, printer: Printer) -> Result<()> {
    let progress = Progress::new(data.samples() as u64, "samples", quiet);
    convert(data, output, |_| {}, |_| progress.advance(1))?;
    progress.finish();
    printer.line(format_args!("{}: {} samples in {:.1} s", output.display(), data.samples(), progress.seconds()))
}

fn compare(a: &Dataset, b: &Dataset, tolerance: f64, json: bool, printer: Printer) -> Result<()> {
    let difference = diff(a, b)?;
    let mut worst = 0.0f64;
    let mut fields = Vec::new();
    for field in &difference.fields {
        let (at, relative) = largest(&field.relative_l2);
        let (_, max) = largest(&field.max);
        worst = if relative > worst || relative.is_nan() { relative } else { worst };
        fields.push(json!({"name": field.name, "relative_l2": relative, "at": difference.times[at], "max": max}));
        if !json {
            let t = difference.times[at];
            printer.line(format_args!("{}: relative L2 {relative:.3e} at t = {t}, max {max:.3e}", field.name))?;
        }
    }
    if json {
        printer.line(json!({"fields": fields, "only_in_one": difference.only_in_one}))?;
    } else {
        difference.only_in_one.iter().try_for_each(|name| printer.line(format_args!("{name}: in one file only")))?;
    }
    if worst <= tolerance && difference.only_in_one.is_empty() {
        return Ok(());
    }
    Err(Error::Differ { what: "the files".into(), difference: worst, tolerance })
}

/// Where and how large the largest value is; a NaN counts as largest.
fn largest(values: &[f64]) -> (usize, f64) {
    let start = (0, values[0]);
    values.iter().enumerate().fold(start, |(at, max), (i, &v)| if v > max || v.is_nan() { (i, v) } else { (at, max) })
}
