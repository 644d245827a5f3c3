//! Derivatives, symmetry and memory of the model.

use super::*;
use ndarray::Array3;
use rand::SeedableRng;

const KS: Equation = Equation::KuramotoSivashinsky { length: 64.0 };

fn field(n: usize, phase: f64) -> Vec<f64> {
    let angle = |j: usize| std::f64::consts::TAU * j as f64 / n as f64;
    (0..n).map(|j| (3.0 * angle(j) + phase).sin() + 0.5 * (5.0 * angle(j) - phase).cos()).collect()
}

/// A model with a last layer that is not zero.
fn model(config: &ModelConfig, n: usize) -> (LineModel<f64>, Tape<f64>) {
    let (mut parameters, mut rng) = (Parameters::new(), ChaCha8Rng::seed_from_u64(3));
    let model = LineModel::new(&KS, n, 0.25, config, &mut parameters, &mut rng).unwrap();
    let last = parameters.len() - (config.width + 1) * model.step.logits() * config.bundle;
    parameters.theta_mut()[last..].iter_mut().enumerate().for_each(|(i, p)| *p = 0.1 * (i as f64 * 1.3).sin());
    (model, Tape::new(parameters, 1).unwrap())
}

fn memory() -> ModelConfig {
    ModelConfig {
        width: 6,
        layers: 2,
        past: 2,
        spacing: 2,
        additive: true,
        base: Base::Spectral,
        ..ModelConfig::default()
    }
}

/// `sum cos(j) u_j` of the last of some steps.
fn value(model: &LineModel<f64>, tape: &mut Tape<f64>, frames: &[Vec<f64>], steps: usize) -> (f64, Vec<f64>) {
    tape.clear();
    let n = frames[0].len();
    let vars: Vec<Var> = frames.iter().map(|f| tape.constant(&[1, 1, n], f).unwrap()).collect();
    let last = *model.record(tape, &vars, steps, Gradient::Full).unwrap().last().unwrap();
    let weight: Vec<f64> = (0..n).map(|j| (j as f64).cos()).collect();
    let value = tape.values(last).iter().zip(&weight).map(|(u, w)| u * w).sum();
    tape.gradients(last, &weight, &[]).unwrap();
    (value, tape.gradient().to_vec())
}

#[test]
fn the_gradient_through_an_unrolled_model_with_memory_is_exact() {
    for config in [memory(), ModelConfig { order: 2, bundle: 2, ..memory() }] {
        let (model, mut tape) = model(&config, 16);
        let frames: Vec<Vec<f64>> = (0..model.window()).map(|t| field(16, 0.1 * t as f64)).collect();
        let (_, gradient) = value(&model, &mut tape, &frames, 5);
        let direction: Vec<f64> = (0..gradient.len()).map(|i| (i as f64 * 0.77).cos()).collect();
        let start = tape.parameters().theta().to_vec();
        let mut at = |step: f64| {
            let theta = tape.parameters_mut().theta_mut();
            theta.iter_mut().zip(&start).zip(&direction).for_each(|((t, s), d)| *t = s + step * d);
            value(&model, &mut tape, &frames, 5).0
        };
        let h = 1e-3;
        let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        // Fourth-order differences of a map with derivatives of size ten.
        assert!((difference / exact - 1.0).abs() < 1e-7, "{difference} {exact}");
    }
}

#[test]
fn the_model_commutes_with_shifts() {
    let (n, shift) = (16, 5);
    let (model, mut tape) = model(&memory(), n);
    let frames: Vec<Vec<f64>> = (0..model.window()).map(|t| field(n, 0.1 * t as f64)).collect();
    let moved = |f: &Vec<f64>| -> Vec<f64> { (0..n).map(|i| f[(i + n - shift) % n]).collect() };
    let mut last = |frames: &[Vec<f64>]| {
        tape.clear();
        let vars: Vec<Var> = frames.iter().map(|f| tape.constant(&[1, 1, n], f).unwrap()).collect();
        let last = *model.record(&mut tape, &vars, 8, Gradient::Full).unwrap().last().unwrap();
        tape.values(last).to_vec()
    };
    let shifted: Vec<Vec<f64>> = frames.iter().map(moved).collect();
    for (a, b) in moved(&last(&frames)).iter().zip(last(&shifted)) {
        // Eight steps of round-off.
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn detached_states_are_the_same_and_their_gradient_is_not() {
    let (model, mut tape) = model(&memory(), 16);
    let frames: Vec<Vec<f64>> = (0..model.window()).map(|t| field(16, 0.1 * t as f64)).collect();
    let mut run = |gradient| {
        tape.clear();
        let vars: Vec<Var> = frames.iter().map(|f| tape.constant(&[1, 1, 16], f).unwrap()).collect();
        let last = *model.record(&mut tape, &vars, 4, gradient).unwrap().last().unwrap();
        tape.gradients(last, &[1.0; 16], &[]).unwrap();
        // The mean is kept, so weigh the cells.
        let weight: Vec<f64> = (0..16).map(|j| (j as f64).cos()).collect();
        tape.gradients(last, &weight, &[]).unwrap();
        (tape.values(last).to_vec(), tape.gradient().to_vec())
    };
    let (full, detached, cut) = (run(Gradient::Full), run(Gradient::Detached), run(Gradient::Truncated(4)));
    assert!(full.0 == detached.0 && full.1 != detached.1);
    assert!(full == cut);
}

#[test]
fn a_long_prediction_equals_a_recorded_one_and_reports_what_blows_up() {
    let config = ModelConfig { bundle: 3, ..memory() };
    let (model, mut tape) = model(&config, 16);
    let window = model.window();
    let past = Array3::from_shape_fn((2, window, 16), |(b, t, j)| field(16, b as f64 + 0.1 * t as f64)[j]);
    let mut last = Vec::new();
    model
        .predict(&mut tape, past.view(), 20, |_, u| {
            last = u.to_vec();
            Ok(())
        })
        .unwrap();
    let vars: Vec<Var> = (0..window)
        .map(|t| {
            let frame: Vec<f64> = past.index_axis(ndarray::Axis(1), t).iter().copied().collect();
            tape.constant(&[2, 1, 16], &frame).unwrap()
        })
        .collect();
    let recorded = *model.record(&mut tape, &vars, 20, Gradient::Full).unwrap().last().unwrap();
    assert_eq!(tape.values(recorded), last);

    let mut broken = past.clone();
    broken[[1, window - 1, 3]] = 1e200;
    let error = model.predict(&mut tape, broken.view(), 20, |step, u| check_finite(u, 16, step, 0.25)).unwrap_err();
    assert!(matches!(error, Error::BlowUp { sample: 1, step: 1, .. }), "{error}");
    let short = past.slice(ndarray::s![.., 1.., ..]);
    let message = model.predict(&mut tape, short, 1, |_, _| Ok(())).unwrap_err().to_string();
    assert!(message.contains("frames = 4") && message.contains("at least 5"), "{message}");
}
