//! Steps of the spectral solver inside a learned one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ndarray::{ArrayD, ArrayView3, ArrayViewD, IxDyn};

use super::data::spectral_flow;
use super::{Flow, StaggeredFilter};
use crate::autodiff::{Tape, Var};
use crate::error::Result;
use crate::field::{Grid, Real};
use crate::nn;
use crate::spectral::Transform;
use crate::spectral::layout::Dealias;
use crate::stepper::{Checkpoints, Options, Scheme, Stepper};

/// Some steps of the spectral solver, from and to vorticities `[batch, 1, n, n]` at the points `(i h, j h)`, for batches
/// of any size.
///
/// # Vorticity of staggered data
///
/// A discretely divergence-free staggered field without mean has a stream function at the corners of the cells,
///
/// ```text
/// u[i, j] = (psi[i, j] - psi[i, j-1]) / h,      v[i, j] = -(psi[i, j] - psi[i-1, j]) / h .
/// ```
///
/// The mean of `u = psi_y` over a face is the rise of `psi` along it over `h`: for exactly filtered data this is the
/// stream function of the flow at the corners, point values. Its trigonometric interpolant has the vorticity `-lap psi`,
/// mode by mode what [`StaggeredFilter::invert`] gives, and [`StaggeredFilter::apply`] leads back. Only the Nyquist modes
/// `2 |m| = n` are lost on the way; modes beyond them appear aliased, as they do in the data.
pub(super) struct SpectralSteps<T: Real> {
    flow: Flow,
    grid: Grid,
    dt: f64,
    steps: usize,
    dealias: Dealias,
    threads: usize,
    filter: StaggeredFilter,
    transform: Transform<f64>,
    /// By the size of the batch.
    plans: Mutex<BTreeMap<usize, Plan<T>>>,
}

struct Plan<T: Real> {
    rollout: nn::Rollout<T>,
    stepper: Stepper<T>,
}

impl<T: Real> SpectralSteps<T> {
    pub fn plan(flow: &Flow, n: usize, (dt, steps): (f64, usize), dealias: Dealias, threads: usize) -> Result<Self> {
        let grid = Grid::cube(2, n, flow.length)?;
        let plan = Self {
            flow: *flow,
            filter: StaggeredFilter::plan(flow, n, n)?,
            transform: Transform::plan(&grid),
            grid,
            dt,
            steps,
            dealias,
            threads,
            plans: Mutex::new(BTreeMap::new()),
        };
        // What is wrong with the constants is said here, not in the first step.
        plan.with(1, |_| ())?;
        Ok(plan)
    }

    fn stepper(&self, batch: usize) -> Result<Stepper<T>> {
        let options = Options { batch, threads: self.threads, dealias: self.dealias.clone(), ..Options::default() };
        Stepper::plan(&spectral_flow(&self.flow), &self.grid, Scheme::Etdrk4, self.dt, &options)
    }

    fn with<R>(&self, batch: usize, work: impl FnOnce(&mut Plan<T>) -> R) -> Result<R> {
        let mut plans = self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(plan) = plans.get_mut(&batch) {
            return Ok(work(plan));
        }
        let rollout = nn::Rollout::new(self.stepper(batch)?, self.steps, Checkpoints::Stages)?;
        let mut plan = Plan { rollout, stepper: self.stepper(batch)? };
        let result = work(&mut plan);
        plans.insert(batch, plan);
        Ok(result)
    }

    /// Records the steps.
    pub fn record(&self, tape: &mut Tape<T>, omega: Var) -> Result<Var> {
        let rollout = self.with(tape.shape(omega)[0], |plan| plan.rollout.clone())?;
        rollout.record(tape, omega)
    }

    /// Makes the steps in place.
    pub fn advance(&self, omega: &mut [T]) -> Result<()> {
        let n = self.filter.n();
        let batch = omega.len() / (n * n);
        let view = ArrayViewD::from_shape(vec![batch, 1, n, n], &*omega).expect("whole samples");
        let next = self.with(batch, |Plan { stepper, .. }| {
            let mut state = stepper.load(view)?;
            stepper.advance(&mut state, self.steps)?;
            Ok(stepper.store(&state))
        })??;
        omega.iter_mut().zip(&next).for_each(|(to, &from)| *to = from);
        Ok(())
    }

