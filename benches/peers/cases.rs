//! What is timed: the equations, the cases of the table, and one run of ours.
//!
//! A case more is one line of [`CASES`]; an equation more is an arm in each function of [`Equation`], and its name in
//! the servers.

use std::f64::consts::TAU;

use ndarray::{ArrayD, Axis, stack};
use parseval::Result;
use parseval::field::{Grid, Real};
use parseval::initial::{RandomFourier, abc, taylor_green};
use parseval::pde::{KortewegDeVries, KuramotoSivashinsky, NavierStokes2d, NavierStokes3d};
use parseval::spectral::simd::Isa;
use parseval::stepper::{Checkpoints, Options, Scheme, State, Stepper, Wanted};

/// An equation with the parameters that the servers take where a request names none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Equation {
    Ks,
    Kdv,
    Ns2d,
    Ns3d,
}

use Equation::{Kdv, Ks, Ns2d, Ns3d};

impl Equation {
    /// Name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::Kdv => "kdv",
            Self::Ns2d => "ns2d",
            Self::Ns3d => "ns3d",
        }
    }

    fn dim(self) -> usize {
        match self {
            Self::Ks | Self::Kdv => 1,
            Self::Ns2d => 2,
            Self::Ns3d => 3,
        }
    }

    fn plan<T: Real>(self, grid: &Grid, dt: f64, options: &Options) -> Result<Stepper<T>> {
        let scheme = Scheme::Etdrk4;
        match self {
            Self::Ks => Stepper::plan(&KuramotoSivashinsky::unit(), grid, scheme, dt, options),
            Self::Kdv => Stepper::plan(&KortewegDeVries::classic_minus(), grid, scheme, dt, options),
            Self::Ns2d => Stepper::plan(&NavierStokes2d::kolmogorov(1e-3, 0.1, 1.0, 4, TAU), grid, scheme, dt, options),
            Self::Ns3d => Stepper::plan(&NavierStokes3d::decaying(1e-2), grid, scheme, dt, options),
        }
    }

    /// A start of one sample, `[channel, x, ..]`. All its modes are kept by both sides, so that both start alike.
    fn initial(self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        let n = grid.shape()[0];
        Ok(match self {
            // The same spectral density for boxes of every length.
            Self::Ks => RandomFourier::new(n / 32).sample(grid, seed)?.insert_axis(Axis(0)),
            // A soliton of speed 4 and a wave on it. The soliton's images make it periodic: a kink of 1e-8 at the ends of
            // the box would put 1e-10 into stiff modes, where every scheme converges slowly.
            Self::Kdv => {
                let length = grid.lengths()[0];
                let soliton = |x: f64| -2.0 / x.cosh().powi(2);
                let field = ArrayD::from_shape_fn(grid.shape(), |j| {
                    let x = length * j[0] as f64 / n as f64;
                    let images = (-2..=2).map(|image| soliton(x - (0.5 + image as f64) * length));
                    images.sum::<f64>() + 0.1 * (2.0 * TAU / length * x).cos()
                });
                field.insert_axis(Axis(0))
            }
            Self::Ns2d => {
                let field = RandomFourier { max: Some(8.0), ..RandomFourier::new(4) };
                field.sample(grid, seed)?.insert_axis(Axis(0))
            }
            Self::Ns3d => taylor_green::velocity(grid, 2)? + abc::velocity(grid, [1.0, 0.8, 0.6], 1)?,
        })
    }
}

/// What is done with the equation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// The field after `steps` steps.
    Advance,
    /// The gradient of half the mean square of that field by the initial field.
    Gradient(Checkpoints),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub equation: Equation,
    pub task: Task,
    pub n: usize,
    pub length: f64,
    pub batch: usize,
    pub dt: f64,
    pub steps: usize,
}

const fn case(equation: Equation, n: usize, length: f64, batch: usize, dt: f64, steps: usize) -> Case {
    Case { equation, task: Task::Advance, n, length, batch, dt, steps }
}

const fn gradient(policy: Checkpoints) -> Case {
    Case { task: Task::Gradient(policy), ..case(Ns2d, 64, TAU, 1, 1e-2, 32) }
}

/// The table. Enough steps to outlast the clock and the call, few enough for the whole to take minutes.
pub const CASES: [Case; 12] = [
    case(Ks, 256, 60.0, 1, 0.05, 500),
    case(Ks, 256, 60.0, 64, 0.05, 100),
    case(Ks, 8192, 1920.0, 1, 0.05, 100),
    case(Ks, 8192, 1920.0, 64, 0.05, 5),
    case(Kdv, 512, 20.0, 1, 1e-3, 500),
    case(Ns2d, 64, TAU, 1, 1e-2, 100),
    case(Ns2d, 64, TAU, 16, 1e-2, 20),
    case(Ns2d, 256, TAU, 1, 5e-3, 20),
    case(Ns2d, 1024, TAU, 1, 1e-3, 3),
    case(Ns3d, 64, TAU, 1, 1e-2, 3),
    gradient(Checkpoints::Stages),
    gradient(Checkpoints::Steps),
];

