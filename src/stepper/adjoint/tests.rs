use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::field::Grid;
use crate::pde::{KuramotoSivashinsky, NavierStokes2d, Pde};
use crate::stepper::Options;

const POLICIES: [Checkpoints; 5] = [
    Checkpoints::Stages,
    Checkpoints::Steps,
    Checkpoints::Segments(3),
    Checkpoints::Binomial(2),
    Checkpoints::Binomial(1),
];

/// Smooth random field: a few low modes.
fn random(stepper: &Stepper<f64>, seed: u64) -> State<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut u_hat = stepper.to_half(&stepper.zeros());
    let scale = stepper.layout().grid.points() as f64;
    for c in &mut u_hat {
        *c = num_complex::Complex64::new(rng.random_range(-0.02..0.02), rng.random_range(-0.02..0.02)) * scale;
    }
    // Through physical space, so that it is the spectrum of a real field.
    let state = stepper.from_half(u_hat.view()).unwrap();
    stepper.load(stepper.store(&state).view()).unwrap()
}

fn plan<P: Pde>(pde: &P, grid: &Grid, scheme: Scheme, dt: f64, batch: usize, threads: usize) -> Stepper<f64> {
    let options = Options { batch, threads, ..Options::default() };
    Stepper::plan(pde, grid, scheme, dt, &options).unwrap()
}

fn ns() -> (NavierStokes2d, Grid) {
    let l = std::f64::consts::TAU;
    let mut pde = NavierStokes2d::kolmogorov(0.02, 0.1, 1.0, 2, l);
    pde.mean_flow = [0.3, -0.2];
    (pde, Grid::new(&[16, 32], &[l, l]).unwrap())
}

fn adjoint_is_transpose_of_tangent<P: Pde>(pde: &P, grid: &Grid, dt: f64) {
    for scheme in Scheme::ALL {
        for policy in POLICIES {
            let mut stepper = plan(pde, grid, scheme, dt, 2, 2);
            let (u, v, w) = (random(&stepper, 1), random(&stepper, 2), random(&stepper, 3));
            let steps = 7;
            let (mut base, mut jv) = (u.clone(), v.clone());
            stepper.advance_tangent(&mut base, &mut jv, steps).unwrap();
            let mut last = u.clone();
            let tape = stepper.record(&mut last, steps, policy).unwrap();
            assert_eq!(base.as_slice(), last.as_slice());
            let mut jtw = w.clone();
            stepper.backward(&tape, &mut jtw, Wanted::default()).unwrap();
            let (left, right) = (stepper.inner(&jv, &w), stepper.inner(&v, &jtw));
            let scale = (stepper.inner(&jv, &jv) * stepper.inner(&w, &w)).sqrt();
            // Round-off of some thousand operations.
            assert!((left - right).abs() < 1e-12 * scale, "{scheme:?} {policy:?}: {left} {right}");
        }
    }
}

#[test]
fn adjoint_is_transpose_of_tangent_for_every_scheme_and_policy() {
    let (pde, grid) = ns();
    adjoint_is_transpose_of_tangent(&pde, &grid, 0.02);
    adjoint_is_transpose_of_tangent(&KuramotoSivashinsky { nu: 0.7 }, &Grid::cube(1, 48, 20.0).unwrap(), 0.05);
}