    /// Operations of the steps of one sample: sixteen real transforms of a step of four stages, and their pointwise work.
    pub fn flops(&self) -> f64 {
        let points = self.with(1, |plan| plan.stepper.layout().quadrature.iter().product::<usize>());
        let points = points.expect("the batch of one was planned") as f64;
        self.steps as f64 * points * (16.0 * 2.5 * points.log2() + 4.0 * 25.0)
    }

    /// Vorticities of staggered frames `[batch, 2, n, n]`.
    pub fn encode(&self, frames: &[T]) -> Vec<T> {
        let n = self.filter.n();
        let fields = frames.chunks_exact(2 * n * n).map(|frame| {
            let view = ArrayView3::from_shape((2, n, n), frame).expect("one frame");
            self.filter.invert(view).expect("the shape is that of the plan")
        });
        fields.flat_map(|hat| self.transform.inverse(hat.view())).map(T::of).collect()
    }

    /// Staggered frames of vorticities.
    pub fn decode(&self, omega: &[T]) -> Vec<T> {
        let n = self.filter.n();
        let fields = omega.chunks_exact(n * n).map(|omega| {
            let omega = ArrayD::from_shape_vec(IxDyn(&[n, n]), omega.iter().map(|x| x.as_f64()).collect());
            let hat = self.transform.forward(omega.expect("one field").view());
            self.filter.apply(hat.view()).expect("the shape is that of the plan")
        });
        fields.flatten().map(T::of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initial::FilteredVelocity;
    use crate::stencil::plane::FiniteVolume;
    use crate::stencil::plane::data::random_start;

    #[test]
    fn staggered_frames_and_vorticities_are_one_another() {
        let n = 16;
        let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.02).unwrap();
        let steps = SpectralSteps::<f64>::plan(&Flow::default(), n, (0.02, 2), Dealias::Pad, 1).unwrap();
        let frames: Vec<f64> = (0..2)
            .flat_map(|seed| random_start(&solver, FilteredVelocity { peak: 3.0, max_speed: 2.0 }, seed).unwrap())
            .collect();
        let omega = steps.encode(&frames);
        assert_eq!(omega.len(), 2 * n * n);
        let back = steps.decode(&omega);
        // Round-off of transforms of fields of size two.
        assert!(back.iter().zip(&frames).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn padded_steps_are_those_of_a_larger_truncated_grid() {
        // Both keep the modes |m| <= 7, all of 16 points and by the 2/3 rule of 24, and have products without aliases.
        let flow = Flow::default();
        let small = SpectralSteps::<f64>::plan(&flow, 16, (0.02, 3), Dealias::Pad, 1).unwrap();
        let x = small.grid.coordinates(0);
        let field = |x: f64, y: f64| (3.0 * x + 1.0).sin() + (2.0 * x - 5.0 * y).cos() + (x + 6.0 * y + 0.3).sin();
        let mut omega: Vec<f64> = x.iter().flat_map(|&x0| x.iter().map(move |&y| field(x0, y))).collect();
        let start = ArrayD::from_shape_vec(vec![1, 1, 16, 16], omega.clone()).unwrap();
        let large = Grid::cube(2, 24, flow.length).unwrap();
        let up = crate::spectral::Resample::<f64>::plan(&small.grid, &large).unwrap();
        let mut stepper = crate::stencil::plane::data::spectral_solver(&flow, 24, 0.02, 1, 1).unwrap();
        let mut state = stepper.load(up.apply(start.view()).view()).unwrap();
        stepper.advance(&mut state, 3).unwrap();
        let down = crate::spectral::Resample::<f64>::plan(&large, &small.grid).unwrap();
        let expected = down.apply(stepper.store(&state).view());
        small.advance(&mut omega).unwrap();
        // Round-off.
        assert!(omega.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
