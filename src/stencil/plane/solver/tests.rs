use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::autodiff::{Parameters, check};

fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A smooth divergence-free field of some modes.
fn smooth(n: usize, seed: u64) -> Vec<f64> {
    let h = TAU / n as f64;
    let c = noise(8, seed);
    let at = |x: f64, y: f64| {
        let psi = |x: f64, y: f64| {
            c[0] * (x + c[1]).sin() * (y + c[2]).cos() + c[3] * (2.0 * x - y + c[4]).sin() + c[5] * (x + 2.0 * y).cos()
        };
        psi(x, y)
    };
    // Differences of a stream function at corners are exactly divergence-free.
    let corner = |i: usize, j: usize| at((i + 1) as f64 * h, (j + 1) as f64 * h);
    let mut state = Vec::new();
    for i in 0..n {
        for j in 0..n {
            state.push((corner(i, j) - corner(i, (j + n - 1) % n)) / h);
        }
    }
    for i in 0..n {
        for j in 0..n {
            state.push(-(corner(i, j) - corner((i + n - 1) % n, j)) / h);
        }
    }
    state
}

fn divergence(n: usize, state: &[f64]) -> f64 {
    let h = TAU / n as f64;
    let (u, v) = state.split_at(n * n);
    let at = |i: usize, j: usize| {
        (u[i * n + j] - u[(i + n - 1) % n * n + j] + v[i * n + j] - v[i * n + (j + n - 1) % n]) / h
    };
    (0..n * n).map(|p| at(p / n, p % n).abs()).fold(0.0, f64::max)
}

fn energy(state: &[f64]) -> f64 {
    state.iter().map(|x| x * x).sum()
}

fn workers() -> Workers<f64> {
    Workers::new(1).unwrap()
}

const STENCILS: [Stencil; 6] = {
    [
        Stencil { cells: Cells::Square, limited: false },
        Stencil { cells: Cells::Square, limited: true },
        Stencil { cells: Cells::Band, limited: false },
        Stencil { cells: Cells::Band, limited: true },
        Stencil { cells: Cells::Line, limited: false },
        Stencil { cells: Cells::Line, limited: true },
    ]
};

#[test]
fn projection_leaves_divergence_free_fields_and_removes_gradients() {
    for n in [5, 8, 12, 16, 32] {
        let solver = FiniteVolume::<f64>::plan(&Flow::decaying(0.0), n, 0.1).unwrap();
        let mut next = vec![0.0; 2 * n * n];
        let state = smooth(n, 1);
        solver.kernel.implicit(&state, &mut next);
        // A transform and its inverse of numbers of size one.
        assert!(state.iter().zip(&next).all(|(a, b)| (a - b).abs() < 1e-13), "n = {n}");
        solver.kernel.implicit(&noise(2 * n * n, 2), &mut next);
        // Differences of numbers of size one with round-off, over h >= 0.2.
        assert!(divergence(n, &next) < 1e-12, "n = {n}");
    }
}

#[test]
fn diffusion_of_a_shear_mode_has_its_discrete_factor() {
    let (n, m) = (16, 3);
    let flow = Flow::decaying(0.3);
    let solver = FiniteVolume::<f64>::plan(&flow, n, 0.1).unwrap();
    let h = TAU / n as f64;
    let mut state = vec![0.0; 2 * n * n];
    for p in 0..n * n {
        state[p] = (m as f64 * (p % n) as f64 * h + 0.4).cos();
    }
    let s = (2.0 - 2.0 * (m as f64 * h).cos()) / (h * h);
    let mut next = state.clone();
    solver.kernel.implicit(&state, &mut next);
    assert!(state.iter().zip(&next).all(|(a, b)| (a / (1.0 + 0.03 * s) - b).abs() < 1e-14));
}

#[test]
fn every_vector_makes_the_step_of_the_scalar() {
    let n = 32;
    let forcing = (0..n).map(|j| (j as f64).sin()).collect();
    let constants = Constants { n, h: TAU / n as f64, dt: 0.01, nu: 1e-3, drag: 0.1, forcing };
    let (fast, plain) = (kernel::plan::<f64>(&constants), kernel::plain::<f64>(&constants));
    assert_eq!(plain.isa_width(), 1);
    let state = smooth(n, 3);
    let bar = noise(state.len(), 4);
    for scheme in [Scheme::Linear, Scheme::VanLeer].into_iter().chain(STENCILS.map(Stencil::scheme)) {
        let count = if let Scheme::Learned { cells, .. } = scheme { cells.logits() * n * n } else { 0 };
        let logits = noise(count, 5);
        let results = [&fast, &plain].map(|kernel| {
            let mut next = vec![0.0; state.len()];
            kernel.step(scheme, &state, &logits, &mut next);
            let (mut state_bar, mut logits_bar) = (vec![0.0; state.len()], vec![0.0; count]);
            let bars = Bars { state: Some(&mut state_bar), logits: Some(&mut logits_bar) };
            kernel.step_vjp(scheme, &state, &logits, &bar, bars);
            [next, state_bar, logits_bar]
        });
        for (a, b) in results[0].iter().flatten().zip(results[1].iter().flatten()) {
            // Sums of some dozen terms of size up to ten, in another order.
            assert!((a - b).abs() < 1e-12, "{scheme:?}");
        }
    }
}

