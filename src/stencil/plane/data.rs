//! Coarse trajectories of a well-resolved flow: of the spectral solver, or from data sets.

use std::ops::Range;

use ndarray::{Array3, Array5, ArrayD, ArrayViewD, Axis, Ix2, IxDyn, s};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::filter::StaggeredFilter;
use super::{FiniteVolume, Flow};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::initial::FilteredVelocity;
use crate::pde::{Forcing2d, NavierStokes2d};
use crate::spectral::{Derivatives, Resample, Transform};
use crate::stencil::files::{Expected, Files};
use crate::stepper::{Options, Scheme, Stepper};

/// The spectral solver that makes the truth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reference {
    /// Points along an axis; modes up to a third of it are kept.
    pub n: usize,
    /// Steps a time unit.
    pub steps: usize,
    /// Time before the first frame, most of it on half the points.
    pub warm_up: f64,
    /// Wavenumber of the largest magnitudes of the initial velocity.
    pub peak: f64,
    /// Largest initial speed.
    pub max_speed: f64,
}

impl Default for Reference {
    /// 128 points and 80 steps a time unit, which follow Kolmogorov flow at Re = 1000 for about eight time units.
    fn default() -> Self {
        Self { n: 128, steps: 80, warm_up: 40.0, peak: 4.0, max_speed: 7.0 }
    }
}

/// Coarse trajectories with the fine field they begin with.
#[derive(Clone, Debug)]
pub struct Trajectories {
    /// Exactly filtered frames, `[sample, time, 2, n, n]`; see [`FiniteVolume`] for the places of the values.
    pub frames: Array5<f32>,
    /// Vorticity of the reference at the frame `start`, `[sample, x, y]`.
    pub vorticity: Array3<f64>,
    /// The frame of that.
    pub start: usize,
}

/// The equation of a flow for the spectral solver.
pub fn spectral_flow(flow: &Flow) -> NavierStokes2d {
    let forcing = match flow.forcing {
        Some(f) => Forcing2d::Kolmogorov { amplitude: f.amplitude, mode: f.mode, length: flow.length },
        None => Forcing2d::None,
    };
    NavierStokes2d { nu: flow.nu, drag: flow.drag, mean_flow: [0.0; 2], forcing }
}

/// A spectral solver of a flow.
///
/// # Errors
///
/// Those of [`Stepper::plan`].
pub fn spectral_solver<T: Real>(flow: &Flow, n: usize, dt: f64, batch: usize, threads: usize) -> Result<Stepper<T>> {
    let grid = Grid::cube(2, n, flow.length)?;
    let options = Options { batch, threads, ..Options::default() };
    Stepper::plan(&spectral_flow(flow), &grid, Scheme::Etdrk4, dt, &options)
}

