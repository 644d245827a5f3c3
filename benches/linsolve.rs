//! Linear solvers on the test scenes: `cargo bench --bench linsolve [-- --size 64 --threads 2 --tolerance 1e-8]`.
//!
//! One line a scene and method: iterations to 1e-4, 1e-6 and the tolerance, seconds of set-up, wall and processor seconds of the solve
//! (best of the repeats), true residual, bytes a cell. `--scene sphere` and `--method multigrid` narrow it, `--size` may be
//! given twice. `--networks` times the networks of the deep conjugate directions instead. `--peer PYTHON` also runs pyamg, in an
//! interpreter that has it, and `--amgcl PROGRAM` AMGCL (`AMGCL=1 benches/peers/setup.sh` builds the program), on the same
//! matrices.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Array1;
use parseval::autodiff::Parameters;
use parseval::linsolve::{
    DeepDirection, Depth, Direction, Matrix, Method, Network, Operator, Options, Poisson, PoissonSolver, Report,
    Scaling, Scene, Solver, source,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Seconds of processor time of this process.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

struct Arguments {
    sizes: Vec<usize>,
    threads: usize,
    tolerance: f64,
    repeats: usize,
    scene: Option<String>,
    method: Option<String>,
    peer: Option<String>,
    amgcl: Option<String>,
    networks: bool,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut a = Arguments {
        sizes: Vec::new(),
        threads: 2,
        tolerance: 1e-8,
        repeats: 3,
        scene: None,
        method: None,
        peer: None,
        amgcl: None,
        networks: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| anyhow::anyhow!("{word} needs a value"));
        match word.as_str() {
            "--bench" => {}
            "--size" => a.sizes.push(value()?.parse()?),
            "--threads" => a.threads = value()?.parse()?,
            "--tolerance" => a.tolerance = value()?.parse()?,
            "--repeats" => a.repeats = value()?.parse()?,
            "--scene" => a.scene = Some(value()?),
            "--method" => a.method = Some(value()?),
            "--networks" => a.networks = true,
            "--peer" => a.peer = Some(value()?),
            "--amgcl" => a.amgcl = Some(value()?),
            _ => anyhow::bail!("unknown argument {word}"),
        }
    }
    if a.sizes.is_empty() {
        a.sizes = vec![64, 128];
    }
    Ok(a)
}

fn print(scene: Scene, size: usize, name: &str, report: &Report, wall: f64, cpu: f64, cells: usize) {
    let to = |r: f64| report.iterations_to(r).map_or("-".into(), |i| i.to_string());
    println!(
        "| {:<10} | {size:>3} | {name:<20} | {:>4} / {:>4} / {:>4} | {:>8.4} | {wall:>8.4} | {cpu:>8.4} | {:>8.1e} | {:>4} |",
        scene.name(),
        to(1e-4),
        to(1e-6),
        report.iterations,
        report.setup_seconds,
        report.relative_residual,
        report.bytes / cells,
    );
}

/// Writes the matrix of the unknowns in compressed rows, and the right-hand side, as `.npy` files.
fn write_matrix(problem: &Poisson, b: &[f64], directory: &Path) -> anyhow::Result<()> {
    let Matrix { cells, pointers, columns, values } = problem.matrix();
    let mut projected = b.to_vec();
    problem.project(&mut projected);
    let b: Array1<f64> = cells.iter().map(|&c| projected[c as usize]).collect();
    let integers = |values: &mut dyn Iterator<Item = usize>| values.map(|v| v as i32).collect::<Array1<i32>>();
    ndarray_npy::write_npy(directory.join("data.npy"), &Array1::from(values))?;
    ndarray_npy::write_npy(directory.join("indices.npy"), &integers(&mut columns.iter().map(|&c| c as usize)))?;
    ndarray_npy::write_npy(directory.join("indptr.npy"), &integers(&mut pointers.into_iter()))?;
    ndarray_npy::write_npy(directory.join("b.npy"), &b)?;
    Ok(())
}

