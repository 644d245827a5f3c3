//! Time of one training step, forward and backward, through the layers: `cargo bench --bench engine [-- NAME ...]`.
//!
//! Median wall time; the rate of the multiplications and additions that the definition asks for; and its share of the peak,
//! the rate of large matrix products (of the `gemm` crate, one on each thread), which is measured between the repeats.
//! A row is a name, the work of a step and a closure that runs one.

mod peak;

use std::time::Instant;

use ndarray::Array5;
use parseval::autodiff::{Parameters, Tape};
use parseval::field::{Grid, Real};
use parseval::nn::modes::{Axis, Half};
use parseval::nn::{Branch, Convolution, Padding, PointwiseConfig, RelativeSobolev, SpectralConfig, relative_l2};
use parseval::operator::{Model, Predictor, SfnoConfig, Trainer};
use parseval::optim::{Adam, AdamOptions, Optimizer, OptimizerConfig};
use parseval::spectral::simd::Activation;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use peak::{median, peak};

const REPEATS: usize = 15;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!(
        "{:<24} {:>4} {:>7} | {:>9} {:>8} {:>7} {:>6}",
        "step", "real", "threads", "ms", "GFLOP/s", "peak", "share"
    );
    for threads in [1, 2] {
        for row in rows::<f32>(threads) {
            row.print::<f32>(threads, &wanted);
        }
        for row in rows::<f64>(threads) {
            row.print::<f64>(threads, &wanted);
        }
    }
}

/// All rows of one precision.
fn rows<T: Real>(threads: usize) -> Vec<Row> {
    vec![
        convolutions::<T>("conv_tower_64x64_b8", threads, 6, &[8, 64, 64, 64], &[3, 3], Padding::Periodic),
        convolutions::<T>("conv3d_16ch_32^3_b2", threads, 1, &[2, 16, 32, 32, 32], &[3, 3, 3], Padding::Zero),
        fourier_layers::<T>("fno2d_w32_m16_64x64_b16", threads),
        sfno::<T>("sfno_s_32x32_b4", threads, 32, SfnoConfig { width: 8, modes: 8, ..SfnoConfig::default() }),
        sfno::<T>("sfno_m_64x64_b4", threads, 64, SfnoConfig { width: 10, modes: 12, ..SfnoConfig::default() }),
    ]
}

/// What is timed.
struct Row {
    name: &'static str,
    /// Floating-point operations of a step.
    work: f64,
    step: Box<dyn FnMut()>,
}

impl Row {
    fn print<T: Real>(mut self, threads: usize, wanted: &[String]) {
        if !wanted.is_empty() && !wanted.iter().any(|w| self.name.contains(w.as_str())) {
            return;
        }
        (self.step)();
        let (mut times, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            peaks.push(peak::<T>(threads));
            let start = Instant::now();
            (self.step)();
            times.push(start.elapsed().as_secs_f64());
        }
        let (time, peak) = (median(times), median(peaks));
        let rate = self.work / time * 1e-9;
        println!(
            "{:<24} {:>4} {threads:>7} | {:>9.2} {rate:>8.1} {peak:>7.1} {:>5.0}%",
            self.name,
            T::NAME,
            time * 1e3,
            100.0 * rate / peak
        );
    }
}

/// A tower of equal convolutions without anything between them, and the gradient by all parameters and by the input.
fn convolutions<T: Real>(
    name: &'static str,
    threads: usize,
    layers: usize,
    shape: &'static [usize],
    kernel: &[usize],
    padding: Padding,
) -> Row {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut parameters = Parameters::<T>::new();
    let tower: Vec<Convolution> = (0..layers)
        .map(|i| {
            let name = format!("layers.{i}");
            Convolution::new(&mut parameters, &name, (shape[1], shape[1]), kernel, padding, true, &mut rng).unwrap()
        })
        .collect();
    let mut tape = Tape::new(parameters, threads).unwrap();
    let x: Vec<T> = (0..shape.iter().product()).map(|i: usize| T::of((i as f64).sin())).collect();
    let pass = 2 * x.len() * shape[1] * kernel.iter().product::<usize>();
    let step = move || {
        tape.clear();
        let input = tape.variable(shape, &x).unwrap();
        let output = tower.iter().fold(input, |y, layer| layer.record(&mut tape, y).unwrap());
        tape.gradients(output, &x, &[input]).unwrap();
    };
    Row { name, work: (3 * layers * pass) as f64, step: Box::new(step) }
}