/// Makes `samples` trajectories of `frames` frames of `n x n` cells, `spacing` apart, with the seeds `seed..`.
/// `start` is the frame whose vorticity is kept. All samples advance together on `threads` threads; `progress` is told
/// the share that is done.
///
/// # Errors
///
/// [`Error::Parameter`] if the spacing is not a whole number of reference steps, if `start` is not below `frames`, or for
/// a grid, a flow or an initial velocity out of range; [`Error::BlowUp`] of the reference.
#[allow(clippy::too_many_arguments)]
pub fn trajectories(
    flow: &Flow,
    reference: &Reference,
    n: usize,
    spacing: f64,
    (samples, seed): (usize, u64),
    (frames, start): (usize, usize),
    threads: usize,
    mut progress: impl FnMut(f64),
) -> Result<Trajectories> {
    let dt = 1.0 / reference.steps as f64;
    let every = (spacing / dt).round();
    if !(every >= 1.0 && (every * dt / spacing - 1.0).abs() < 1e-9) {
        return Err(Error::parameter("spacing", spacing, format!("must be a multiple of the reference step {dt}")));
    }
    if start >= frames || samples == 0 {
        return Err(Error::parameter("start", start, format!("must be below the number of frames {frames}")));
    }
    // Statistics settle on half the points; the last two time units are the reference's own.
    let settle = reference.warm_up.min(2.0);
    let coarse_n = reference.n / 2;
    let coarse_grid = Grid::cube(2, coarse_n, flow.length)?;
    let fine_grid = Grid::cube(2, reference.n, flow.length)?;
    let derivatives = Derivatives::<f64>::plan(&coarse_grid);
    let velocity = FilteredVelocity { peak: reference.peak, max_speed: reference.max_speed };
    let mut omega = ArrayD::zeros(vec![samples, 1, coarse_n, coarse_n]);
    for (sample, mut field) in omega.axis_iter_mut(Axis(0)).enumerate() {
        let u = velocity.sample(&coarse_grid, seed + sample as u64)?;
        field.index_axis_mut(Axis(0), 0).assign(
            &derivatives
                .curl(u.view())
                .into_shape_with_order(vec![coarse_n, coarse_n])
                .expect("the curl of a plane field is one field"),
        );
    }
    let mut coarse = spectral_solver(flow, coarse_n, dt, samples, threads)?;
    let mut state = coarse.load(omega.view())?;
    let units = (reference.warm_up - settle).round() as usize;
    // A step on half the points costs a quarter.
    let cost = units as f64 / 4.0 + settle + frames as f64 * spacing;
    for unit in 0..units {
        coarse.advance(&mut state, reference.steps)?;
        progress((unit + 1) as f64 / 4.0 / cost);
    }
    let omega = Resample::plan(&coarse_grid, &fine_grid)?.apply(coarse.store(&state).view());
    let mut fine = spectral_solver(flow, reference.n, dt, samples, threads)?;
    let mut state = fine.load(omega.view())?;
    fine.advance(&mut state, (settle / dt).round() as usize)?;

    let filter = StaggeredFilter::plan(flow, reference.n, n)?;
    let mut result = Trajectories {
        frames: Array5::zeros((samples, frames, 2, n, n)),
        vorticity: Array3::zeros((samples, reference.n, reference.n)),
        start,
    };
    for frame in 0..frames {
        if frame > 0 {
            fine.advance(&mut state, every as usize)?;
        }
        let half = fine.to_half(&state);
        for sample in 0..samples {
            let spectrum = half.index_axis(Axis(0), sample).index_axis_move(Axis(0), 0);
            let field = filter.apply(spectrum)?;
            let to = &mut result.frames.slice_mut(s![sample, frame, .., .., ..]);
            to.iter_mut().zip(&field).for_each(|(to, &from)| *to = from as f32);
        }
        if frame == start {
            for (sample, field) in fine.store(&state).axis_iter(Axis(0)).enumerate() {
                let plane = field.index_axis(Axis(0), 0).into_dimensionality::<Ix2>().expect("a plane field");
                result.vorticity.index_axis_mut(Axis(0), sample).assign(&plane);
            }
        }
        progress((units as f64 / 4.0 + settle + (frame + 1) as f64 * spacing) / cost);
    }
    Ok(result)
}

/// What files of a flow must hold, with a frame every `spacing`, which the configuration calls `data.dt`: the vorticity, or
/// the two components of the velocity.
pub fn expected(flow: &Flow, spacing: f64) -> Expected {
    let mut coefficients = vec![
        ("nu", "flow.nu", flow.nu),
        ("drag", "flow.drag", flow.drag),
        ("mean_flow_x", "the mean flow", 0.0),
        ("mean_flow_y", "the mean flow", 0.0),
        ("forcing_amplitude", "flow.forcing.amplitude", flow.forcing.map_or(0.0, |f| f.amplitude)),
    ];
    coefficients.extend(flow.forcing.map(|f| ("forcing_mode", "flow.forcing.mode", f.mode as f64)));
    Expected {
        dim: 2,
        length: ("flow.length", flow.length),
        spacing: ("data.dt", spacing),
        equation: "navier_stokes_2d",
        coefficients,
        // `u` alone is the vorticity in the files of the Fourier neural operator.
        fields: &[&["vorticity"], &["velocity"], &["u", "v"], &["Vx", "Vy"], &["u"]],
    }
}

