//! What is compared: the learned scheme, solvers without learning, and what is known of the limit.

use std::time::Instant;

use ndarray::{Array2, Array3, ArrayView2, Axis};
use parseval::stencil::line::reference::{averaging, lifting, march, resolved_averaging, solver, truncation};
use parseval::stencil::line::{FiniteVolume, Flux};
use parseval::{Error, Result};

use super::config::Config;
use super::data::Test;
use super::training::Trained;

/// Frames that a method predicts, and what they cost.
pub struct Prediction {
    pub label: String,
    /// `[time, sample, cells]`; not finite, or zero, after a blow-up.
    pub fields: Array3<f64>,
    /// Seconds a time unit and trajectory, on one thread in a batch of all.
    pub seconds: f64,
    /// Steps a time unit.
    pub steps: f64,
    /// Operations a time unit and trajectory.
    pub flops: f64,
    /// When the first trajectory, and how many of them, stopped being finite.
    pub blow_up: Option<(f64, usize)>,
}

/// Collects frames while a method runs, and its time.
fn collect(
    test: &Test,
    dt: f64,
    label: String,
    steps: f64,
    flops: f64,
    run: impl FnOnce(&mut dyn FnMut(usize, ArrayView2<f64>)) -> Result<()>,
) -> Result<Prediction> {
    let mut fields = Array3::zeros(test.truth.raw_dim());
    let begin = Instant::now();
    let mut last = 0;
    let result = run(&mut |frame, values| {
        fields.index_axis_mut(Axis(0), frame - 1).assign(&values);
        last = frame;
    });
    let seconds = begin.elapsed().as_secs_f64();
    let (frames, samples, _) = test.truth.dim();
    // A spectral solver stops with its first sample, the others go on with the rest.
    let blow_up = match result {
        Ok(()) => {
            let broken = |t: usize| {
                let rows = fields.index_axis(Axis(0), t);
                rows.rows().into_iter().filter(|row| row.iter().any(|u| !u.is_finite())).count()
            };
            let first = (0..frames).find(|&t| broken(t) > 0);
            first.map(|t| (dt * (t + 1) as f64, broken(frames - 1)))
        }
        Err(Error::BlowUp { .. }) => Some((dt * (last + 1) as f64, samples)),
        Err(other) => return Err(other),
    };
    let seconds = seconds / (samples as f64 * dt * last.max(1) as f64);
    Ok(Prediction { label, fields, seconds, steps, flops, blow_up })
}

/// The learned scheme from the true window.
pub fn learned(config: &Config, test: &Test, trained: &mut Trained, label: String) -> Result<Prediction> {
    let Trained { tape, model } = trained;
    let (dt, cells) = (config.scheme.dt, config.scheme.cells);
    let past = test.past.mapv(|x| x as f32);
    let frames = test.truth.dim().0;
    collect(test, dt, label, 1.0 / dt, model.flops() * cells as f64 / dt, |observe| {
        model.predict(tape, past.view(), frames, |step, u| {
            let samples = u.len() / cells;
            let values = Array2::from_shape_fn((samples, cells), |(s, i)| f64::from(u[s * cells + i]));
            observe(step, values.view());
            Ok(())
        })
    })
}

/// Finite volumes of second order on `n` cells, a multiple of those of the scheme, with a step of at most `dt`.
pub fn finite_volume(config: &Config, test: &Test, n: usize, dt: f64, flux: Flux) -> Result<Prediction> {
    let (cells, frame) = (config.scheme.cells, config.scheme.dt);
    if !n.is_multiple_of(cells) {
        let rule = format!("must be a multiple of scheme.cells = {cells}");
        return Err(Error::parameter("evaluate.finite_volume", n, rule));
    }
    let steps = (frame / dt).ceil().max(1.0) as usize;
    let dt = frame / steps as f64;
    let mut method = FiniteVolume::plan(&config.equation, n, dt, flux)?;
    let map = averaging(n, test.field.ncols());
    let mut states = test.field.dot(&map.t());
    // Three circulant products and some 30 operations a cell in the fluxes.
    let flops = (6 * n * n + 30 * n) as f64 / dt;
    collect(test, frame, format!("finite volumes, {n} cells"), 1.0 / dt, flops, |observe| {
        for t in 1..=test.truth.dim().0 {
            method.advance(states.as_slice_mut().expect("row-major"), steps);
            let ratio = n / cells;
            let coarse = Array2::from_shape_fn((states.nrows(), cells), |(s, i)| {
                (0..ratio).map(|r| states[[s, i * ratio + r]]).sum::<f64>() / ratio as f64
            });
            observe(t, coarse.view());
        }
        Ok(())
    })
}

