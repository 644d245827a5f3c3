use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::autodiff::check;
use crate::stencil::plane::Cells;

const SCHEMES: [Interpolation; 2] = [Interpolation::Linear, Interpolation::VanLeer];

fn workers() -> Workers<f64> {
    Workers::new(1).unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Differences of a stream function at the corners that is constant along the walls: divergence-free.
fn field([nx, ny]: [usize; 2], h: [f64; 2], psi: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let corner = |i: usize, j: usize| psi(i as f64 * h[0], j as f64 * h[1]);
    let u = (0..nx * ny).map(|p| {
        let (i, j) = (p / ny + 1, p % ny + 1);
        (corner(i, j) - corner(i, j - 1)) / h[1]
    });
    let v = (0..nx * ny).map(|p| {
        let (i, j) = (p / ny + 1, p % ny + 1);
        if j == ny { 0.0 } else { -(corner(i, j) - corner(i - 1, j)) / h[0] }
    });
    u.chain(v).collect()
}

fn divergence([nx, ny]: [usize; 2], h: [f64; 2], state: &[f64]) -> f64 {
    let (u, v) = state.split_at(nx * ny);
    let at = |p: usize| {
        let (i, j) = (p / ny, p % ny);
        let below = if j == 0 { 0.0 } else { v[p - 1] };
        (u[p] - u[(i + nx - 1) % nx * ny + j]) / h[0] + (v[p] - below) / h[1]
    };
    (0..nx * ny).map(|p| at(p).abs()).fold(0.0, f64::max)
}

#[test]
fn steady_flow_between_walls_is_the_parabola_with_its_discrete_offset() {
    let flow = ChannelFlow { nu: 0.5, force: 3.0, walls: [0.0; 2], length: 2.0, height: 1.5 };
    let ([nx, ny], h) = ([6, 10], 0.15);
    for scheme in SCHEMES {
        let channel = Channel::<f64>::plan(&flow, [nx, ny], 0.02, scheme).unwrap();
        let mut state = vec![0.0; channel.sample_len()];
        // The slowest mode falls off by exp(-nu pi^2 / height^2 t): to 1e-16 by t = 20.
        channel.advance(&workers(), &mut state, 1000).unwrap();
        for p in 0..nx * ny {
            // The second difference of a parabola is exact; that the image of a value is its negative shifts it by h^2/4.
            let y = (p % ny) as f64 * h + h / 2.0;
            let exact = flow.force / (2.0 * flow.nu) * (y * (flow.height - y) + h * h / 4.0);
            assert!((state[p] - exact).abs() < 1e-12 && state[nx * ny + p].abs() < 1e-12, "{scheme:?}");
        }
    }
}

#[test]
fn flow_between_moving_walls_is_linear() {
    let flow = ChannelFlow { nu: 0.5, force: 0.0, walls: [-1.0, 2.0], length: 2.0, height: 1.0 };
    let channel = Channel::<f64>::plan(&flow, [4, 8], 0.02, Interpolation::VanLeer).unwrap();
    let mut state = vec![0.0; channel.sample_len()];
    channel.advance(&workers(), &mut state, 1000).unwrap();
    // Steady up to round-off, which the images of the walls reproduce exactly.
    assert!((0..32).all(|p| (state[p] - (3.0 * ((p % 8) as f64 + 0.5) / 8.0 - 1.0)).abs() < 1e-12));
}

/// Relative error of the decay of the slowest Stokes mode with the wavenumber 1 between walls a distance 2 apart.
fn stokes_error(cells: usize, dt: f64, steps: usize) -> f64 {
    // psi = cos x (cos(mu y) / cos mu - cosh y / cosh 1), y in [-1, 1]: no slip where -mu tan mu = tanh 1.
    let (mut low, mut high) = (1.6f64, 3.1);
    while high - low > 1e-14 {
        let middle = 0.5 * (low + high);
        match -middle * middle.tan() > 1f64.tanh() {
            true => low = middle,
            false => high = middle,
        }
    }
    let mu = low;
    let flow = ChannelFlow { nu: 1.0, force: 0.0, walls: [0.0; 2], length: std::f64::consts::TAU, height: 2.0 };
    let shape = [2 * cells, cells];
    let h = [flow.length / shape[0] as f64, flow.height / cells as f64];
    // So weak that convection does not matter: its share is the amplitude.
    let psi = |x: f64, y: f64| 1e-9 * x.cos() * ((mu * (y - 1.0)).cos() / mu.cos() - (y - 1.0).cosh() / 1f64.cosh());
    let mut state = field(shape, h, psi);
    let before = state.clone();
    let channel = Channel::<f64>::plan(&flow, shape, dt, Interpolation::Linear).unwrap();
    channel.advance(&workers(), &mut state, steps).unwrap();
    let decay = (-(1.0 + mu * mu) * dt * steps as f64).exp();
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut state.iter().zip(&before).map(|(a, b)| a - decay * b)) / norm(&mut before.iter().map(|b| decay * b))
}

