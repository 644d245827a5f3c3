//! Paired timing of one case: a run of ours, one of each peer, and again.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use ndarray::ArrayD;
use ndarray_npy::{read_npy, write_npy};
use parseval::field::Real;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cases::{Case, Run};
use crate::machine::cpu_seconds;
use crate::peer::Peer;

/// `"f32"` or `"f64"`.
pub type Precision = &'static str;

/// The timings of one side, in the order they were taken.
#[derive(Default, Serialize)]
pub struct Side {
    pub wall_us_per_step: Vec<f64>,
    pub cpu_us_per_step: Vec<f64>,
    pub mib: f64,
    /// Relative L2 distance of its result from ours.
    pub distance: f64,
    #[serde(skip)]
    pub result: ArrayD<f64>,
}

/// One case, measured.
#[derive(Serialize)]
pub struct Measured {
    /// Instruction set of ours.
    pub isa: String,
    pub ours: Side,
    /// One entry for each rival; none where the peer refused.
    pub rivals: Vec<Option<Side>>,
}

/// What ours is compared with: a server, and the order of its scheme.
#[derive(Clone, Copy)]
pub struct Rival {
    /// Index into the servers.
    pub peer: usize,
    pub order: usize,
}

/// How to measure.
pub struct Setup<'a> {
    pub precision: Precision,
    pub threads: usize,
    pub repeats: usize,
    /// Where fields are exchanged.
    pub folder: &'a Path,
}

/// Measures a case.
pub fn measure(case: &Case, setup: &Setup, peers: &mut [Peer], rivals: &[Rival]) -> Result<Measured> {
    let initial = case.initial()?;
    // Also the name under which a server keeps the field: one for each start.
    let initial_path = setup.folder.join(format!("{}.npy", case.label()));
    let final_path = setup.folder.join("final.npy");
    write_npy(&initial_path, &initial)?;
    let request = |order: usize| {
        json!({
            "case": case.name(), "n": case.n, "length": case.length, "batch": case.batch, "dt": case.dt,
            "steps": case.steps, "order": order, "precision": setup.precision, "initial": initial_path,
        })
    };

    let mut run = plan(case, &initial, setup)?;
    time(&mut *run)?; // the warm-up
    let mut ours = Side { mib: run.bytes() as f64 / 1048576.0, result: run.result(), ..Side::default() };

    let mut sides = Vec::new();
    for rival in rivals {
        let mut with_final = request(rival.order);
        with_final["final"] = json!(final_path);
        let side = start(&mut peers[rival.peer], &with_final, setup.precision, &final_path);
        sides.push(match side {
            Ok(side) => Some(Side { distance: distance(&side.result, &ours.result), ..side }),
            Err(error) => {
                eprintln!("{}: {error:#}", case.label());
                None
            }
        });
    }

    for _ in 0..setup.repeats {
        let (wall, cpu) = time(&mut *run)?;
        ours.wall_us_per_step.push(wall / case.steps as f64);
        ours.cpu_us_per_step.push(cpu / case.steps as f64);
        for (rival, side) in rivals.iter().zip(&mut sides) {
            if let Some(side) = side {
                let answer = peers[rival.peer].measure(&request(rival.order))?;
                side.wall_us_per_step.push(answer.wall_us_per_step);
                side.cpu_us_per_step.push(answer.cpu_us_per_step);
            }
        }
    }
    Ok(Measured { isa: format!("{:?}", run.isa()), ours, rivals: sides })
}

/// Plans our run in the precision of the setup.
pub fn plan(case: &Case, initial: &ArrayD<f64>, setup: &Setup) -> Result<Box<dyn Run>> {
    Ok(match setup.precision {
        "f32" => case.plan::<f32>(initial, setup.threads)?,
        _ => case.plan::<f64>(initial, setup.threads)?,
    })
}

/// The first run of a peer, which compiles: its result and memory, no timing.
fn start(peer: &mut Peer, request: &Value, precision: Precision, final_path: &Path) -> Result<Side> {
    let answer = peer.measure(request)?;
    let result = match precision {
        "f32" => read_npy::<_, ArrayD<f32>>(final_path).map(|u| u.mapv(f32::as_f64)),
        _ => read_npy::<_, ArrayD<f64>>(final_path),
    };
    Ok(Side { mib: answer.peak_mib, result: result.context("the peer's result")?, ..Side::default() })
}

/// Wall and processor time of one run, in microseconds.
fn time(run: &mut dyn Run) -> Result<(f64, f64)> {
    run.reset();
    // The peer's thread pool spins for a while after its turn, on the processor that a second thread of ours wants.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    run.run()?;
    Ok((wall.elapsed().as_secs_f64() * 1e6, (cpu_seconds() - cpu) * 1e6))
}

/// `|a - b| / |b|` in L2.
pub fn distance(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    let norm = |u: &ArrayD<f64>| u.iter().map(|x| x * x).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b)
}

/// Median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
