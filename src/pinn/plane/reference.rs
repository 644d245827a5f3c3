//! The classical solution.

use std::time::Instant;

use super::super::reference::{Places, Reference};
use super::flow::Flow;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::NavierStokes2d;
use crate::stepper::{Options, Scheme, Stepper};

/// Solves a flow by ETDRK4 on `n x n` points with step `dt` (rounded down to fit between the times). The values are
/// vorticities `[time, x, y]`, and `x` the points of both directions.
///
/// # Errors
///
/// Those of [`Flow`] and [`Stepper`]; [`Error::Parameter`] if the points are not among the solver's.
pub fn reference(flow: &Flow, places: Places, n: usize, dt: f64) -> Result<Reference> {
    flow.validate()?;
    if !(dt > 0.0 && dt.is_finite()) {
        return Err(Error::parameter("reference.dt", dt, "must be positive and finite"));
    }
    if !n.is_multiple_of(places.points) {
        let rule = format!("must be a multiple of the {} points of the comparison", places.points);
        return Err(Error::parameter("reference.points", n, rule));
    }
    let (grid, interval) = (Grid::cube(2, n, flow.length)?, places.end / places.steps as f64);
    let steps = (interval / dt).ceil().max(1.0) as usize;
    let started = Instant::now();
    let pde = NavierStokes2d::decaying(flow.nu);
    let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, interval / steps as f64, &Options::default())?;
    let mut omega = stepper.load(flow.state(n)?.values().view())?;
    let (mut values, stride) = (Vec::new(), n / places.points);
    for time in 0..=places.steps {
        if time > 0 {
            stepper.advance(&mut omega, steps)?;
        }
        let field = stepper.store(&omega);
        let rows = field.as_slice().expect("a contiguous field").chunks_exact(n).step_by(stride);
        values.extend(rows.flat_map(|row| row.iter().step_by(stride)));
    }
    let x = (0..places.points).map(|j| flow.length * j as f64 / places.points as f64).collect();
    Ok(Reference { times: places.times(), x, values, seconds: started.elapsed().as_secs_f64() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinn::plane::Initial;
    use crate::pinn::{Architecture, Lifting};

    #[test]
    fn reference_of_decaying_vortices_is_exact() {
        let flow = Flow {
            length: 3.0,
            nu: 0.02,
            initial: Initial::TaylorGreen { mode: 1 },
            lifting: Lifting::Semigroup,
            network: Architecture::default(),
        };
        let places = Places { end: 0.5, steps: 2, points: 8 };
        let reference = reference(&flow, places, 16, 0.1).unwrap();
        let (pde, k) = (NavierStokes2d::decaying(0.02), std::f64::consts::TAU / 3.0);
        for (i, &t) in reference.times.iter().enumerate() {
            for (j, &x) in reference.x.iter().enumerate() {
                for (l, &y) in reference.x.iter().enumerate() {
                    let exact = pde.taylor_green(k, [x, y], t);
                    // The exponential is exact; roundings of six steps and their transforms.
                    assert!((reference.values[(i * 8 + j) * 8 + l] - exact).abs() < 1e-13);
                }
            }
        }
    }
}
