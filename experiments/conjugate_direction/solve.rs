//! `conjugate_direction solve`: cases by name or from files, and one solve.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ndarray::{ArrayD, IxDyn};
use parseval::data::hdf5;
use parseval::linsolve::{Family, Matrix, Options, Poisson, RandomScene, Report, Scene, Walls, source};
use parseval::run::Printer;
use parseval::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::Experiment;
use crate::config::{Compare, Sides};
use crate::models::Models;

/// A system to solve.
pub struct Case {
    /// Name of the scene.
    pub scene: String,
    pub problem: Arc<Poisson>,
    pub b: Vec<f64>,
}

/// What `solve` solves.
#[derive(Args)]
pub struct CaseArguments {
    /// Scene by name: open box, closed box, sphere, smoke, pillars, slabs, surface.
    #[arg(long, default_value = "pillars", conflicts_with = "flags")]
    scene: String,
    /// File of flags, .npy or HDF5, instead: 0 solid, 1 fluid, 2 air.
    #[arg(long, value_name = "FILE")]
    flags: Option<PathBuf>,
    /// File with the right-hand side, .npy or HDF5, of the same shape.
    #[arg(long, value_name = "FILE")]
    rhs: Option<PathBuf>,
    /// Cells along each axis of a scene [default: the first size of `compare`].
    #[arg(long, value_name = "N")]
    size: Option<usize>,
}

impl Case {
    pub fn of_scene(name: &str, size: usize) -> Result<Self> {
        let Some(scene) = Scene::ALL.into_iter().find(|s| s.name() == name) else {
            let names: Vec<&str> = Scene::ALL.iter().map(|s| s.name()).collect();
            return Err(Error::parameter("scene", name, format!("must be one of {}", names.join(", "))));
        };
        let shape = [size; 3];
        Ok(Self { scene: name.to_owned(), problem: Arc::new(scene.problem(&shape)?), b: source(&shape) })
    }

    /// A free surface with obstacles that no training saw.
    pub fn held_out(number: u64, size: usize) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::MAX);
        rng.set_stream(number);
        let shape = [size; 3];
        let problem = Arc::new(RandomScene::draw(Family::Surface, &mut rng).problem(&shape)?);
        Ok(Self { scene: format!("held out {number}"), problem, b: source(&shape) })
    }

    pub fn of_flags(path: &Path, compare: &Compare) -> Result<Self> {
        let (shape, codes) = read_array(path, &compare.dataset)?;
        let bad = |code: &f64| Error::format(path, format!("{code} is none of the flags 0, 1, 2"));
        let codes: Vec<u8> = codes
            .iter()
            .map(|code| if [0.0, 1.0, 2.0].contains(code) { Ok(*code as u8) } else { Err(bad(code)) })
            .collect::<Result<_>>()?;
        let codes = ArrayD::from_shape_vec(IxDyn(&shape), codes).expect("as many flags as the shape says");
        let walls = match compare.walls {
            Sides::Closed => Walls::closed(),
            Sides::Open => Walls::open(),
            Sides::OpenTop => Walls::open_top(shape.len()),
        };
        let h = 1.0 / shape.first().copied().unwrap_or(1).max(1) as f64;
        let problem = Poisson::from_codes(codes.view(), &vec![h; shape.len()], walls)?;
        let scene = path.file_stem().map_or_else(|| "flags".into(), |s| s.to_string_lossy().into_owned());
        Ok(Self { scene, b: source(problem.shape()), problem: Arc::new(problem) })
    }

    fn of_arguments(arguments: &CaseArguments, compare: &Compare) -> Result<Self> {
        let size = arguments.size.or(compare.sizes.first().copied()).unwrap_or(32);
        let mut case = match &arguments.flags {
            Some(path) => Self::of_flags(path, compare)?,
            None => Self::of_scene(&arguments.scene, size)?,
        };
        if let Some(path) = &arguments.rhs {
            let (shape, values) = read_array(path, "rhs")?;
            if shape != case.problem.shape() {
                return Err(Error::shape(path.display().to_string(), case.problem.shape(), &shape));
            }
            case.b = values;
        }
        Ok(case)
    }
}

