//! Time of the staggered solver, of a learned step and of a training step: `cargo bench --bench stencil`.
//!
//! Least processor time over repeats on one thread. `benches/peers/jaxcfd_volumes.py` measures the same finite-volume
//! step in jax-cfd.

use std::collections::VecDeque;

use parseval::autodiff::{Parameters, Tape, Workers};
use parseval::field::Real;
use parseval::initial::FilteredVelocity;
use parseval::optim::OptimizerConfig;
use parseval::stencil::plane::data::random_start;
use parseval::stencil::plane::training::{GradientMode, Trainer};
use parseval::stencil::plane::{
    Channel, ChannelFlow, FiniteVolume, Flow, History, Interpolation, LearnedSolver, ModelConfig, Stencil,
    TemporalStencil,
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

/// Least processor time of `repeats` runs, in milliseconds.
fn time(repeats: usize, mut f: impl FnMut()) -> f64 {
    f();
    let run = |_| {
        let start = cpu_seconds();
        f();
        1e3 * (cpu_seconds() - start)
    };
    (0..repeats).map(run).fold(f64::INFINITY, f64::min)
}

fn start<T: Real>(n: usize) -> Vec<T> {
    let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.001).expect("a good plan");
    let velocity = FilteredVelocity { peak: 4.0, max_speed: 2.0 };
    random_start(&solver, velocity, 1).expect("a good start").into_iter().map(T::of).collect()
}

fn volumes<T: Real>(n: usize) {
    let flow = Flow::default();
    let solver = FiniteVolume::<T>::plan(&flow, n, flow.step(n, 7.0, 0.5)).expect("a good plan");
    let (workers, mut state) = (Workers::new(1).expect("one thread"), start::<T>(n));
    let steps = 200;
    let ms = time(7, || solver.advance(&workers, Interpolation::VanLeer, &mut state, steps).expect("stable"));
    println!("FV-{n} {}: {:.4} ms a step", T::NAME, ms / steps as f64);
    let logits = vec![T::of(0.01); Stencil::default().cells.logits() * n * n];
    let mut next = state.clone();
    let ms = time(7, || (0..100).for_each(|_| solver.step_learned(Stencil::default(), &state, &logits, &mut next)));
    println!("FV-{n} {}, given logits: {:.4} ms a step", T::NAME, ms / 100.0);
}

fn channel(n: usize) {
    let flow = ChannelFlow { nu: 1e-3, force: 0.1, walls: [0.0; 2], length: 2.0, height: 1.0 };
    let channel = Channel::<f64>::plan(&flow, [2 * n, n], 0.1 / n as f64, Interpolation::VanLeer).expect("a good plan");
    let (workers, mut state) = (Workers::new(1).expect("one thread"), vec![0.0; channel.sample_len()]);
    let ms = time(7, || channel.advance(&workers, &mut state, 20).expect("finite"));
    println!("channel {} x {n} f64, limited: {:.4} ms a step", 2 * n, ms / 20.0);
}

fn model(n: usize, dt: f64, history: bool) -> (TemporalStencil<f32>, Tape<f32>) {
    let solver = FiniteVolume::plan(&Flow::default(), n, dt).expect("a good plan");
    let history = history.then(History::default);
    let config = ModelConfig { bundle: if history.is_some() { 4 } else { 1 }, history, ..ModelConfig::default() };
    let (mut parameters, mut rng) = (Parameters::new(), ChaCha8Rng::seed_from_u64(1));
    let model = TemporalStencil::new(&config, solver, &mut parameters, &mut rng).expect("a good model");
    (model, Tape::new(parameters, 1).expect("one thread"))
}

fn learned(n: usize, dt: f64, history: bool) {
    let name = if history { "TSM" } else { "LI" };
    let (model, mut tape) = model(n, dt, history);
    let frame = start::<f32>(n);
    let mut window: VecDeque<Vec<f32>> = (0..model.window()).map(|_| frame.clone()).collect();
    let first = window.clone();
    let ms = time(7, || {
        window.clone_from(&first);
        model.predict(&mut tape, &mut window, 32, &mut |_, _| Ok(())).expect("finite");
    });
    println!("{name}-{n} f32, one sample: {:.3} ms a step, {:.2} MFLOP", ms / 32.0, model.flops() / 1e6);
    let batch: Vec<f32> = (0..8).flat_map(|_| frame.clone()).collect();
    let frames = vec![batch; model.window() + 32];
    let mut trainer = Trainer::new(Box::new(model), tape, &OptimizerConfig::default(), GradientMode::Full, 0.25)
        .expect("a good trainer");
    let ms = time(3, || {
        trainer.step(&frames, 1e-6).expect("frames that fit");
    });
    println!("{name}-{n} f32, training step of 8 windows and 32 steps: {:.3} s", ms / 1e3);
}

fn main() {
    for n in [32, 64, 128] {
        volumes::<f64>(n);
        volumes::<f32>(n);
    }
    for n in [32, 64] {
        channel(n);
    }
    for (n, dt) in [(16, 0.025), (32, 0.0125)] {
        learned(n, dt, false);
        learned(n, dt, true);
    }
}
