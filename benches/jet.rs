//! Time of the loss and the whole gradient of physics-informed networks: `cargo bench --bench jet [-- NAME ...]`.
//!
//! A network of 4 hidden layers of 128 units (tanh) at 4096 points (x, t). `allen_cahn` takes u, u_x, u_xx, u_t, and
//! `kuramoto_sivashinsky` derivatives up to u_xxxx and u_t; `rows` is the Jacobian matrix of 3 layers of 24 units for
//! Gauss-Newton, with the components of `allen_cahn`. Median wall and processor time; the rate of the multiplications and
//! additions of the layers alone; and its share of the peak, the rate of large matrix products (of the `gemm` crate, one on
//! each thread), which is measured between the repeats.

mod peak;

use std::time::Instant;

use parseval::autodiff::Workers;
use parseval::field::Real;
use parseval::jet::{Activation, Coordinate, Direction, Jets, Mlp};

use peak::{median, peak};

const REPEATS: usize = 15;
const POINTS: usize = 4096;

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!(
        "{:<22} {:>4} {:>7} | {:>9} {:>9} {:>8} {:>7} {:>6}",
        "step", "real", "threads", "ms", "cpu ms", "GFLOP/s", "peak", "share"
    );
    for name in ["allen_cahn", "kuramoto_sivashinsky", "rows"] {
        if wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())) {
            for threads in [1, 2] {
                time::<f32>(name, threads)?;
                time::<f64>(name, threads)?;
            }
        }
    }
    Ok(())
}

/// Times one step and prints its row.
fn time<T: Real>(name: &str, threads: usize) -> anyhow::Result<()> {
    let line = |from, to| Coordinate::Linear { from, to };
    let (width, depth) = if name == "rows" { (24, 3) } else { (128, 4) };
    let coordinates = vec![line(-1.0, 1.0), line(0.0, 1.0)];
    let mlp = Mlp { coordinates, width, depth, outputs: 1, activation: Activation::Tanh, scale: None };
    let order = if name == "kuramoto_sivashinsky" { 4 } else { 2 };
    let jets = Jets::<T>::plan(&mlp, &[Direction::axis(0, order), Direction::axis(1, 1)])?;
    let parameters = mlp.parameters::<T>(0)?;
    let workers = Workers::new(threads)?;
    let points: Vec<T> = (0..2 * POINTS).map(|i| T::of((0.7 * i as f64).sin().abs())).collect();
    let (u, u_x, u_xx, u_t) = (0, 1, 2, order + 1);
    let [one, three, five, nu] = [1.0, 3.0, 5.0, 1e-4].map(T::of);
    // u_t + 5 (u^3 - u) - nu u_xx, or u_t + 5 u u_x + 5 u_xx + nu u_xxxx.
    let residual = move |jet: &[T], g: &mut [T]| {
        g[u_t] = one;
        if order == 2 {
            g[u] = five * (three * jet[u] * jet[u] - one);
            g[u_xx] = -nu;
            jet[u_t] + five * (jet[u] * jet[u] - one) * jet[u] - nu * jet[u_xx]
        } else {
            (g[u], g[u_x]) = (five * jet[u_x], five * jet[u]);
            (g[u_xx], g[order]) = (five, nu);
            jet[u_t] + five * (jet[u] * jet[u_x] + jet[u_xx]) + nu * jet[order]
        }
    };
    let mut step: Box<dyn FnMut()> = if name == "rows" {
        let (mut residuals, mut rows) = (vec![T::zero(); POINTS], vec![T::zero(); POINTS * parameters.len()]);
        Box::new(move || {
            jets.jacobian(&workers, parameters.theta(), &points, &mut residuals, &mut rows, |_, u, g| residual(u, g));
        })
    } else {
        let mut gradient = vec![T::zero(); parameters.len()];
        Box::new(move || {
            jets.gradient(&workers, parameters.theta(), &points, &mut gradient, |_, u, g| {
                let r = residual(u, g);
                g.iter_mut().for_each(|g| *g *= r);
                T::of(0.5) * r * r
            });
        })
    };
    step();
    let (mut wall, mut cpu, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        peaks.push(peak::<T>(threads));
        let (start, used) = (Instant::now(), cpu_seconds());
        step();
        wall.push(start.elapsed().as_secs_f64());
        cpu.push(cpu_seconds() - used);
    }
    let (wall, cpu, peak) = (median(wall), median(cpu), median(peaks));
    // Each weight: forward, gradient, and back through all layers but the first.
    let (first, others) = (2 * width, (depth - 1) * width * width + width);
    let rate = (2 * (order + 2) * POINTS * (2 * first + 3 * others)) as f64 / wall * 1e-9;
    println!(
        "{name:<22} {:>4} {threads:>7} | {:>9.2} {:>9.2} {rate:>8.1} {peak:>7.1} {:>5.0}%",
        T::NAME,
        wall * 1e3,
        cpu * 1e3,
        100.0 * rate / peak
    );
    Ok(())
}

/// Seconds of processor time of this process.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}