/// As [`trajectories`], of the samples of files that were opened as [`expected`]. One block of fine frames is in memory at
/// a time.
///
/// # Errors
///
/// [`Error::Parameter`] if `n` exceeds the points of the files, or `start` is not below `frames`; those of
/// [`Files::read`]; [`Error::Format`] for a velocity with a mean, which a vorticity does not carry.
pub fn from_files(
    flow: &Flow,
    files: &Files,
    n: usize,
    samples: Range<usize>,
    (frames, start): (usize, usize),
    mut progress: impl FnMut(f64),
) -> Result<Trajectories> {
    let fine = files.points();
    if start >= frames {
        return Err(Error::parameter("start", start, format!("must be below the number of frames {frames}")));
    }
    if n > fine {
        return Err(Error::parameter("data.n", n, format!("must be at most the {fine} points of the files")));
    }
    let (filter, transform) =
        (StaggeredFilter::plan(flow, fine, n)?, Transform::plan(&Grid::cube(2, fine, flow.length)?));
    let mut result = Trajectories {
        frames: Array5::zeros((samples.len(), frames, 2, n, n)),
        vorticity: Array3::zeros((samples.len(), fine, fine)),
        start,
    };
    for (index, sample) in samples.clone().enumerate() {
        let spectrum = Vorticity::plan(&transform, files.offsets(sample));
        files.read(sample, 0..frames, |frame, field| {
            let omega_hat = spectrum.of(field).map_err(|message| {
                let (path, sample) = files.place(sample);
                Error::format(path, format!("sample {sample}: {message}"))
            })?;
            let coarse = filter.apply(omega_hat.view())?;
            let to = &mut result.frames.slice_mut(s![index, frame, .., .., ..]);
            to.iter_mut().zip(&coarse).for_each(|(to, &from)| *to = from as f32);
            if frame == start {
                let plane = transform.inverse(omega_hat.view());
                let plane = plane.into_dimensionality::<Ix2>().expect("a plane field");
                result.vorticity.index_axis_mut(Axis(0), index).assign(&plane);
            }
            Ok(())
        })?;
        progress((index + 1) as f64 / samples.len() as f64);
    }
    Ok(result)
}

/// Largest mean of a velocity, relative to its root mean square; single precision leaves some 1e-7.
const MEAN: f64 = 1e-4;

/// Plan from the values of a file to the spectrum of the vorticity, without mean, on points that begin at 0: a channel
/// whose first point is at `o` is multiplied by `exp(-i k o)`.
struct Vorticity<'a> {
    transform: &'a Transform<f64>,
    /// Factor of each mode of each channel.
    factors: Vec<ArrayD<Complex64>>,
}

impl<'a> Vorticity<'a> {
    /// The plan for one channel, the vorticity, or two, the velocity, with the places of their first points in spacings.
    fn plan(transform: &'a Transform<f64>, offsets: &[Vec<f64>]) -> Self {
        let grid = transform.grid();
        let (n, modes) = (grid.shape()[0], grid.modes(0));
        let nyquist = |m: i64| 2 * m.unsigned_abs() as usize == n;
        let factor = |channel: usize, mx: i64, my: i64| {
            let [kx, ky] = [mx, my].map(|m| m as f64 * grid.k_unit(0));
            let derivative = match (offsets.len(), channel) {
                _ if (mx, my) == (0, 0) => Complex64::ZERO,
                (1, _) => Complex64::ONE,
                // The Nyquist modes have no derivative.
                _ if nyquist(mx) || nyquist(my) => Complex64::ZERO,
                (_, 0) => Complex64::new(0.0, -ky),
                _ => Complex64::new(0.0, kx),
            };
            // Nor are they moved.
            let turn = |m: i64, offset: f64| if nyquist(m) { 0.0 } else { m as f64 * offset };
            let offset = &offsets[channel];
            let angle = std::f64::consts::TAU * (turn(mx, offset[0]) + turn(my, offset[1])) / n as f64;
            derivative * Complex64::cis(-angle)
        };
        let shape = IxDyn(&[n, n / 2 + 1]);
        let of = |channel| ArrayD::from_shape_fn(shape.clone(), |p| factor(channel, modes[p[0]], p[1] as i64));
        Self { transform, factors: (0..offsets.len()).map(of).collect() }
    }

