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