/// The pseudo-spectral solver (ETDRK4, 2/3 rule) on `n` points with a step that divides the time between frames.
pub fn pseudo_spectral(config: &Config, test: &Test, n: usize, dt: f64) -> Result<Prediction> {
    let (cells, frame) = (config.scheme.cells, config.scheme.dt);
    let steps = (frame / dt).round().max(1.0) as usize;
    let dt = frame / steps as f64;
    let start = test.field.dot(&truncation(n, test.field.ncols(), (n - 1) / 2).t());
    let mut stepper = solver(&config.equation, n, dt, start.nrows(), 1)?;
    let map = averaging(cells, n);
    // Four stages of two real transforms of 5/2 n log2 n operations, and some ten operations a point.
    let n_f = n as f64;
    let flops = 4.0 * (5.0 * n_f * n_f.log2() + 10.0 * n_f) / dt;
    collect(test, frame, format!("pseudo-spectral, {n} points"), 1.0 / dt, flops, |observe| {
        march(&mut stepper, start.view(), test.truth.dim().0, steps, |t, fields| {
            observe(t, fields.dot(&map.t()).view());
            Ok(())
        })
    })
}

/// The reference solver from what the cells know: it starts `window` time units before the present from the true averages
/// with an empty tail, takes over the true averages every `every` time units, and runs freely from the present on.
///
/// With no window this is what a perfect model makes of the cells alone. A learned scheme may pass it even without memory,
/// where the modes that the cells lack are slaved to those that they hold.
pub fn insertion(config: &Config, test: &Test, window: f64, every: f64) -> Result<Prediction> {
    let (cells, points, recipe) = (config.scheme.cells, test.field.ncols(), config.recipe());
    let (lift, map) = (lifting(points, cells), resolved_averaging(cells, points));
    let frame = recipe.dt;
    let lead = test.past.dim().1 - 1;
    let (back, stride) = ((window / frame).round() as usize, (every / frame).round().max(1.0) as usize);
    if back > lead {
        return Err(Error::parameter("evaluate.windows", window, "must lie within the frames of the test"));
    }
    let truth = |before: usize| test.past.index_axis(Axis(1), lead - before).to_owned();
    let dt = frame / recipe.steps as f64;
    let mut stepper = solver(&config.equation, points, dt, test.field.nrows(), 1)?;
    let mut field = truth(back).dot(&lift.t());
    let mut left = back;
    while left > 0 {
        let frames = stride.min(left);
        let start = field.clone();
        march(&mut stepper, start.view(), 1, frames * recipe.steps, |_, fields| {
            field.assign(&fields);
            Ok(())
        })?;
        left -= frames;
        field = &field + &(truth(left) - field.dot(&map.t())).dot(&lift.t());
    }
    let label = match back {
        0 => format!("perfect model from {cells} cell averages"),
        _ => format!("perfect model, truth inserted over {window} time units"),
    };
    let flops = f64::NAN;
    collect(test, frame, label, 1.0 / dt, flops, |observe| {
        march(&mut stepper, field.view(), test.truth.dim().0, recipe.steps, |t, fields| {
            observe(t, fields.dot(&map.t()).view());
            Ok(())
        })
    })
}

/// The reference solver from the modes up to the Nyquist mode of the cells, that one included.
pub fn truncated(config: &Config, test: &Test) -> Result<Prediction> {
    let (cells, points, recipe) = (config.scheme.cells, test.field.ncols(), config.recipe());
    let start = test.field.dot(&truncation(points, points, cells / 2).t());
    let map = averaging(cells, points);
    let dt = recipe.dt / recipe.steps as f64;
    let mut stepper = solver(&config.equation, points, dt, start.nrows(), 1)?;
    let label = format!("perfect model from modes up to {}", cells / 2);
    collect(test, recipe.dt, label, 1.0 / dt, f64::NAN, |observe| {
        march(&mut stepper, start.view(), test.truth.dim().0, recipe.steps, |t, fields| {
            observe(t, fields.dot(&map.t()).view());
            Ok(())
        })
    })
}