#[test]
fn a_stokes_mode_decays_at_its_rate_to_second_order_in_the_cells() {
    // Steps in proportion to the square of the cells: the error of first order in time falls off as that of the cells.
    let errors = [(8, 16), (16, 64), (32, 256)].map(|(cells, steps)| stokes_error(cells, 0.16 / steps as f64, steps));
    // Measured: 0.166, 0.0429, 0.0109.
    assert!(errors[2] < 0.012, "{errors:?}");
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((1.9..2.1).contains(&order), "{errors:?}");
    }
}

#[test]
fn a_step_is_divergence_free_and_its_walls_let_nothing_through() {
    let flow = ChannelFlow { nu: 1e-2, force: 0.1, walls: [0.0, 0.3], length: 3.0, height: 1.0 };
    let ([nx, ny], h) = ([12, 7], [0.25, 1.0 / 7.0]);
    for scheme in SCHEMES {
        let channel = Channel::<f64>::plan(&flow, [nx, ny], 0.01, scheme).unwrap();
        let mut state = noise(channel.sample_len(), 1);
        channel.advance(&workers(), &mut state, 1).unwrap();
        // Differences of values of size one with the round-off of sums of a dozen terms, over h.
        assert!(divergence([nx, ny], h, &state) < 1e-12, "{scheme:?}");
        assert!((0..nx).all(|i| state[nx * ny + i * ny + ny - 1] == 0.0));
        // What is stored on the wall is not read.
        let (mut one, mut other) = (state.clone(), state.clone());
        (0..nx).for_each(|i| other[nx * ny + i * ny + ny - 1] = 5.0);
        channel.advance(&workers(), &mut one, 1).unwrap();
        channel.advance(&workers(), &mut other, 1).unwrap();
        assert_eq!(one, other);
    }
}

#[test]
fn turning_the_channel_around_commutes_with_a_step() {
    let flow = ChannelFlow { nu: 1e-2, force: 0.0, walls: [0.2, -0.2], length: 2.0, height: 1.0 };
    let [nx, ny] = [8, 6];
    let h = [0.25, 1.0 / 6.0];
    let psi = |x: f64, y: f64| (y * (1.0 - y)).powi(2) * (3.0 + 5.0 * (std::f64::consts::PI * x + y).sin());
    let state = field([nx, ny], h, psi);
    // Rotation by half a turn: both velocities change sign. u lies at (i + 1) h, v at (i + 1/2) h, nodes at (j + 1) h.
    let turn = |state: &[f64]| {
        let (u, v) = state.split_at(nx * ny);
        let at = |p: usize| (p / ny, p % ny);
        let turned_u = (0..nx * ny).map(|p| -u[(2 * nx - 2 - at(p).0) % nx * ny + ny - 1 - at(p).1]);
        let turned_v = (0..nx * ny).map(|p| match at(p) {
            (_, j) if j == ny - 1 => 0.0,
            (i, j) => -v[(nx - 1 - i) * ny + ny - 2 - j],
        });
        turned_u.chain(turned_v).collect::<Vec<f64>>()
    };
    for scheme in SCHEMES {
        let channel = Channel::<f64>::plan(&flow, [nx, ny], 0.02, scheme).unwrap();
        let step = |mut state: Vec<f64>| {
            channel.advance(&workers(), &mut state, 3).unwrap();
            state
        };
        let (a, b) = (turn(&step(state.clone())), step(turn(&state)));
        // Round-off of values of size one.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-13), "{scheme:?}");
    }
}

#[test]
fn the_limiter_keeps_energy_from_growing() {
    let flow = ChannelFlow { nu: 1e-4, force: 0.0, walls: [0.0; 2], length: 2.0, height: 1.0 };
    let channel = Channel::<f64>::plan(&flow, [16, 8], 0.02, Interpolation::VanLeer).unwrap();
    let psi = |x: f64, y: f64| (y * (1.0 - y)).powi(2) * (8.0 + 8.0 * (std::f64::consts::PI * x).sin());
    let mut state = field([16, 8], [0.125, 0.125], psi);
    let energy = |state: &[f64]| state.iter().map(|x| x * x).sum::<f64>();
    let mut before = energy(&state);
    for _ in 0..50 {
        channel.advance(&workers(), &mut state, 1).unwrap();
        let after = energy(&state);
        assert!(after < before);
        before = after;
    }
}