/// Shape and values of a `.npy` file, or of a data set of an HDF5 file.
fn read_array(path: &Path, dataset: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    if hdf5::is_hdf5(path) {
        let file = hdf5::open(path)?;
        let name = format!("/{}", dataset.trim_start_matches('/'));
        return Ok((file.info(&name)?.shape, hdf5::read_all(&*file, &name)?));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    fn read<T: ndarray_npy::ReadableElement + Into<f64> + Clone>(bytes: &[u8]) -> Option<(Vec<usize>, Vec<f64>)> {
        use ndarray_npy::ReadNpyExt;
        let array = ArrayD::<T>::read_npy(bytes).ok()?;
        Some((array.shape().to_vec(), array.iter().map(|v| v.clone().into()).collect()))
    }
    read::<u8>(&bytes)
        .or_else(|| read::<i8>(&bytes))
        .or_else(|| read::<i32>(&bytes))
        .or_else(|| read::<f32>(&bytes))
        .or_else(|| read::<f64>(&bytes))
        .or_else(|| {
            use ndarray_npy::ReadNpyExt;
            let array = ArrayD::<i64>::read_npy(&bytes[..]).ok()?;
            Some((array.shape().to_vec(), array.iter().map(|&v| v as f64).collect()))
        })
        .ok_or_else(|| Error::format(path, "must be HDF5, or .npy of u8, i8, i32, i64, f32 or f64"))
}

pub fn solve(
    experiment: &Experiment,
    arguments: &CaseArguments,
    solver: &str,
    solution: Option<&Path>,
    matrix: Option<&Path>,
    print: Printer,
) -> Result<()> {
    let compare = &experiment.config.compare;
    let case = Case::of_arguments(arguments, compare)?;
    let options = Options { relative: compare.tolerance, threads: experiment.threads, ..Options::default() };
    if let Some(path) = matrix {
        write_matrix_market(&case, path)?;
    }
    let Some(mut planned) = Models::load(experiment)?.plan(solver, &case.problem, &options)? else {
        let rule = "must apply: `direct` needs a box, learned solvers a training (`conjugate_direction train`) and networks three axes";
        return Err(Error::parameter("--solver", solver, rule));
    };
    let mut x = vec![0.0; case.b.len()];
    let report = planned.solve(&case.b, &mut x)?.clone();
    if let Some(path) = solution {
        let array = ArrayD::from_shape_vec(IxDyn(case.problem.shape()), x).expect("a value for each cell");
        ndarray_npy::write_npy(path, &array).map_err(|e| Error::format(path, e.to_string()))?;
    }
    match experiment.json {
        true => print.line(json!({
            "scene": case.scene, "solver": solver, "unknowns": case.problem.unknowns(),
            "stop": format!("{:?}", report.stop), "iterations": report.iterations,
            "relative_residual": report.relative_residual, "setup_seconds": report.setup_seconds,
            "solve_seconds": report.solve_seconds, "bytes": report.bytes, "history": report.history,
        })),
        false => print.line(in_words(&case, solver, &report)),
    }?;
    match report.is_converged() {
        true => Ok(()),
        false => Err(Error::Differ {
            what: format!("A x and b after {} iterations of {solver}", report.iterations),
            difference: report.relative_residual,
            tolerance: compare.tolerance,
        }),
    }
}

fn in_words(case: &Case, solver: &str, report: &Report) -> String {
    let mut text = format!(
        "{}, {} unknowns, {solver}: {:?} after {} iterations\n",
        case.scene,
        case.problem.unknowns(),
        report.stop,
        report.iterations
    );
    let _ = write!(
        text,
        "relative residual {:.2e}, set-up {:.2e} s, solve {:.2e} s, {:.1} MB",
        report.relative_residual,
        report.setup_seconds,
        report.solve_seconds,
        report.bytes as f64 / 1e6
    );
    let d = report.directions;
    if d.accepted + d.rejected + d.unusable > 0 {
        let slow = if d.too_slow { "; switched off: slower than the classical direction" } else { "" };
        let _ = write!(
            text,
            "\nlearned directions: {} used, {} refused, {} unusable{slow}",
            d.accepted, d.rejected, d.unusable
        );
    }
    text
}

/// The lower half of the symmetric matrix of the unknowns, and `FILE.rhs.mtx` with the right-hand side.
fn write_matrix_market(case: &Case, path: &Path) -> Result<()> {
    let Matrix { cells, pointers, columns, values } = case.problem.matrix();
    let n = cells.len();
    let columns = &columns;
    let lower = |row: usize| (pointers[row]..pointers[row + 1]).filter(move |&e| columns[e] as usize <= row);
    let count: usize = (0..n).map(|row| lower(row).count()).sum();
    let mut text = format!("%%MatrixMarket matrix coordinate real symmetric\n{n} {n} {count}\n");
    for row in 0..n {
        for entry in lower(row) {
            let _ = writeln!(text, "{} {} {:e}", row + 1, columns[entry] + 1, values[entry]);
        }
    }
    std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
    let mut b = case.b.clone();
    parseval::linsolve::Operator::project(&*case.problem, &mut b);
    let mut text = format!("%%MatrixMarket matrix array real general\n{n} 1\n");
    cells.iter().for_each(|&c| {
        let _ = writeln!(text, "{:e}", b[c as usize]);
    });
    let rhs = path.with_extension("rhs.mtx");
    std::fs::write(&rhs, text).map_err(|e| Error::io(&rhs, e))
}
