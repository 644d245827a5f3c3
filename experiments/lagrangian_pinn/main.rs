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
use parseval::run::seeds::{Ensemble, Seeds};
use parseval::run::training::{self, Stop};
use parseval::run::{self, Interrupt, Printer, RunDirectory, metrics, tensorboard};

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
        common: Common,
        /// Seeds, such as 0,1,2 or 0..3.
        #[arg(long, default_value = "0")]
        seeds: Seeds,
        /// Goes on with runs that are there.
        #[arg(long)]
        resume: bool,
        /// Stops and saves after this time, such as 1h30m.
        #[arg(long, value_name = "TIME")]
        max_wall: Option<String>,
    },
    /// Prints and draws errors and costs of what was trained beside the spectral solver.
    Evaluate {
        #[command(flatten)]
        common: Common,
    },
    /// Trains and measures at several speeds (means, for Burgers).
    Sweep {
        #[command(flatten)]
        common: Common,
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
        common: Common,
    },
    /// Writes the metrics of each run as metrics.csv and as a TensorBoard event file, into its folder.
    Export {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// Configuration, TOML.
    config: PathBuf,
    /// Folder of the runs [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overrides a value, such as march.steps=100; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only these forms of the equation [default: those of the configuration].
    #[arg(long, value_enum, value_delimiter = ',')]
    method: Vec<Form>,
    /// Threads [default: all cores]; the result does not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints results as JSON.
    #[arg(long)]
    json: bool,
    /// No progress on standard error.
    #[arg(short, long)]
    quiet: bool,
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
    fn open(common: &Common) -> Result<Self> {
        let mut config = Config::load(&common.config, &common.set)?;
        if !common.method.is_empty() {
            config.methods.clone_from(&common.method);
        }
        Ok(Self {
            out: common.out.clone().unwrap_or_else(|| Path::new("runs").join(&config.name)),
            threads: common.threads.unwrap_or_else(run::cores),
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
        Command::Train { common, seeds, resume, max_wall } => {
            let limit = max_wall.as_deref().map(run::duration).transpose()?;
            let experiment = Experiment::open(common)?;
            let interrupt = Interrupt::install()?;
            for form in &experiment.config.methods {
                train(&experiment, *form, &common.config, seeds, *resume, (limit, &interrupt), print)?;
            }
            evaluate::evaluate(&experiment, print)
        }
        Command::Evaluate { common } => evaluate::evaluate(&Experiment::open(common)?, print),
        Command::Sweep { common, speeds, seeds } => sweep(common, speeds, seeds, print),
        Command::Landscape { common } => landscape::landscape(&Experiment::open(common)?, print),
        Command::Export { common } => export(&Experiment::open(common)?, print),
    })
}

fn train(
    experiment: &Experiment,
    form: Form,
    path: &Path,
    seeds: &Seeds,
    resume: bool,
    (max_wall, interrupt): (Option<std::time::Duration>, &Interrupt),
    print: Printer,
) -> Result<Ensemble> {
    let Experiment { config, threads, quiet, .. } = experiment;
    let resolved = experiment.resolved(form)?;
    let truth = Truth::new(config)?;
    let options = training::Options {
        max_wall,
        continue_with: Some(format!(
            "lagrangian_pinn train {} --method {} --out {} --resume",
            path.display(),
            form.name(),
            experiment.out.display()
        )),
        quiet: *quiet,
        ..training::Options::default()
    };
    Ensemble::gather(seeds, &experiment.folder(form), |seed, folder| {
        let run = match resume {
            true => RunDirectory::open(folder, &resolved, MAY_CHANGE)?,
            false => RunDirectory::create(folder, &resolved, MAY_CHANGE)?,
        };
        let mut method = train::Training::new(config, form, seed, *threads)?;
        let summary = training::train(&mut method, &run, &config.schedule(form), &options, interrupt)?;
        if summary.stop == Stop::WallLimit {
            print.note(format_args!("seed {seed}: time is up after {} of {} steps", summary.step, summary.steps));
        }
        let march = method.march();
        let mut numbers = vec![
            (
                "relative L2".to_owned(),
                if march.is_done() { truth.measure(march.solution(), print).0 } else { f64::NAN },
            ),
            ("seconds".to_owned(), summary.seconds),
            ("parameters".to_owned(), march.parameters() as f64),
        ];
        numbers.extend(summary.metrics.iter().filter(|(name, _)| name == "train/residual").cloned());
        Ok(numbers)
    })
}

/// Trains at several speeds, each in a folder of its own, and prints one table.
fn sweep(common: &Common, speeds: &[f64], seeds: &Seeds, print: Printer) -> Result<()> {
    let mut table =
        run::table::Table::new("relative L2 error over the speed", &["speed", "form", "error", "train [s]"]);
    let interrupt = Interrupt::install()?;
    for &speed in speeds {
        let mut experiment = Experiment::open(common)?;
        experiment.config.problem = experiment.config.problem.at_speed(speed)?;
        experiment.out = experiment.out.join(format!("speed-{speed}"));
        for &form in &experiment.config.methods {
            let ensemble = train(&experiment, form, &common.config, seeds, true, (None, &interrupt), print)?;
            let of = |name: &str| {
                let found = ensemble.statistics().into_iter().find(|(n, _)| n == name);
                found.map_or(run::table::Cell::Empty, |(_, s)| s.cell())
            };
            table.row([speed.into(), form.name().into(), of("relative L2"), of("seconds")])?;
        }
    }
    match common.json {
        true => print.line(table.json()),
        false => print.line(table.text()),
    }
}

fn export(experiment: &Experiment, print: Printer) -> Result<()> {
    for &form in &experiment.config.methods {
        for (_, run, _) in evaluate::trained(experiment, form)? {
            let records = metrics::read(&run.metrics())?;
            let path = run.path().join("metrics.csv");
            std::fs::write(&path, metrics::to_csv(&records)).map_err(|e| parseval::Error::io(&path, e))?;
            print.line(path.display())?;
            let created = std::fs::metadata(run.path().join("config.toml")).and_then(|m| m.modified());
            let started = created.ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            let started = started.map_or(0.0, |t| t.as_secs_f64());
            print.line(tensorboard::export(&records, started, &run.path().join("tensorboard"))?.display())?;
        }
    }
    Ok(())
}
