//! Time of one step of the core, for the sizes that the README quotes: `cargo bench --bench core [-- ks|ns2|gradient]`.
//!
//! Median wall and processor time over repeats, microseconds per step of the whole batch, for every instruction set and for
//! two threads; and of the gradient through 32 steps by checkpoint policy. `cargo bench --bench fft` measures the transforms
//! alone and the processor's peak, `cargo bench --bench peers` the same work by the peers.

use std::time::Instant;

use ndarray::ArrayD;
use parseval::field::{Grid, Real};
use parseval::pde::{KuramotoSivashinsky, NavierStokes2d, Pde};
use parseval::spectral::simd::Isa;
use parseval::stepper::{Checkpoints, Options, Scheme, Stepper, Wanted};

fn field<T: Real>(shape: &[usize], dim: usize) -> ArrayD<T> {
    let space = shape.len() - dim;
    ArrayD::from_shape_fn(shape, |i| {
        let x = |a: usize| std::f64::consts::TAU * i[space + a] as f64 / shape[space + a] as f64;
        let wave = |a: usize| (2.0 * x(a) + 0.4).sin() + 0.7 * (3.0 * x(a) + x((a + 1) % dim)).cos();
        T::of((0..dim).map(wave).sum::<f64>())
    })
}

/// Seconds of processor time of this process.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

/// Median of the wall time and of the processor time of `repeats` runs of `f`, in microseconds per step.
fn time(repeats: usize, steps: usize, mut f: impl FnMut()) -> (f64, f64) {
    f();
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let (start, start_cpu) = (Instant::now(), cpu_seconds());
        f();
        wall.push(start.elapsed().as_secs_f64() * 1e6 / steps as f64);
        cpu.push((cpu_seconds() - start_cpu) * 1e6 / steps as f64);
    }
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    (wall[repeats / 2], cpu[repeats / 2])
}

fn case<T: Real, P: Pde>(name: &str, pde: &P, grid: &Grid, dt: f64, batch: usize, steps: usize) {
    let shape: Vec<usize> = [batch, P::CHANNELS].into_iter().chain(grid.shape().iter().copied()).collect();
    for (isa, threads) in [(Isa::Scalar, 1), (Isa::Avx2, 1), (Isa::Avx512, 1), (Isa::detect(), 2)] {
        if !isa.is_available() {
            continue;
        }
        let options = Options { batch, threads, isa, ..Options::default() };
        let mut stepper = Stepper::<T>::plan(pde, grid, Scheme::Etdrk4, dt, &options).unwrap();
        let mut state = stepper.load(field::<T>(&shape, grid.dim()).view()).unwrap();
        let (wall, cpu) = time(7, steps, || stepper.advance(&mut state, steps).unwrap());
        println!(
            "{name:<22} {:>4} batch {batch:>3} {:>8?} threads {threads}  wall {wall:>10.2} us  cpu {cpu:>10.2} us",
            T::NAME,
            stepper.isa()
        );
    }
}

fn gradient<T: Real>() {
    let grid = Grid::cube(2, 64, std::f64::consts::TAU).unwrap();
    let pde = NavierStokes2d::kolmogorov(1e-3, 0.1, 1.0, 4, std::f64::consts::TAU);
    for policy in [Checkpoints::Stages, Checkpoints::Steps, Checkpoints::Segments(6)] {
        let mut stepper = Stepper::<T>::plan(&pde, &grid, Scheme::Etdrk4, 1e-2, &Options::default()).unwrap();
        let initial = stepper.load(field::<T>(&[64, 64], 2).view()).unwrap();
        let mut bytes = 0;
        let (wall, cpu) = time(9, 1, || {
            let mut state = initial.clone();
            let tape = stepper.record(&mut state, 32, policy).unwrap();
            bytes = tape.bytes();
            stepper.backward(&tape, &mut state, Wanted::default()).unwrap();
        });
        let kib = bytes as f64 / 1024.0;
        println!(
            "gradient 64^2, 32 steps {:>4} {policy:?}: wall {wall:.0} us, cpu {cpu:.0} us, tape {kib:.0} KiB",
            T::NAME
        );
    }
}

fn all<T: Real>(only: &str) {
    let tau = std::f64::consts::TAU;
    let run = |name: &str| only.is_empty() || name.contains(only);
    let ks = KuramotoSivashinsky::default();
    let ns = NavierStokes2d::kolmogorov(1e-3, 0.1, 1.0, 4, tau);
    if run("ks") {
        for (n, l, batch, steps) in
            [(256, 60.0, 1, 2000), (256, 60.0, 64, 50), (8192, 1920.0, 1, 100), (8192, 1920.0, 64, 3)]
        {
            case::<T, _>(&format!("ks {n}"), &ks, &Grid::cube(1, n, l).unwrap(), 0.05, batch, steps);
        }
    }
    if run("ns2") {
        for (n, batch, steps) in [(64, 1, 200), (64, 16, 20), (256, 1, 20), (1024, 1, 2)] {
            case::<T, _>(&format!("ns2 {n}^2"), &ns, &Grid::cube(2, n, tau).unwrap(), 1e-3, batch, steps);
        }
    }
    if run("gradient") {
        gradient::<T>();
    }
}

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    all::<f64>(&only);
    all::<f32>(&only);
}
