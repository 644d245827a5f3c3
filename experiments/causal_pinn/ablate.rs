//! `causal_pinn ablate`: which ingredient is worth what.

use std::time::Instant;

use parseval::optim::{Damping, Factorization, GaussNewtonOptions, Scaling};
use parseval::pinn::{Architecture, CausalMarch, Features, Lifting, March, Marching, NOTICE, Parity, Solution, Train};
use parseval::run::seeds::{Seeds, Statistics};
use parseval::run::table::{Cell, Table};
use parseval::run::{Interrupt, Printer, Progress, seed};
use parseval::{Error, Result};

use crate::Experiment;
use crate::config::Config;
use crate::evaluate::references;
use crate::train::end;

/// What is changed: a name, and the change; `None` is the published method.
type Variant = (&'static str, Option<fn(&mut Config)>);

/// One ingredient at a time, with the same number of points and Gauss-Newton steps in all.
const VARIANTS: &[Variant] = &[
    ("as configured", Some(|_| {})),
    ("initial state without semigroup (u_0 + t N)", Some(|c| c.ansatz.lifting = Lifting::State)),
    ("semigroup alone (S u_0 + t N)", Some(|c| c.ansatz.lifting = Lifting::Semigroup)),
    ("exponential Euler (+ t phi_1 F + t^2 N)", Some(|c| c.ansatz.lifting = Lifting::Exponential)),
    ("initial state by penalty", Some(|c| c.ansatz.lifting = Lifting::None)),
    ("no parity", Some(|c| c.ansatz.parity = Parity::None)),
    ("one window", Some(one_window)),
    ("cold start of windows", Some(|c| c.march.warm_start = false)),
    ("even points", Some(|c| c.march.adaptive = 0.0)),
    ("fixed points", Some(|c| c.march.redraw = 0)),
    ("four fronts a window", Some(|c| c.march.fronts = 4)),
    ("damping by Nielsen", Some(|c| c.march.optimizer.damping = Damping::Nielsen)),
    ("normal equations only", Some(|c| c.march.optimizer.factorization = Factorization::Normal)),
    ("last layer of 300 random features, 8 steps a window", Some(last_layer)),
    ("published: causal weights, Adam", None),
];

fn one_window(config: &mut Config) {
    config.march.steps *= config.march.windows().len();
    config.march.splits = 1;
    config.march.ends.drain(..config.march.ends.len() - 1);
}

fn last_layer(config: &mut Config) {
    config.network = Architecture { width: 300, depth: 1, modes: 4, scale: 5.0, ..config.network };
    config.march.optimizer = GaussNewtonOptions {
        damping: Damping::Nielsen,
        factorization: Factorization::Qr,
        scaling: Scaling::Columns,
        first_damping: 1e-24,
        ..config.march.optimizer
    };
    let (train, features) = (Train::LastLayer, Features::Uniform);
    config.march = Marching { train, features, warm_start: false, steps: 8, redraw: 0, ..config.march.clone() };
}

pub fn ablate(experiment: &Experiment, seeds: &Seeds, print: Printer) -> Result<()> {
    let Experiment { config, out, threads, quiet, .. } = experiment;
    print.note(NOTICE);
    let (reference, _) = references(config)?;
    let interrupt = Interrupt::install()?;
    let title = format!("{}: one ingredient changed at a time, {} seeds", config.name, seeds.0.len());
    let mut table = Table::new(title, &["variant", "relative L2", "seconds to train"]);
    let total = VARIANTS.len() * seeds.0.len();
    let progress = Progress::new(total as u64, "trainings", *quiet);
    let mut done = 0;
    for (name, change) in VARIANTS {
        let (mut errors, mut seconds) = (Vec::new(), Vec::new());
        for &run_seed in &seeds.0 {
            let mut variant = config.clone();
            change.iter().for_each(|change| change(&mut variant));
            let started = Instant::now();
            let keep_on = || match interrupt.is_set() {
                true => Err(Error::Interrupted { done, total, unit: "trainings" }),
                false => Ok(()),
            };
            let seed = seed::derive(run_seed, "parameters", 0);
            let solution = solve(&variant, change.is_some(), seed, *threads, keep_on)?;
            seconds.push(started.elapsed().as_secs_f64());
            errors.push(reference.error(&reference.of(&solution)?).0);
            done += 1;
            progress.advance(1);
        }
        table.row([Cell::from(*name), Statistics::of(&errors).cell(), Statistics::of(&seconds).cell()])?;
    }
    progress.finish();
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let path = out.join("ablation.json");
    std::fs::write(&path, format!("{:#}\n", table.json())).map_err(|e| Error::io(&path, e))?;
    match experiment.json {
        true => print.line(table.json()),
        false => print.line(table.text()),
    }
}

fn solve(config: &Config, ours: bool, seed: u64, threads: usize, keep_on: impl Fn() -> Result<()>) -> Result<Solution> {
    let problem = config.problem()?;
    if ours {
        let mut march = March::new(&problem, &config.march, seed, threads)?;
        while march.step()?.is_some() {
            keep_on()?;
        }
        return Ok(march.solution().clone());
    }
    let mut march = CausalMarch::<f32>::new(&problem, &config.causal, end(config), seed, threads)?;
    while march.step()?.is_some() {
        keep_on()?;
    }
    Ok(march.solution().clone())
}
