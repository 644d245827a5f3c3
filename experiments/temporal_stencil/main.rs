//! Temporal stencil models: coarse solvers with learned fluxes, measured beside the classical ones.
//!
//! ```text
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/ks_32_history.toml --seeds 0..3
//! cargo run --release --bin temporal_stencil -- evaluate experiments/temporal_stencil/ks_32_history.toml
//! cargo run --release --bin temporal_stencil -- data experiments/temporal_stencil/li_16.toml
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/li_16.toml
//! cargo run --release --bin temporal_stencil -- evaluate experiments/temporal_stencil/li_16.toml --set evaluate.long=200
//! ```
//!
//! `case = "line"` (one dimension) or `case = "plane"` (two) heads a configuration. In two dimensions `[model]` is of the
//! kind `interpolation` or `correction`, `[[evaluate.flows]]` are other flows to be tested on, and `evaluate.long` is the
//! length of a free run whose energy and spectrum are compared with the truth's.
//!
//! With `data.source.files` the trajectories are those of files, such as `simulate` makes them:
//!
//! ```text
//! cargo run --release --bin simulate -- datasets/stencil_ks.toml
//! cargo run --release --bin temporal_stencil -- train experiments/temporal_stencil/ks_32.toml \
//!     --set data.source.files=out/stencil_ks.hdf5
//! ```

mod line;
mod plane;
mod runs;
mod tensors;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parseval::run;
use parseval::run::command::{Common, Request};
use parseval::{Error, Result};

/// Trains temporal stencil models and measures them beside the classical solvers.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 fine, 1 the run failed, 2 bad input, 130 interrupted (go on with --resume)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the trajectories of a plane case, from seeds or files; a line case needs no such step.
    Data {
        #[command(flatten)]
        common: Common,
    },
    /// Trains one model for each seed.
    Train {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        request: Request,
    },
    /// Prints and draws how long the trained models and the classical solvers follow the truth, and at what cost.
    Evaluate {
        #[command(flatten)]
        common: Common,
    },
}

/// The kind of case that a configuration names: `case = "line"`.
fn case_of(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::format(path, e.message()))?;
    match table.get("case").and_then(toml::Value::as_str) {
        Some(case) => Ok(case.to_owned()),
        None => Err(Error::format(path, "case: must be given; known cases: line, plane")),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| {
        let (Command::Data { common } | Command::Train { common, .. } | Command::Evaluate { common }) = &cli.command;
        let case = case_of(&common.config)?;
        match (case.as_str(), &cli.command) {
            ("line", Command::Data { .. }) => {
                Err(Error::parameter("case", case, "needs no such step: `train` makes or reads its trajectories"))
            }
            ("line", Command::Train { request, .. }) => line::train(common, request, print),
            ("line", Command::Evaluate { .. }) => line::evaluate(common, print),
            ("plane", Command::Data { .. }) => plane::make_data(common, print),
            ("plane", Command::Train { request, .. }) => plane::train(common, request, print),
            ("plane", Command::Evaluate { .. }) => plane::evaluate(common, print),
            _ => Err(Error::parameter("case", case, "must be one of: line, plane")),
        }
    })
}
