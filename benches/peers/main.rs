//! Paired benchmark against exponax and jax-cfd: `cargo bench --bench peers -- --help`. README.md says what is compared.

mod accuracy;
mod cases;
mod machine;
mod measure;
mod peer;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::json;

use accuracy::PROBLEMS;
use cases::CASES;
use measure::{Rival, Setup, measure};
use peer::{PEERS, Peer, solves};
use report::Row;

/// Times the same work by ours and by the peers, in turns, on the same processors. Paths are relative to the package.
#[derive(Parser)]
struct Args {
    /// Python of benches/peers/setup.sh.
    #[arg(long, default_value = "target/peers-venv/bin/python")]
    python: PathBuf,
    /// Threads of both sides: 1, 2 or both.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Only what has this in its name, as in "ns2d 64^2 batch 16" or "accuracy kdv".
    #[arg(long, default_value = "")]
    only: String,
    /// Timings of each side, after a warm-up.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Where to write every timing.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the tables as in benches/README.md.
    #[arg(long)]
    markdown: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.repeats > 0, "--repeats must be at least 1");
    let processors = machine::processors();
    for &threads in &args.threads {
        ensure!(
            (1..=processors.len().min(2)).contains(&threads),
            "--threads {threads}: must be 1 or 2, of {} processors",
            processors.len()
        );
    }
    let about = machine::describe();
    let load = machine::load_average();
    let folder = tempfile::tempdir()?;
    let wanted = |label: &str| label.contains(&args.only);
    let (mut rows, mut levels, mut versions, mut references) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());

    for &threads in &args.threads {
        machine::pin(&processors[..threads]);
        for precision in ["f64", "f32"] {
            let accuracy_here = threads == args.threads[0] && precision == "f64";
            let problems: Vec<_> = PROBLEMS.iter().filter(|p| accuracy_here && wanted(&p.label())).collect();
            let cases: Vec<_> = CASES.iter().filter(|case| wanted(&case.label())).collect();
            if cases.is_empty() && problems.is_empty() {
                continue;
            }
            let mut peers = PEERS
                .iter()
                .map(|&peer| Peer::start(&args.python, peer, precision, threads))
                .collect::<Result<Vec<_>>>()?;
            versions = peers.iter().map(|peer| peer.versions.clone()).collect();
            let setup = Setup { precision, threads, repeats: args.repeats, folder: folder.path() };
            for case in cases {
                eprintln!("{} {precision}, threads {threads}", case.label());
                let solving = PEERS.iter().enumerate().filter(|(_, (name, _))| solves(name, case));
                let rivals: Vec<_> = solving.map(|(peer, _)| Rival { peer, order: 4 }).collect();
                rows.push(Row::new(case, precision, threads, measure(case, &setup, &mut peers, &rivals)?));
            }
            for problem in problems {
                eprintln!("{}", problem.label());
                let setup = Setup { repeats: args.repeats.min(3), ..setup };
                let (of_problem, error) = problem.run(&setup, &mut peers, 0)?;
                levels.extend(of_problem);
                references.push(format!("{} {error:.0e}", problem.equation.name()));
            }
        }
    }

    println!("{about}; load average {load} before, {} after", machine::load_average());
    if !rows.is_empty() {
        println!("\nMicroseconds a step, medians of {} paired runs:\n", args.repeats);
        println!("{}", report::cases(&rows, args.markdown));
    }
    if !levels.is_empty() {
        println!("\nAccuracy per cost in f64 (estimated errors of the references: {}):\n", references.join(", "));
        println!("{}", report::accuracy(&levels, args.markdown));
    }
    if let Some(path) = args.json {
        let everything = json!({
            "machine": about, "load_before": load, "load_after": machine::load_average(), "versions": versions,
            "cases": rows, "accuracy": levels, "accuracy_methods": accuracy::METHODS,
        });
        let text = serde_json::to_string_pretty(&everything)?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
