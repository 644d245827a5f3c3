//! Cell averages of trajectories in data sets.

use std::ops::Range;

use ndarray::{Array2, Array3, Axis, Ix1, s};

use super::equation::Equation;
use super::reference::averaging;
use crate::error::{Error, Result};
use crate::stencil::files::{Expected, Files};

/// What files of an equation must hold, with a frame every `spacing`, which the configuration calls `scheme.dt`.
pub fn expected(equation: &Equation, spacing: f64) -> Expected {
    let (name, nu) = match *equation {
        Equation::KuramotoSivashinsky { .. } => ("kuramoto_sivashinsky", ("nu", "the coefficient of u_xxxx", 1.0)),
        Equation::Burgers { nu, .. } => ("burgers", ("nu", "equation.nu", nu)),
    };
    Expected {
        dim: 1,
        length: ("equation.length", equation.length()),
        spacing: ("scheme.dt", spacing),
        equation: name,
        coefficients: vec![nu],
        fields: &[&["u"]],
    }
}

/// Exact averages over `cells` cells of the trigonometric polynomials through the points of the samples of files,
/// `[sample, time, cells]`, and the points at the frame `present`, `[sample, points]`. One block of frames is in memory at a
/// time.
///
/// # Errors
///
/// [`Error::Parameter`] if `present` is not below `frames`, or the files have fewer points than cells; those of
/// [`Files::read`].
pub fn averages_of(
    files: &Files,
    cells: usize,
    samples: Range<usize>,
    frames: usize,
    present: usize,
) -> Result<(Array3<f64>, Array2<f64>)> {
    let points = files.points();
    if present >= frames {
        return Err(Error::parameter("present", present, format!("must be below the number of frames {frames}")));
    }
    if cells > points {
        return Err(Error::parameter("cells", cells, format!("must be at most the {points} points of the files")));
    }
    let map = averaging(cells, points);
    let mut averages = Array3::zeros((samples.len(), frames, cells));
    let mut fields = Array2::zeros((samples.len(), points));
    for (index, sample) in samples.enumerate() {
        files.read(sample, 0..frames, |frame, field| {
            let field = field.index_axis(Axis(0), 0).into_dimensionality::<Ix1>().expect("one axis");
            averages.slice_mut(s![index, frame, ..]).assign(&map.dot(&field));
            if frame == present {
                fields.row_mut(index).assign(&field);
            }
            Ok(())
        })?;
    }
    Ok((averages, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Grid;
    use crate::stencil::files::tests::{file, source};
    use crate::stencil::line::reference::{Recipe, averages, march, solver, starts};

    #[test]
    fn averages_of_a_file_are_those_of_the_solver_that_made_it() {
        let equation = Equation::Burgers { length: 2.0, nu: 0.1 };
        let recipe = Recipe { points: 32, steps: 4, dt: 0.02, warm_up: 0.0, cut: 3, amplitude: 1.0 };
        let start = starts(&equation, &recipe, 5..7, 1).unwrap();
        let exact = averages(&equation, &recipe, start.view(), 8, 4, 1).unwrap();
        // The file has a frame every half step of the model.
        let mut stored = vec![start.clone()];
        let mut stepper = solver(&equation, 32, 0.02 / 4.0, 2, 1).unwrap();
        let keep = |_, fields: ndarray::ArrayView2<f64>| {
            stored.push(fields.to_owned());
            Ok(())
        };
        march(&mut stepper, start.view(), 6, 2, keep).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = file(
            &folder.path().join("a.hdf5"),
            |header| {
                header.grid = Grid::cube(1, 32, 2.0).unwrap();
                header.times = (0..7).map(|i| 0.01 * f64::from(i)).collect();
                header.samples = 2;
                header.equation_id = "burgers".to_owned();
                header.parameters.insert("nu".to_owned(), 0.1);
            },
            |sample, frame, point| stored[frame][[sample, point]],
        );
        let files = Files::open(&source(&[path]), &expected(&equation, 0.02)).unwrap();
        let (found, field) = averages_of(&files, 8, 0..2, 4, 2).unwrap();
        // The same sums of 32 terms, whose order may differ.
        assert!((&found - &exact).iter().all(|d| d.abs() < 1e-14));
        assert_eq!(field, stored[4]);
        assert!(averages_of(&files, 64, 0..2, 4, 2).is_err() && averages_of(&files, 8, 0..2, 2, 2).is_err());
    }
}
