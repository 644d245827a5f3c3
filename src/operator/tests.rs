use ndarray::Array5;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

use super::*;
use crate::field::Grid;
use crate::nn::mean_square;
use crate::spectral::Derivatives;

fn models() -> Vec<Model> {
    let fno = FnoConfig { width: 4, modes: 2, modes_time: 2, layers: 2, projection: 6, ..FnoConfig::default() };
    vec![
        Model::Sfno(SfnoConfig { width: 6, modes: 2, modes_time: 2, latent: 4, layers: 2, ..SfnoConfig::default() }),
        Model::Sfno(SfnoConfig {
            width: 6,
            modes: 2,
            modes_time: 3,
            modes_output: 3,
            pad_time: true,
            latent: 3,
            layers: 1,
            ..SfnoConfig::default()
        }),
        Model::Fno(FnoConfig { time: Time::March, ..fno.clone() }),
        Model::Fno(FnoConfig { time: Time::Axis, residual: false, ..fno.clone() }),
        Model::Fno(FnoConfig { time: Time::March, factorised: true, ..fno.clone() }),
        Model::Fno(FnoConfig { time: Time::Axis, factorised: true, expansion: 2, ..fno }),
    ]
}

fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Loss of a model after its parameters moved by `step` along a direction, and the gradient there.
fn loss(model: &Model, threads: usize, step: f64, direction: &[f64]) -> (f64, Vec<f64>) {
    let mut predictor = Predictor::<f64>::new(model, 1, 5, 1, threads).unwrap();
    let theta = predictor.parameters_mut().theta_mut();
    theta.iter_mut().zip(direction).for_each(|(t, d)| *t += step * d);
    let (tape, operator) = predictor.parts();
    let input = tape.constant(&[2, 1, 5, 8, 8], &noise(640, 2)).unwrap();
    let output = operator.record(tape, input, 3).unwrap();
    assert_eq!(tape.shape(output), [2, 1, 3, 8, 8]);
    let target = tape.constant(&[2, 1, 3, 8, 8], &noise(384, 3)).unwrap();
    let loss = mean_square(tape, output, target).unwrap();
    tape.backward(loss).unwrap();
    (tape.scalar(loss).unwrap(), tape.gradient().to_vec())
}

#[test]
fn gradients_by_all_parameters_agree_with_differences() {
    for model in models() {
        let count = Predictor::<f64>::new(&model, 1, 5, 1, 1).unwrap().parameters().len();
        let direction = noise(count, 4);
        let (_, gradient) = loss(&model, 1, 0.0, &direction);
        let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let at = |step: f64| loss(&model, 1, step, &direction).0;
        let h = 1e-3;
        // Sixth order; the loss is of size one, so round-off is some 1e-16 / h, truncation below it.
        let difference =
            (45.0 * (at(h) - at(-h)) - 9.0 * (at(2.0 * h) - at(-2.0 * h)) + at(3.0 * h) - at(-3.0 * h)) / (60.0 * h);
        assert!((slope - difference).abs() < 1e-10 * (1.0 + slope.abs()), "{model:?}: {slope} {difference}");
        // Every tensor takes part, but for a bias that starts a chain of zeros and the imaginary parts of the means of lines,
        // which are up to a sixth of these small models.
        let idle = gradient.iter().filter(|g| **g == 0.0).count();
        assert!(idle * 6 < count, "{model:?}: {idle} of {count} gradients vanish");
    }
}

#[test]
fn gradients_are_the_same_bits_on_any_number_of_threads() {
    for model in models() {
        assert_eq!(loss(&model, 1, 0.0, &[]), loss(&model, 2, 0.0, &[]));
        assert_eq!(loss(&model, 1, 0.0, &[]), loss(&model, 3, 0.0, &[]));
    }
}

/// A smooth flow, periodic in space.
fn smooth(n: usize, frames: usize) -> Array5<f64> {
    Array5::from_shape_fn((1, 1, frames, n, n), |(_, _, t, x, y)| {
        let (x, y, t) = (TAU * x as f64 / n as f64, TAU * y as f64 / n as f64, 0.1 * t as f64);
        (x - t).sin() + (x + y + t).cos()
    })
}

#[test]
fn predictions_do_not_depend_on_the_resolution() {
    for model in &models()[..2] {
        let predict = |n: usize| {
            let mut predictor = Predictor::<f64>::new(model, 1, 5, 1, 1).unwrap();
            predictor.predict(smooth(n, 5).view(), 3).unwrap()
        };
        let (coarse, fine) = (predict(32), predict(64));
        let size = coarse.iter().fold(0.0f64, |m, c| m.max(c.abs()));
        for ((_, _, t, x, y), value) in coarse.indexed_iter() {
            // Modes that the activations make above the coarse grid's Nyquist mode are aliased there.
            assert!((value - fine[[0, 0, t, 2 * x, 2 * y]]).abs() < 1e-5 * size, "{model:?}");
        }
    }
}

#[test]
fn any_number_of_frames_is_predicted() {
    for model in models() {
        let mut predictor = Predictor::<f32>::new(&model, 1, 5, 1, 1).unwrap();
        for frames in [4, 5, 12] {
            let input = smooth(8, 5).mapv(|u| u as f32);
            assert_eq!(predictor.predict(input.view(), frames).unwrap().dim(), (1, 1, frames, 8, 8));
        }
    }
}

#[test]
fn misfits_are_refused_with_their_shapes() {
    let mut predictor = Predictor::<f64>::new(&models()[2], 1, 5, 1, 1).unwrap();
    let message = predictor.predict(smooth(8, 4).view(), 2).unwrap_err().to_string();
    assert_eq!(message, "input frames: expected shape [5], got [4]");
    let message = predictor.predict(smooth(4, 5).view(), 2).unwrap_err().to_string();
    assert_eq!(message, "modes of axis 0 = 2 is not allowed: must be from 1 to 1, below the Nyquist mode of 4 points");
    let none = SfnoConfig { modes: 0, ..SfnoConfig::default() };
    let message = Predictor::<f64>::new(&Model::Sfno(none), 1, 5, 1, 1).err().unwrap().to_string();
    assert_eq!(message, "modes = 0 is not allowed: must be >= 1");
}

#[test]
fn a_projected_velocity_has_no_divergence() {
    let grid = Grid::new(&[8, 12], &[1.0, 2.0]).unwrap();
    for model in models() {
        let predictor = Predictor::<f64>::new(&model, 2, 5, 1, 1).unwrap();
        let mut predictor = predictor.divergence_free(&grid).unwrap();
        let input = Array5::from_shape_vec((1, 2, 5, 8, 12), noise(960, 5)).unwrap();
        let velocity = predictor.predict(input.view(), 3).unwrap();
        let size = velocity.iter().fold(0.0f64, |m, u| m.max(u.abs()));
        let derivatives = Derivatives::<f64>::plan(&grid);
        for t in 0..3 {
            let frame = velocity.slice(ndarray::s![0, .., t, .., ..]).to_owned().into_dyn();
            let divergence = derivatives.divergence(frame.view());
            // Round-off of a projection, times the largest wavenumber, 2 pi 4.
            assert!(divergence.iter().all(|d| d.abs() < 1e-12 * size), "{model:?}");
        }
    }
    let scalar = Predictor::<f64>::new(&models()[0], 1, 5, 1, 1).unwrap().divergence_free(&grid);
    let message = scalar.err().unwrap().to_string();
    assert!(message.contains("1 channels in 2 dimensions"), "{message}");
}