#[test]
fn the_adjoint_of_a_step_is_exact() {
    let flow = ChannelFlow { nu: 1e-2, force: 0.1, walls: [0.1, 0.3], length: 2.0, height: 1.0 };
    let channel = |scheme| Channel::<f64>::plan(&flow, [5, 6], 0.02, scheme).unwrap();
    let linear = channel(Interpolation::Linear);
    let state = (vec![2, 2, 5, 6], noise(120, 2));
    let step = |scheme| Step { channel: linear.clone(), scheme };
    let found = check(|| step(Scheme::Linear), std::slice::from_ref(&state), 0).unwrap();
    // The map is quadratic, so differences are exact up to round-off over the step 3e-3.
    assert!(found.difference < 1e-11, "{found:?}");

    for cells in [Cells::Square, Cells::Band, Cells::Line] {
        let logits = (vec![2, cells.logits(), 5, 6], noise(2 * cells.logits() * 30, 5));
        let found = check(|| step(Scheme::Learned { cells, limited: false }), &[state.clone(), logits], 0).unwrap();
        // Quartic in the direction.
        assert!(found.difference < 1e-10, "{cells:?}: {found:?}");
    }

    // The limiter has kinks: a step so small that it crosses none.
    let limited = channel(Interpolation::VanLeer);
    let (state, v, w) = (noise(60, 2), noise(60, 3), noise(60, 4));
    for scheme in [Scheme::VanLeer, Scheme::Learned { cells: Cells::Band, limited: true }] {
        let count = if let Scheme::Learned { cells, .. } = scheme { cells.logits() * 30 } else { 0 };
        let logits = noise(count, 6);
        let value = |h: f64| {
            let moved: Vec<f64> = state.iter().zip(&v).map(|(x, v)| x + h * v).collect();
            let mut next = vec![0.0; 60];
            limited.plan.step(scheme, &moved, &logits, &mut next);
            next.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>()
        };
        let mut bar = vec![0.0; 60];
        limited.plan.step_vjp(scheme, &state, &logits, &w, Bars { state: Some(&mut bar), logits: None });
        let (h, pulled) = (1e-7, bar.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>());
        // eps / h.
        assert!(((value(h) - value(-h)) / (2.0 * h) - pulled).abs() < 1e-7, "{scheme:?}: {pulled}");
    }
}

#[test]
fn learned_steps_begin_at_linear_interpolation_and_keep_the_walls() {
    let flow = ChannelFlow { nu: 1e-2, force: 0.1, walls: [0.1, 0.3], length: 2.0, height: 1.0 };
    let ([nx, ny], h) = ([8, 6], [0.25, 1.0 / 6.0]);
    let channel = Channel::<f64>::plan(&flow, [nx, ny], 0.02, Interpolation::Linear).unwrap();
    let mut linear = noise(96, 2);
    // Fluxes through the walls would change the momentum: here nothing else does.
    let still = ChannelFlow { nu: 1e-300, force: 0.0, walls: [0.0; 2], ..flow };
    let inviscid = Channel::<f64>::plan(&still, [nx, ny], 0.02, Interpolation::Linear).unwrap();
    let momentum = |state: &[f64]| state[..48].iter().sum::<f64>();
    inviscid.advance(&workers(), &mut linear, 1).unwrap();
    let state = linear.clone();
    channel.advance(&workers(), &mut linear, 1).unwrap();
    for cells in [Cells::Square, Cells::Band, Cells::Line] {
        let mut next = vec![0.0; 96];
        channel.step_learned(Stencil { cells, limited: false }, &state, &vec![0.0; cells.logits() * 48], &mut next);
        assert_eq!(next, linear);
        for limited in [false, true] {
            let logits = noise(cells.logits() * 48, 7);
            inviscid.step_learned(Stencil { cells, limited }, &state, &logits, &mut next);
            // Round-off of sums of 48 terms of size one, and of their differences over h.
            assert!((momentum(&next) - momentum(&state)).abs() < 1e-12, "{cells:?}");
            assert!(divergence([nx, ny], h, &next) < 1e-12, "{cells:?}");
        }
    }
}

#[test]
fn single_precision_follows_double_and_bad_constants_are_named() {
    let flow = ChannelFlow { nu: 1e-2, force: 0.1, walls: [0.1, 0.3], length: 2.0, height: 1.0 };
    let double = Channel::<f64>::plan(&flow, [8, 6], 0.02, Interpolation::VanLeer).unwrap();
    let single = Channel::<f32>::plan(&flow, [8, 6], 0.02, Interpolation::VanLeer).unwrap();
    let mut a = noise(96, 3);
    let mut b: Vec<f32> = a.iter().map(|&x| x as f32).collect();
    double.advance(&workers(), &mut a, 5).unwrap();
    single.advance(&Workers::new(1).unwrap(), &mut b, 5).unwrap();
    // Five steps of single precision.
    assert!(a.iter().zip(&b).all(|(a, &b)| (a - f64::from(b)).abs() < 1e-5));
    let refused = |flow: &ChannelFlow, cells, dt| {
        Channel::<f64>::plan(flow, cells, dt, Interpolation::VanLeer).err().expect("must be refused").to_string()
    };
    assert!(refused(&flow, [8, 3], 0.1).starts_with("ny = 3 is not allowed: must be at least 4"));
    assert!(refused(&flow, [8, 8], 0.0).starts_with("dt = 0"));
    assert!(refused(&ChannelFlow { nu: 0.0, ..flow }, [8, 8], 0.1).starts_with("nu = 0"));
    assert!(refused(&ChannelFlow { walls: [0.0, f64::NAN], ..flow }, [8, 8], 0.1).starts_with("walls = NaN"));
    let mut wild = vec![1e200; 96];
    wild[3] = -1e200;
    assert!(matches!(double.advance(&workers(), &mut wild, 5), Err(Error::BlowUp { sample: 0, .. })));
}