impl Case {
    /// Name in the protocol.
    pub fn name(&self) -> String {
        let task = match self.task {
            Task::Advance => "",
            Task::Gradient(Checkpoints::Stages) => "_grad",
            Task::Gradient(_) => "_grad_checkpoint",
        };
        format!("{}{task}", self.equation.name())
    }

    /// Points, as `64^2`.
    pub fn size(&self) -> String {
        match self.equation.dim() {
            1 => self.n.to_string(),
            dim => format!("{}^{dim}", self.n),
        }
    }

    /// What `--only` is compared with.
    pub fn label(&self) -> String {
        format!("{} {} batch {}", self.name(), self.size(), self.batch)
    }

    /// The start, `[batch, channel, x, ..]`; sample `s` has seed `s`.
    pub fn initial(&self) -> Result<ArrayD<f64>> {
        let grid = Grid::cube(self.equation.dim(), self.n, self.length)?;
        let samples = (0..self.batch).map(|s| self.equation.initial(&grid, s as u64)).collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = samples.iter().map(|u| u.view()).collect();
        Ok(stack(Axis(0), &views).expect("all samples have one shape"))
    }

    /// Plans our run.
    pub fn plan<T: Real>(&self, initial: &ArrayD<f64>, threads: usize) -> Result<Box<dyn Run>> {
        let grid = Grid::cube(self.equation.dim(), self.n, self.length)?;
        let options = Options { batch: self.batch, threads, ..Options::default() };
        let stepper = self.equation.plan::<T>(&grid, self.dt, &options)?;
        let field = initial.mapv(T::of);
        Ok(match self.task {
            Task::Advance => {
                let initial = stepper.load(field.view())?;
                Box::new(Advance { stepper, state: initial.clone(), initial, steps: self.steps })
            }
            Task::Gradient(policy) => {
                Box::new(Gradient { stepper, gradient: field.clone(), field, steps: self.steps, policy, tape_bytes: 0 })
            }
        })
    }
}

/// A run of ours; every run starts from the same field.
pub trait Run {
    /// Back to the start; not timed.
    fn reset(&mut self);

    /// The timed part.
    fn run(&mut self) -> Result<()>;

    /// What the last run gave, `[batch, channel, x, ..]`.
    fn result(&self) -> ArrayD<f64>;

    /// Bytes held while running: state, scratch and tape, without the tables of coefficients (those of the peers are
    /// constants of their programs and not counted either).
    fn bytes(&self) -> usize;

    /// Instruction set of the plan: not every length has a kernel for the widest.
    fn isa(&self) -> Isa;
}

struct Advance<T: Real> {
    stepper: Stepper<T>,
    initial: State<T>,
    state: State<T>,
    steps: usize,
}

impl<T: Real> Run for Advance<T> {
    fn reset(&mut self) {
        self.state = self.initial.clone();
    }

    fn run(&mut self) -> Result<()> {
        self.stepper.advance(&mut self.state, self.steps)
    }

    fn result(&self) -> ArrayD<f64> {
        self.stepper.store(&self.state).mapv(T::as_f64)
    }

    fn bytes(&self) -> usize {
        self.stepper.scratch_bytes() + size_of_val(self.state.as_slice())
    }

    fn isa(&self) -> Isa {
        self.stepper.isa()
    }
}

/// From field to gradient field, as the peer does: all transforms are timed.
struct Gradient<T: Real> {
    stepper: Stepper<T>,
    field: ArrayD<T>,
    gradient: ArrayD<T>,
    steps: usize,
    policy: Checkpoints,
    tape_bytes: usize,
}

impl<T: Real> Run for Gradient<T> {
    fn reset(&mut self) {}

    fn run(&mut self) -> Result<()> {
        let mut state = self.stepper.load(self.field.view())?;
        let tape = self.stepper.record(&mut state, self.steps, self.policy)?;
        // J = (1/2) mean(w^2), dJ = sum_x g dw: g = w / points.
        let points: usize = self.field.shape()[2..].iter().product();
        let scale = T::of(1.0 / points as f64);
        state.as_mut_slice().iter_mut().for_each(|x| *x *= scale);
        self.stepper.backward(&tape, &mut state, Wanted::default())?;
        self.gradient = self.stepper.store_cotangent(&state);
        self.tape_bytes = tape.bytes();
        Ok(())
    }

    fn result(&self) -> ArrayD<f64> {
        self.gradient.mapv(T::as_f64)
    }

    fn bytes(&self) -> usize {
        self.stepper.scratch_bytes() + self.tape_bytes + 2 * self.field.len() * size_of::<T>()
    }

    fn isa(&self) -> Isa {
        self.stepper.isa()
    }
}