/// Speed of the networks of the deep conjugate directions, with initial weights.
fn networks(a: &Arguments) -> anyhow::Result<()> {
    println!("| network | n | wall | cpu | GFLOP/s of wall | of cpu, a thread |");
    for &n in &a.sizes {
        let problem = Scene::OpenBox.problem(&[n; 3])?;
        let options = Options { threads: a.threads, ..Options::default() };
        for depth in [Depth::Model64, Depth::Model128] {
            let mut parameters = Parameters::new();
            Network::new(depth, &mut parameters, &mut ChaCha8Rng::seed_from_u64(0));
            let mut deep = DeepDirection::new(depth, Scaling::Norm, &parameters, &problem, &options)?;
            let (r, mut q) = (source(&[n; 3]), vec![0.0; n * n * n]);
            let (mut wall, mut cpu) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..a.repeats {
                let (start, start_cpu) = (Instant::now(), cpu_seconds());
                deep.direction(&r, &mut q);
                cpu = cpu.min(cpu_seconds() - start_cpu);
                wall = wall.min(start.elapsed().as_secs_f64());
            }
            let work = 1e-9 * depth.flops() * problem.cells() as f64;
            println!("| {depth:?} | {n} | {wall:.4} | {cpu:.4} | {:.0} | {:.0} |", work / wall, work / cpu);
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let a = arguments()?;
    if a.networks {
        return networks(&a);
    }
    let methods = [
        ("multigrid", Method::Multigrid),
        ("flexible multigrid", Method::FlexibleMultigrid),
        ("direct", Method::Direct),
        ("MIC(0)", Method::IncompleteCholesky),
        ("deflated", Method::Deflated),
        ("Jacobi", Method::Jacobi),
        ("CG", Method::Cg),
    ];
    println!("tolerance {:e}, {} threads; seconds, best of up to {}", a.tolerance, a.threads, a.repeats);
    println!(
        "| scene      |   n | method               | 1e-4 / 1e-6 /  all | set-up   | wall     | cpu      | residual | B/cell |"
    );
    for &size in &a.sizes {
        for scene in Scene::ALL.into_iter().filter(|s| a.scene.as_ref().is_none_or(|name| s.name() == name)) {
            let shape = [size; 3];
            let problem = Arc::new(scene.problem(&shape)?);
            let b = source(&shape);
            for (name, method) in &methods {
                if a.method.as_ref().is_some_and(|m| m != name) {
                    continue;
                }
                let options = Options { threads: a.threads, relative: a.tolerance, ..Options::default() };
                // The direct method refuses what is no box.
                let Ok(mut solver) = PoissonSolver::plan(problem.clone(), method.clone(), &options) else {
                    continue;
                };
                let (mut wall, mut cpu, mut report) = (f64::INFINITY, f64::INFINITY, None);
                for _ in 0..a.repeats {
                    let mut x = vec![0.0; problem.cells()];
                    let start = cpu_seconds();
                    let done = solver.solve(&b, &mut x)?.clone();
                    cpu = cpu.min(cpu_seconds() - start);
                    wall = wall.min(done.solve_seconds);
                    let is_slow = done.solve_seconds > 2.0;
                    report = Some(done);
                    if is_slow {
                        break;
                    }
                }
                if let Some(report) = report {
                    print(scene, size, name, &report, wall, cpu, problem.cells());
                }
            }
            if a.peer.is_some() || a.amgcl.is_some() {
                let directory = tempfile::tempdir()?;
                write_matrix(&problem, &b, directory.path())?;
                let label = format!("{:<10} | {size:>3}", scene.name());
                let tolerance = a.tolerance.to_string();
                let run = |command: &mut Command| {
                    command
                        .arg(directory.path())
                        .args([&label, &tolerance])
                        .env("OMP_NUM_THREADS", a.threads.to_string())
                        .status()
                };
                if let Some(python) = &a.peer {
                    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/pyamg_cases.py");
                    run(Command::new(python).arg(script))?;
                }
                if let Some(program) = &a.amgcl {
                    run(&mut Command::new(program))?;
                }
            }
        }
    }
    Ok(())
}