    /// The spectrum of a frame `[channel, x, y]`, or what is wrong with it.
    fn of(&self, field: ArrayViewD<f64>) -> std::result::Result<ArrayD<Complex64>, String> {
        if self.factors.len() > 1 {
            let rms = (field.iter().map(|u| u * u).sum::<f64>() / (field.len() / 2) as f64).sqrt();
            for component in field.outer_iter() {
                let mean = component.mean().unwrap_or(0.0);
                if mean.abs() > MEAN * rms {
                    return Err(format!("a mean velocity of {mean:e}, must be below {MEAN} of its size {rms}"));
                }
            }
        }
        let mut omega_hat = ArrayD::zeros(self.factors[0].raw_dim());
        for (component, factor) in field.outer_iter().zip(&self.factors) {
            omega_hat += &(self.transform.forward(component) * factor);
        }
        Ok(omega_hat)
    }
}

/// A divergence-free random start for the finite-volume solver, `[2, n, n]`: [`FilteredVelocity`], exactly filtered.
///
/// # Errors
///
/// Those of [`FilteredVelocity::sample`].
pub fn random_start(solver: &FiniteVolume<f64>, velocity: FilteredVelocity, seed: u64) -> Result<Vec<f64>> {
    let (flow, n) = (solver.flow(), solver.n());
    let grid = Grid::cube(2, n, flow.length)?;
    let derivatives = Derivatives::<f64>::plan(&grid);
    let omega = derivatives.curl(velocity.sample(&grid, seed)?.view());
    let omega_hat = derivatives.transform().forward(omega.view());
    let shape = vec![n, n / 2 + 1];
    let omega_hat = omega_hat.into_shape_with_order(shape).expect("the curl of a plane field is one field");
    Ok(StaggeredFilter::plan(flow, n, n)?.apply(omega_hat.view())?.into_raw_vec_and_offset().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stencil::plane::metric::vorticity_correlation;

    #[test]
    fn frames_are_the_filtered_reference_and_seeds_are_samples() {
        let flow = Flow::default();
        let reference = Reference { n: 32, steps: 40, warm_up: 1.0, ..Reference::default() };
        let of = |samples, seed| trajectories(&flow, &reference, 16, 0.05, (samples, seed), (3, 1), 1, |_| ()).unwrap();
        let two = of(2, 7);
        let second = of(1, 8);
        let difference = &two.frames.slice(s![1.., .., .., .., ..]) - &second.frames;
        // Bits may differ with the batch; values are of size seven in single precision.
        assert!(difference.iter().all(|d| d.abs() < 1e-5));
        // The kept vorticity belongs to frame 1.
        let grid = Grid::cube(2, 32, flow.length).unwrap();
        let hat = crate::spectral::Transform::<f64>::plan(&grid)
            .forward(two.vorticity.index_axis(Axis(0), 0).to_owned().into_dyn().view());
        let field = StaggeredFilter::plan(&flow, 32, 16).unwrap().apply(hat.view()).unwrap();
        let field = field.into_dimensionality::<ndarray::Ix3>().unwrap();
        let frame = two.frames.slice(s![0, 1, .., .., ..]).mapv(f64::from);
        assert!((vorticity_correlation(frame.view(), field.view()) - 1.0).abs() < 1e-10);
        assert!(trajectories(&flow, &reference, 16, 0.03, (1, 0), (3, 1), 1, |_| ()).is_err());
    }

    #[test]
    fn frames_of_a_file_are_those_of_the_seeds_it_was_made_from() {
        use crate::data::well::{FieldSpec, Precision};
        use crate::stencil::files::tests::{file, source};
        let flow = Flow::default();
        let reference = Reference { n: 32, steps: 40, warm_up: 1.0, ..Reference::default() };
        let of = |start| trajectories(&flow, &reference, 16, 0.05, (2, 7), (3, start), 1, |_| ()).unwrap();
        let three: Vec<Trajectories> = (0..3).map(of).collect();
        let grid = Grid::cube(2, 32, flow.length).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let velocity = |omega: ndarray::ArrayView2<f64>| derivatives.biot_savart(omega.into_dyn());
        let velocities: Vec<Vec<_>> = three.iter().map(|t| t.vorticity.outer_iter().map(velocity).collect()).collect();
        let folder = tempfile::tempdir().unwrap();
        for (field, rank, precision) in
            [("vorticity", 0, Precision::F64), ("vorticity", 0, Precision::F32), ("velocity", 1, Precision::F64)]
        {
            let path = file(
                &folder.path().join(format!("{field}_{precision:?}.hdf5")),
                |header| {
                    header.grid = grid.clone();
                    header.fields = vec![FieldSpec::new(field, rank)];
                    header.times = vec![2.0, 2.05, 2.1];
                    header.samples = 2;
                    header.precision = precision;
                    header.equation_id = "navier_stokes_2d".to_owned();
                    let coefficients = [("nu", 1e-3), ("drag", 0.1), ("forcing_amplitude", 1.0), ("forcing_mode", 4.0)];
                    header.parameters.extend(coefficients.map(|(name, value)| (name.to_owned(), value)));
                },
                |sample, frame, place| match rank {
                    0 => three[frame].vorticity[[sample, place / 32, place % 32]],
                    // Components lie side by side at every point.
                    _ => velocities[frame][sample][[place % 2, place / 64, place / 2 % 32]],
                },
            );
            let files = Files::open(&source(&[path]), &expected(&flow, 0.05)).unwrap();
            assert_eq!(files.notes().len(), 0);
            let found = from_files(&flow, &files, 16, 0..2, (3, 1), |_| ()).unwrap();
            let worst = |a: f64, b: f64| a.max(b.abs());
            let frames = (&found.frames - &three[1].frames).iter().fold(0.0, |w, d| worst(w, f64::from(*d)));
            let vorticity = (&found.vorticity - &three[1].vorticity).iter().fold(0.0, |w, d| worst(w, *d));
            // Frames are stored in single precision, of size seven; the vorticity, of size thirty, as in the file.
            let tolerance = if precision == Precision::F32 { 2e-5 } else { 1e-12 };
            assert!(frames < 3e-6 && vorticity < tolerance, "{field} {precision:?}: {frames:e} {vorticity:e}");
            assert!(from_files(&flow, &files, 64, 0..2, (3, 1), |_| ()).is_err());
        }
    }

    #[test]
    fn components_on_faces_are_brought_to_the_points() {
        let length = 3.0;
        let grid = Grid::cube(2, 16, length).unwrap();
        let k = std::f64::consts::TAU / length;
        let velocity =
            |x: f64, y: f64| [(k * (2.0 * x + y)).sin() + (3.0 * k * y).cos(), -2.0 * (k * (2.0 * x + y)).sin()];
        let omega = |x: f64, y: f64| -5.0 * k * (k * (2.0 * x + y)).cos() + 3.0 * k * (3.0 * k * y).sin();
        // u on the right faces, v on the upper ones, as JAX-CFD stores them.
        let offsets = [vec![1.0, 0.5], vec![0.5, 1.0]];
        let transform = Transform::plan(&grid);
        let h = length / 16.0;
        let field = ArrayD::from_shape_fn(vec![2, 16, 16], |p| {
            let offset = &offsets[p[0]];
            velocity((p[1] as f64 + offset[0]) * h, (p[2] as f64 + offset[1]) * h)[p[0]]
        });
        let found = transform.inverse(Vorticity::plan(&transform, &offsets).of(field.view()).unwrap().view());
        let exact = ArrayD::from_shape_fn(vec![16, 16], |p| omega(p[0] as f64 * h, p[1] as f64 * h));
        // Three modes of size ten.
        assert!((&found - &exact).iter().all(|d| d.abs() < 1e-12));
        let message = Vorticity::plan(&transform, &offsets).of((field + 0.1).view()).unwrap_err();
        assert!(message.contains("a mean velocity of"), "{message}");
    }

    #[test]
    fn a_random_start_is_divergence_free_with_its_speed() {
        let solver = FiniteVolume::<f64>::plan(&Flow::default(), 32, 0.0125).unwrap();
        let velocity = FilteredVelocity { peak: 4.0, max_speed: 7.0 };
        let start = random_start(&solver, velocity, 1).unwrap();
        let (n, h) = (32, solver.flow().length / 32.0);
        let at = |c: usize, i: usize, j: usize| start[(c * n + i % n) * n + j % n];
        let d = |i: usize, j: usize| (at(0, i, j) - at(0, i + n - 1, j) + at(1, i, j) - at(1, i, j + n - 1)) / h;
        assert!((0..n * n).all(|p| d(p / n, p % n).abs() < 1e-11));
        let largest = start.iter().fold(0.0f64, |l, x| l.max(x.abs()));
        // Components are below the speed, and means over faces below their largest value.
        assert!((3.5..7.5).contains(&largest), "{largest}");
    }
}
