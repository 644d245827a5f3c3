//! Linear solvers on the test scenes: `cargo bench --bench linsolve [-- --size 64 --threads 2 --tolerance 1e-8]`.
//!
//! One line a scene and method: iterations to 1e-4, 1e-6 and the tolerance, seconds of set-up, wall and processor seconds of the solve
//! (best of the repeats), true residual, bytes a cell. `--scene sphere` and `--method multigrid` narrow it, `--size` may be
//! given twice. `--peer PYTHON` also runs pyamg, in an interpreter that has it, on the same matrices.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ndarray::Array1;
use parseval::linsolve::{Method, Operator, Options, Poisson, PoissonSolver, Report, Scene, Solver, source};

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
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut a =
        Arguments { sizes: Vec::new(), threads: 2, tolerance: 1e-8, repeats: 3, scene: None, method: None, peer: None };
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
            "--peer" => a.peer = Some(value()?),
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
    let n = problem.cells();
    let diagonal = problem.diagonal().expect("a grid problem knows its diagonal");
    // Unknowns, and for each cell its number among them.
    let cells: Vec<usize> = (0..n).filter(|&c| diagonal[c] > 0.0).collect();
    let mut number = vec![i32::MAX; n];
    cells.iter().enumerate().for_each(|(row, &c)| number[c] = row as i32);
    let shape = problem.shape();
    let mut steps = vec![1; shape.len()];
    for a in (1..shape.len()).rev() {
        steps[a - 1] = steps[a] * shape[a];
    }
    let (mut data, mut indices, mut pointers) = (Vec::new(), Vec::new(), vec![0i32]);
    for &c in &cells {
        let mut row = vec![(number[c], diagonal[c])];
        for (a, &step) in steps.iter().enumerate() {
            let position = c / step % shape[a];
            let weight = 1.0 / problem.spacing()[a].powi(2);
            let neighbours = [(position > 0).then(|| c - step), (position + 1 < shape[a]).then(|| c + step)];
            row.extend(neighbours.iter().flatten().filter(|&&d| number[d] < i32::MAX).map(|&d| (number[d], -weight)));
        }
        row.sort_by_key(|entry| entry.0);
        indices.extend(row.iter().map(|entry| entry.0));
        data.extend(row.iter().map(|entry| entry.1));
        pointers.push(indices.len() as i32);
    }
    let mut projected = b.to_vec();
    problem.project(&mut projected);
    let b: Array1<f64> = cells.iter().map(|&c| projected[c]).collect();
    ndarray_npy::write_npy(directory.join("data.npy"), &Array1::from(data))?;
    ndarray_npy::write_npy(directory.join("indices.npy"), &Array1::from(indices))?;
    ndarray_npy::write_npy(directory.join("indptr.npy"), &Array1::from(pointers))?;
    ndarray_npy::write_npy(directory.join("b.npy"), &b)?;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let a = arguments()?;
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
            if let Some(python) = &a.peer {
                let directory = tempfile::tempdir()?;
                write_matrix(&problem, &b, directory.path())?;
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/pyamg_cases.py");
                let label = format!("{:<10} | {size:>3}", scene.name());
                let tolerance = a.tolerance.to_string();
                Command::new(python).arg(script).arg(directory.path()).args([&label, &tolerance]).status()?;
            }
        }
    }
    Ok(())
}
