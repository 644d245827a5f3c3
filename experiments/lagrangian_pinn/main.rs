//! Physics-informed networks in moving coordinates beside the usual and the published form.
//!
//! ```text
//! cargo run --release --bin lagrangian_pinn -- train experiments/lagrangian_pinn/convection.toml --seeds 0..3
//! cargo run --release --bin lagrangian_pinn -- evaluate experiments/lagrangian_pinn/convection.toml
//! cargo run --release --bin lagrangian_pinn -- sweep experiments/lagrangian_pinn/convection.toml --speeds 0,10,30,100
//! cargo run --release --bin lagrangian_pinn -- landscape experiments/lagrangian_pinn/convection.toml
//! ```

mod config;
mod evaluate;
mod landscape;
mod problem;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use parseval::Result;
use parseval::run::command::{self, Common, Request, Trainings};
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::{self, Interrupt, Printer};

use config::{Config, Form, MAY_CHANGE};
use problem::Truth;

/// Trains physics-informed networks in moving coordinates, and measures them beside a spectral solver.
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
    /// Trains one network for each form of the equation and each seed.
    Train {
        #[command(flatten)]
        arguments: Arguments,
        #[command(flatten)]
        request: Request,
    },
    /// Prints and draws errors and costs of what was trained beside the spectral solver.
    Evaluate {
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Trains and measures at several speeds (means, for Burgers).
    Sweep {
        #[command(flatten)]
        arguments: Arguments,
        /// Speeds.
        #[arg(long, value_delimiter = ',', default_values_t = [0.0, 10.0, 30.0, 100.0])]
        speeds: Vec<f64>,
        /// Seeds.
        #[arg(long, default_value = "0")]
        seeds: Seeds,
    },
    /// Draws the loss around what was trained, in the plane of the two stiffest directions.
    Landscape {
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Writes the metrics of each run as metrics.csv and as a TensorBoard event file, into its folder.
    Export {
        #[command(flatten)]
        arguments: Arguments,
    },
}

#[derive(Args)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Only these forms of the equation [default: those of the configuration].
    #[arg(long, value_enum, value_delimiter = ',')]
    method: Vec<Form>,
}

/// A configuration with everything that the commands share.
pub struct Experiment {
    /// The configuration.
    pub config: Config,
    /// Folder of the runs.
    pub out: PathBuf,
    /// Threads.
    pub threads: usize,
    /// Results as JSON.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

impl Experiment {
    fn open(Arguments { common, method }: &Arguments) -> Result<Self> {
        let mut config = Config::load(&common.config, &common.set)?;
        if !method.is_empty() {
            config.methods.clone_from(method);
        }
        Ok(Self {
            out: common.folder(&config.name),
            threads: common.threads(),
            json: common.json,
            quiet: common.quiet,
            config,
        })
    }

    /// Folder of the runs of a form.
    pub fn folder(&self, form: Form) -> PathBuf {
        self.out.join(form.name())
    }

    /// The configuration of the runs of a form: the same whatever others are asked for beside it.
    pub fn resolved(&self, form: Form) -> Result<String> {
        Config { methods: vec![form], ..self.config.clone() }.to_toml()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(|print| match &cli.command {
        Command::Train { arguments, request } => {
            let experiment = Experiment::open(arguments)?;
            let interrupt = Interrupt::install()?;
            for form in &experiment.config.methods {
                train(&experiment, *form, &arguments.common.config, request, &interrupt, print)?;
            }
            evaluate::evaluate(&experiment, print)
        }
        Command::Evaluate { arguments } => evaluate::evaluate(&Experiment::open(arguments)?, print),
        Command::Sweep { arguments, speeds, seeds } => sweep(arguments, speeds, seeds, print),
        Command::Landscape { arguments } => landscape::landscape(&Experiment::open(arguments)?, print),
        Command::Export { arguments } => {
            let experiment = Experiment::open(arguments)?;
            for &form in &experiment.config.methods {
                command::export(evaluate::trained(&experiment, form)?.iter().map(|(_, run, _)| run), print)?;
            }
            Ok(())
        }
    })
}

fn train(
    experiment: &Experiment,
    form: Form,
    path: &Path,
    request: &Request,
    interrupt: &Interrupt,
    print: Printer,
) -> Result<Ensemble> {
    let Experiment { config, out, threads, quiet, .. } = experiment;
    let truth = Truth::new(config)?;
    let (name, file) = (form.name(), path.display());
    let trainings = Trainings {
        request,
        out: &experiment.folder(form),
        config: &experiment.resolved(form)?,
        may_change: MAY_CHANGE,
        schedule: &config.schedule(form),
        best: None,
        command: &format!("lagrangian_pinn train {file} --method {name} --out {}", out.display()),
        quiet: *quiet,
    };
    let new = |seed| train::Training::new(config, form, seed, *threads);
    trainings.run(interrupt, print, new, |method, _, summary| {
        let march = method.march();
        let error = if march.is_done() { truth.measure(march.solution(), print).0 } else { f64::NAN };
        let mut numbers = vec![("relative L2".to_owned(), error), ("parameters".to_owned(), march.parameters() as f64)];
        numbers.extend(summary.metrics.iter().filter(|(name, _)| name == "train/residual").cloned());
        Ok(numbers)
    })
}

/// Trains at several speeds, each in a folder of its own, and prints one table.
fn sweep(arguments: &Arguments, speeds: &[f64], seeds: &Seeds, print: Printer) -> Result<()> {
    let request = Request { seeds: seeds.clone(), resume: true, max_wall: None };
    let mut table =
        run::table::Table::new("relative L2 error over the speed", &["speed", "form", "error", "train [s]"]);
    let interrupt = Interrupt::install()?;
    for &speed in speeds {
        let mut experiment = Experiment::open(arguments)?;
        experiment.config.problem = experiment.config.problem.at_speed(speed)?;
        experiment.out = experiment.out.join(format!("speed-{speed}"));
        for &form in &experiment.config.methods {
            let ensemble = train(&experiment, form, &arguments.common.config, &request, &interrupt, print)?;
            let of = |name: &str| {
                let found = ensemble.statistics().into_iter().find(|(n, _)| n == name);
                found.map_or(run::table::Cell::Empty, |(_, s)| s.cell())
            };
            table.row([speed.into(), form.name().into(), of("relative L2"), of("seconds")])?;
        }
    }
    match arguments.common.json {
        true => print.line(table.json()),
        false => print.line(table.text()),
    }
}
