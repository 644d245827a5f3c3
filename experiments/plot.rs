//! Draws the figures of data sets.
//!
//! Purpose: one look at a file, at the quality of a journal. Command: `plot out/ks_l22.hdf5 --out out/plots`. Seconds.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use parseval::Result;
use parseval::data::Dataset;
use parseval::run::{self, Printer};
use parseval::simulate::figures::{Kind, draw};

/// Draws fields, spectra, invariants, errors and an animation of data sets, as PNG, SVG and GIF.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 fine, 1 the run failed, 2 bad input.")]
struct Arguments {
    /// Data sets, in any layout that can be read.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder for the figures.
    #[arg(long, value_name = "DIR", default_value = "out/plots")]
    out: PathBuf,
    /// What to draw: field, spectrum, invariants, errors, animation [default: all].
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = str::parse::<Kind>)]
    kind: Vec<Kind>,
    /// Draws the errors relative to this file instead of the measured ones.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run::main(|printer| plot(&arguments, printer))
}

fn plot(arguments: &Arguments, printer: Printer) -> Result<()> {
    let against = arguments.against.as_ref().map(|path| Dataset::open(path, None)).transpose()?;
    let kinds = if arguments.kind.is_empty() { Kind::ALL.to_vec() } else { arguments.kind.clone() };
    for path in &arguments.files {
        let data = Dataset::open(path, None)?;
        let written = draw(&data, &kinds, against.as_ref(), &arguments.out)?;
        written.iter().try_for_each(|figure| printer.line(figure.display()))?;
    }
    Ok(())
}