#[test]
fn policies_give_the_same_gradient_bit_for_bit() {
    let (pde, grid) = ns();
    let mut results = Vec::new();
    for threads in [1, 2, 3] {
        for policy in POLICIES {
            let mut stepper = plan(&pde, &grid, Scheme::Etdrk4, 0.02, 3, threads);
            let (mut state, mut advanced) = (random(&stepper, 1), random(&stepper, 1));
            // Beyond the first projection onto real fields.
            let tape = stepper.record(&mut state, 70, policy).unwrap();
            stepper.advance(&mut advanced, 70).unwrap();
            assert!(state.data == advanced.data, "recording changes nothing");
            let mut lambda = random(&stepper, 2);
            stepper.backward(&tape, &mut lambda, Wanted::default()).unwrap();
            results.push(lambda.data.to_vec());
        }
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

/// `J = half the mean square of the final field plus the mean of the field after two steps times a weight`.
fn gradients_match_differences<P: Pde + Copy>(grid: &Grid, dt: f64, make: impl Fn(&[f64]) -> P, p0: &[f64]) {
    let steps = 6;
    let weight: ArrayD<f64> = {
        let stepper = plan(&make(p0), grid, Scheme::Etdrk4, dt, 1, 1);
        stepper.store(&random(&stepper, 9))
    };
    let extra_forcing =
        |stepper: &Stepper<f64>| stepper.store(&random(stepper, 11)).index_axis_move(ndarray::Axis(0), 0);
    for scheme in [Scheme::Etdrk2, Scheme::Etdrk3, Scheme::Etdrk4, Scheme::Ifrk4, Scheme::CnRk4] {
        let objective = |p: &[f64], dt: f64, forcing_scale: f64| {
            let mut stepper = plan(&make(p), grid, scheme, dt, 1, 1);
            let forcing = extra_forcing(&stepper);
            stepper.set_forcing((&forcing * forcing_scale).view()).unwrap();
            let mut state = random(&stepper, 1);
            stepper.advance(&mut state, 2).unwrap();
            let early = (&stepper.store(&state) * &weight).sum();
            stepper.advance(&mut state, steps - 2).unwrap();
            let u = stepper.store(&state);
            early + 0.5 * (&u * &u).sum()
        };
        for policy in POLICIES {
            let mut stepper = plan(&make(p0), grid, scheme, dt, 1, 1);
            let forcing = extra_forcing(&stepper);
            stepper.set_forcing(forcing.view()).unwrap();
            let mut state = random(&stepper, 1);
            let tape = stepper.record(&mut state, steps, policy).unwrap();
            let mut lambda = stepper.load_cotangent(stepper.store(&state).view()).unwrap();
            let weight_hat = stepper.load_cotangent(weight.view()).unwrap();
            let wanted = Wanted { parameters: true, forcing: true };
            let gradient = stepper
                .backward_with(&tape, &mut lambda, wanted, &[2], |_, lambda| {
                    lambda.as_mut_slice().iter_mut().zip(weight_hat.as_slice()).for_each(|(l, w)| *l += w);
                })
                .unwrap();
            // Fourth-order differences: truncation h^4 and round-off 1e-16 / h balance near h = 1e-3.
            let slope = |f: &dyn Fn(f64) -> f64| {
                let h = 1e-3;
                (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
            };
            let close = |name: &str, got: f64, want: f64| {
                assert!((got - want).abs() < 2e-9 * (1.0 + want.abs()), "{scheme:?} {policy:?} {name}: {got} {want}");
            };
            for (i, (name, got)) in gradient.parameters.iter().take(p0.len()).enumerate() {
                let want = slope(&|h| {
                    let mut p = p0.to_vec();
                    p[i] *= 1.0 + h;
                    objective(&p, dt, 1.0)
                }) / p0[i];
                close(name, *got, want);
            }
            close("dt", gradient.dt * dt, slope(&|h| objective(p0, dt * (1.0 + h), 1.0)));
            let got = (gradient.forcing.as_ref().unwrap() * &forcing).sum();
            close("forcing", got, slope(&|h| objective(p0, dt, 1.0 + h)));
        }
    }
}

#[test]
fn parameter_step_and_forcing_gradients_match_differences() {
    let (base, grid) = ns();
    gradients_match_differences(&grid, 0.02, |p| NavierStokes2d { nu: p[0], drag: p[1], ..base }, &[0.02, 0.1]);
    gradients_match_differences(&Grid::cube(1, 48, 20.0).unwrap(), 0.05, |p| KuramotoSivashinsky { nu: p[0] }, &[0.7]);
}

#[test]
fn binomial_splits_stay_inside_and_balance() {
    for c in 1..6 {
        for n in 2..200 {
            let m = binomial_split(n, c);
            assert!(m >= 1 && m < n, "{n} {c} {m}");
        }
    }
    assert_eq!(Checkpoints::within(1000, 1, 4, 100), Checkpoints::Stages);
    assert_eq!(Checkpoints::within(100, 1, 4, 100), Checkpoints::Steps);
    assert_eq!(Checkpoints::within(60, 1, 4, 100), Checkpoints::Segments(10));
    assert_eq!(Checkpoints::within(20, 1, 4, 100), Checkpoints::Binomial(20));
}