/// A Fourier neural operator with 4 layers, its loss, its gradient, and a step of Adam.
fn fourier_layers<T: Real>(name: &'static str, threads: usize) -> Row {
    const SHAPE: [usize; 4] = [16, 3, 64, 64];
    let (width, modes, layers, hidden) = (32, 16, 4, 128);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut parameters = Parameters::<T>::new();
    let lift = PointwiseConfig::linear(SHAPE[1], width).init("lift", &mut parameters, &mut rng);
    let network: Vec<_> = (0..layers)
        .map(|layer| {
            let activation = if layer + 1 < layers { Activation::Gelu } else { Activation::Identity };
            let local =
                PointwiseConfig { branch: Branch::Identity, activation, ..PointwiseConfig::linear(width, width) };
            let scale = 1.0 / (width * width) as f64;
            let half = Half::Last;
            let spectral = SpectralConfig { channels: (width, width), modes: vec![modes; 2], half, scale, bias: None };
            let spectral = spectral.init(&format!("spectral.{layer}"), &mut parameters, &mut rng);
            (spectral, local.init(&format!("local.{layer}"), &mut parameters, &mut rng))
        })
        .collect();
    let project = PointwiseConfig { hidden: Some((hidden, Activation::Gelu)), ..PointwiseConfig::linear(width, 1) };
    let project = project.init("project", &mut parameters, &mut rng);
    let mut adam = Adam::new(parameters.len(), AdamOptions::default()).unwrap();
    let mut tape = Tape::new(parameters, threads).unwrap();
    let x: Vec<T> = (0..SHAPE.iter().product()).map(|i: usize| T::of((i as f64).sin())).collect();
    let points = SHAPE[0] * SHAPE[2] * SHAPE[3];
    let axes = [Axis::periodic(SHAPE[2], modes), Axis::periodic(SHAPE[3], modes)];
    // Multiply-adds of the pointwise layers, of the transforms as matrix products, and of the mixing of channels.
    let pointwise = points * (SHAPE[1] * width + layers * width * width + width * hidden + hidden);
    let transform = SHAPE[0] * width * (64 * 64 * 2 * modes + 2 * modes * 2 * 64 * 2 * modes);
    let mixing = 4 * SHAPE[0] * 2 * modes * modes * width * width;
    let work = 2 * (3 * pointwise + layers * (4 * transform + 3 * mixing));
    let step = move || {
        tape.clear();
        let input = tape.constant(&SHAPE, &x).unwrap();
        let mut v = lift.record(&mut tape, input, None).unwrap();
        for (spectral, local) in &network {
            let convolved = spectral.record(&mut tape, v, &axes).unwrap();
            v = local.record(&mut tape, v, Some(convolved)).unwrap();
        }
        let output = project.record(&mut tape, v, None).unwrap();
        let target = tape.constant(&[SHAPE[0], 1, SHAPE[2], SHAPE[3]], &x[..points]).unwrap();
        let loss = relative_l2(&mut tape, output, target).unwrap();
        tape.backward(loss).unwrap();
        let (theta, gradient) = tape.update();
        adam.step(theta, gradient, 1e-3);
    };
    Row { name, work: work as f64, step: Box::new(step) }
}

/// A training step of the spatiotemporal operator, 10 frames to 10, batch of 4; its work is not counted.
fn sfno<T: Real>(name: &'static str, threads: usize, n: usize, config: SfnoConfig) -> Row {
    let predictor = Predictor::<T>::new(&Model::Sfno(config), 1, 10, 0, threads).unwrap();
    let loss = RelativeSobolev::plan(&Grid::cube(2, n, 1.0).unwrap(), 1.0, 0.1).unwrap();
    let mut trainer = Trainer::new(predictor, &OptimizerConfig::default(), loss, None).unwrap();
    let frames =
        Array5::from_shape_fn((4, 1, 10, n, n), |(b, _, t, x, y)| T::of(((b + t + 3 * x + y * y) as f64).sin()));
    let step = move || {
        trainer.step(frames.view(), frames.view(), 1e-3).unwrap();
    };
    Row { name, work: f64::NAN, step: Box::new(step) }
}