#[test]
fn a_step_is_divergence_free_in_both_precisions() {
    let n = 32;
    let double = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.0125).unwrap();
    let mut state = smooth(n, 1);
    double.advance(&workers(), Interpolation::VanLeer, &mut state, 20).unwrap();
    assert!(divergence(n, &state) < 1e-12);
    let single = FiniteVolume::<f32>::plan(&Flow::default(), n, 0.0125).unwrap();
    let mut state: Vec<f32> = smooth(n, 1).iter().map(|&x| x as f32).collect();
    single.advance(&Workers::new(1).unwrap(), Interpolation::VanLeer, &mut state, 20).unwrap();
    let state: Vec<f64> = state.iter().map(|&x| f64::from(x)).collect();
    assert!(divergence(n, &state) < 1e-5);
}

/// Largest error of Taylor-Green vortices at t = 0.2.
fn taylor_green_error(n: usize, dt: f64) -> f64 {
    let flow = Flow::decaying(0.05);
    let h = TAU / n as f64;
    let exact = |t: f64| -> Vec<f64> {
        let decay = (-2.0 * flow.nu * t).exp();
        let u = (0..n * n).map(|p| (((p / n) as f64 + 1.0) * h).cos() * (((p % n) as f64 + 0.5) * h).sin() * decay);
        let v = (0..n * n).map(|p| -(((p / n) as f64 + 0.5) * h).sin() * (((p % n) as f64 + 1.0) * h).cos() * decay);
        u.chain(v).collect()
    };
    let mut state = exact(0.0);
    let steps = (0.2 / dt) as usize;
    FiniteVolume::plan(&flow, n, dt).unwrap().advance(&workers(), Interpolation::Linear, &mut state, steps).unwrap();
    state.iter().zip(exact(steps as f64 * dt)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn linear_interpolation_is_of_second_order_in_space() {
    // Steps so small that first order in time is below the error in space.
    let errors = [8, 16, 32].map(|n| taylor_green_error(n, 1e-3));
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((1.8..2.3).contains(&order), "{errors:?}");
    }
}

#[test]
fn the_limiter_does_not_make_energy() {
    let solver = FiniteVolume::<f64>::plan(&Flow::decaying(0.0), 32, 0.0125).unwrap();
    let mut state = smooth(32, 1);
    let mut last = energy(&state);
    for _ in 0..50 {
        solver.advance(&workers(), Interpolation::VanLeer, &mut state, 1).unwrap();
        assert!(energy(&state) < last);
        last = energy(&state);
    }
}

#[test]
fn laminar_kolmogorov_flow_is_steady() {
    let (n, flow) = (16, Flow { nu: 0.1, ..Flow::default() });
    let (dt, h) = (0.02, TAU / 16.0);
    let forcing = flow.forcing.unwrap();
    let solver = FiniteVolume::<f64>::plan(&flow, n, dt).unwrap();
    // c' (1 + nu dt s) = c (1 - mu dt) + dt f at rest: c = f / (mu + nu s).
    let s = (2.0 - 2.0 * (4.0 * h).cos()) / (h * h);
    let amplitude = (2.0 * h).sin() / (2.0 * h) * forcing.amplitude / (flow.drag + flow.nu * s);
    let mut state = vec![0.0; 2 * n * n];
    for p in 0..n * n {
        state[p] = amplitude * (4.0 * ((p % n) as f64 + 0.5) * h).sin();
    }
    let before = state.clone();
    for interpolation in [Interpolation::Linear, Interpolation::VanLeer] {
        solver.advance(&workers(), interpolation, &mut state, 100).unwrap();
        // A hundred steps of round-off.
        assert!(state.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

#[test]
fn whole_cells_may_be_shifted_before_or_after() {
    let n = 16;
    let solver = FiniteVolume::<f64>::plan(&Flow { forcing: None, ..Flow::default() }, n, 0.02).unwrap();
    let logits = noise(Cells::Square.logits() * n * n, 7);
    let shift = |field: &[f64]| -> Vec<f64> {
        let from = |c: usize, i: usize, j: usize| field[(c * n + (i + 3) % n) * n + (j + 14) % n];
        let planes = field.len() / (n * n);
        (0..planes * n * n).map(|p| from(p / (n * n), p / n % n, p % n)).collect()
    };
    let state = smooth(n, 8);
    let step = |state: &[f64], logits: Option<&[f64]>| {
        let mut next = state.to_vec();
        match logits {
            Some(logits) => solver.step_learned(Stencil::default(), state, logits, &mut next),
            None => solver.advance(&workers(), Interpolation::VanLeer, &mut next, 1).unwrap(),
        }
        next
    };
    for (a, b) in [
        (shift(&step(&state, None)), step(&shift(&state), None)),
        (shift(&step(&state, Some(&logits))), step(&shift(&state), Some(&shift(&logits)))),
    ] {
        // Round-off of the transforms.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

#[test]
fn uniform_flow_is_not_changed_by_any_logits_and_momentum_is_kept() {
    let n = 16;
    let solver = FiniteVolume::<f64>::plan(&Flow::decaying(1e-3), n, 0.02).unwrap();
    for stencil in STENCILS {
        let logits = noise(stencil.cells.logits() * n * n, 9);
        let mut next = vec![0.0; 2 * n * n];
        let uniform: Vec<f64> = (0..2 * n * n).map(|p| if p < n * n { 1.3 } else { -0.7 }).collect();
        solver.step_learned(stencil, &uniform, &logits, &mut next);
        // The weights sum to one up to sixteen roundings of numbers of size one.
        assert!(next.iter().zip(&uniform).all(|(a, b)| (a - b).abs() < 1e-13), "{stencil:?}");
        let state = smooth(n, 1);
        solver.step_learned(stencil, &state, &logits, &mut next);
        for component in 0..2 {
            let range = component * n * n..(component + 1) * n * n;
            let change: f64 = next[range.clone()].iter().sum::<f64>() - state[range].iter().sum::<f64>();
            // 256 telescoping terms of size up to ten.
            assert!(change.abs() < 1e-12, "{stencil:?}: {change:e}");
        }
    }
}

#[test]
fn zero_logits_are_linear_interpolation() {
    let n = 16;
    let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.02).unwrap();
    let state = smooth(n, 1);
    let (mut linear, mut learned) = (state.clone(), state.clone());
    solver.advance(&workers(), Interpolation::Linear, &mut linear, 1).unwrap();
    for stencil in STENCILS.into_iter().filter(|s| !s.limited) {
        let zeros = vec![0.0; stencil.cells.logits() * n * n];
        solver.step_learned(stencil, &state, &zeros, &mut learned);
        assert_eq!(linear, learned);
    }
}

#[test]
fn adjoints_agree_with_differences() {
    let n = 8;
    let solver = FiniteVolume::<f64>::plan(&Flow { forcing: None, ..Flow::default() }, n, 0.02).unwrap();
    let state = (vec![2, 2, n, n], [smooth(n, 1), smooth(n, 2)].concat());
    let linear =
        check(|| Step { solver: solver.clone(), scheme: Scheme::Linear, slice: 0 }, std::slice::from_ref(&state), 0);
    // The map is quadratic, so differences are exact up to round-off over the step 3e-3.
    assert!(linear.unwrap().difference < 1e-11);
    let projection = check(|| Project { solver: solver.clone() }, std::slice::from_ref(&state), 0).unwrap();
    assert!(projection.difference < 1e-11);
    for stencil in STENCILS.into_iter().filter(|s| !s.limited) {
        let count = 3 * stencil.cells.logits();
        let logits = (vec![2, count, n, n], noise(2 * count * n * n, 5));
        let step = || Step { solver: solver.clone(), scheme: stencil.scheme(), slice: 1 };
        let found = check(step, &[state.clone(), logits], 1).unwrap();
        // Quartic in the direction.
        assert!(found.difference < 1e-10, "{stencil:?}: {found:?}");
    }
}

/// `|<v, J^T w> - d/dh <f(x + h v), w>|` relative, with a step small enough to cross no kink of the limiter.
fn limited_gradient_error(solver: &FiniteVolume<f64>, scheme: Scheme, state: &[f64], logits: &[f64]) -> f64 {
    let (v, w) = (noise(state.len() + logits.len(), 11), noise(state.len(), 12));
    let h = 1e-7;
    let value = |h: f64| -> f64 {
        let moved = |x: &[f64], v: &[f64]| x.iter().zip(v).map(|(x, v)| x + h * v).collect::<Vec<f64>>();
        let mut next = vec![0.0; state.len()];
        solver.kernel.step(scheme, &moved(state, &v), &moved(logits, &v[state.len()..]), &mut next);
        next.iter().zip(&w).map(|(a, b)| a * b).sum()
    };
    let (mut state_bar, mut logits_bar) = (vec![0.0; state.len()], vec![0.0; logits.len()]);
    let bars = Bars { state: Some(&mut state_bar), logits: Some(&mut logits_bar) };
    solver.kernel.step_vjp(scheme, state, logits, &w, bars);
    let pulled: f64 = state_bar.iter().chain(&logits_bar).zip(&v).map(|(a, b)| a * b).sum();
    ((value(h) - value(-h)) / (2.0 * h) - pulled).abs() / pulled.abs().max(1.0)
}

#[test]
fn adjoints_of_limited_steps_agree_with_differences() {
    let n = 16;
    let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.02).unwrap();
    let state = smooth(n, 1);
    // Central differences with h = 1e-7: eps / h times sums of 512 terms.
    assert!(limited_gradient_error(&solver, Scheme::VanLeer, &state, &[]) < 1e-6);
    for stencil in STENCILS.into_iter().filter(|s| s.limited) {
        let logits = noise(stencil.cells.logits() * n * n, 5);
        assert!(limited_gradient_error(&solver, stencil.scheme(), &state, &logits) < 1e-6, "{stencil:?}");
    }
}

#[test]
fn adjoint_of_a_rollout_on_any_number_of_threads() {
    let n = 16;
    let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.02).unwrap();
    let state = [smooth(n, 1), smooth(n, 2), smooth(n, 3)].concat();
    let w = noise(state.len(), 4);
    let run = |threads: usize, h: f64| {
        let v = noise(state.len(), 6);
        let start: Vec<f64> = state.iter().zip(&v).map(|(x, v)| x + h * v).collect();
        let mut tape = Tape::new(Parameters::new(), threads).unwrap();
        let first = tape.variable(&[3, 2, n, n], &start).unwrap();
        let mut last = first;
        for _ in 0..6 {
            last = solver.record(&mut tape, Interpolation::Linear, last).unwrap();
        }
        let value: f64 = tape.values(last).iter().zip(&w).map(|(a, b)| a * b).sum();
        let gradient = tape.gradients(last, &w, &[first]).unwrap().remove(0);
        let pulled: f64 = gradient.iter().zip(&v).map(|(a, b)| a * b).sum();
        (value, pulled, gradient)
    };
    let (one, two) = (run(1, 0.0), run(2, 0.0));
    assert_eq!(one.2, two.2);
    let h = 1e-5;
    let slope = (run(1, h).0 - run(1, -h).0) / (2.0 * h);
    // Central differences: h^2, and eps / h times a sum of 1536 terms.
    assert!((slope - one.1).abs() < 1e-7 * one.1.abs().max(1.0), "{slope} {}", one.1);
}

#[test]
fn bad_plans_shapes_and_blow_ups_are_named() {
    let flow = Flow::default();
    assert!(FiniteVolume::<f64>::plan(&flow, 3, 0.1).is_err());
    assert!(FiniteVolume::<f64>::plan(&flow, 16, 0.0).is_err());
    assert!(FiniteVolume::<f64>::plan(&flow, 8, 0.1).is_err(), "mode 4 is not resolved by 8 cells");
    assert!(FiniteVolume::<f64>::plan(&Flow { nu: -1.0, ..flow }, 16, 0.1).is_err());
    let solver = FiniteVolume::<f64>::plan(&flow, 16, 0.5).unwrap();
    let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
    let wrong = tape.constant(&[1, 2, 8, 8], &[0.0; 128]).unwrap();
    let message = solver.record(&mut tape, Interpolation::VanLeer, wrong).unwrap_err().to_string();
    assert_eq!(message, "state of a finite-volume step: expected shape [1, 2, 16, 16], got [1, 2, 8, 8]");
    let mut state = [smooth(16, 1), smooth(16, 2).iter().map(|x| 1e3 * x).collect()].concat();
    let error = solver.advance(&workers(), Interpolation::Linear, &mut state, 200).unwrap_err();
    assert!(matches!(error, Error::BlowUp { step: 200, .. }), "{error}");
}
