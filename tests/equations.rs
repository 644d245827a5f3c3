//! Every equation through the stepper: exact solutions, orders of convergence, balances and conserved quantities, and
//! gradients with respect to coefficients.

use std::f64::consts::TAU;

use ndarray::{ArrayD, Axis, IxDyn};
use parseval::Complex64;
use parseval::field::Grid;
use parseval::initial::{Kdv, Soliton};
use parseval::pde::*;
use parseval::spectral::{Derivatives, Transform, symbol};
use parseval::stepper::{Checkpoints, Options, Scheme, State, Stepper, Wanted};

type Field = ArrayD<f64>;

fn plan<P: Pde>(pde: &P, grid: &Grid, scheme: Scheme, dt: f64) -> Stepper<f64> {
    Stepper::plan(pde, grid, scheme, dt, &Options::default()).unwrap()
}

/// Field `[channel, x, ..]` of a single state.
fn store(stepper: &Stepper<f64>, state: &State<f64>) -> Field {
    stepper.store(state).index_axis_move(Axis(0), 0)
}

/// Field `[channel, x, ..]` after `steps` steps to time `t`.
fn solve<P: Pde>(pde: &P, grid: &Grid, scheme: Scheme, start: &Field, t: f64, steps: usize) -> Field {
    let mut stepper = plan(pde, grid, scheme, t / steps as f64);
    let mut state = stepper.load(start.view()).unwrap();
    stepper.advance(&mut state, steps).unwrap();
    store(&stepper, &state)
}

/// `f(channel, x)` on the grid.
fn sample(grid: &Grid, channels: usize, f: impl Fn(usize, [f64; 3]) -> f64) -> Field {
    let shape: Vec<usize> = std::iter::once(channels).chain(grid.shape().iter().copied()).collect();
    ArrayD::from_shape_fn(shape, |i| {
        let mut x = [0.0; 3];
        (0..grid.dim()).for_each(|axis| x[axis] = i[axis + 1] as f64 * grid.spacing(axis));
        f(i[0], x)
    })
}

/// A smooth start with modes 0, 1 and 2 of size one; divergence-free or of zero mean where the equation wants it.
fn smooth<P: Pde>(pde: &P, grid: &Grid) -> Field {
    let start = sample(grid, P::CHANNELS, |c, x| {
        (0..grid.dim())
            .map(|axis| {
                let (phase, next) = (0.4 + c as f64 + 0.7 * axis as f64, (axis + 1) % grid.dim());
                let (x, y) = (x[axis] * grid.k_unit(axis), x[next] * grid.k_unit(next));
                0.3 + 0.5 * (x + phase).sin() + 0.3 * (x + y - phase).cos()
            })
            .sum()
    });
    match pde.id() {
        "navier_stokes_2d" => &start - start.mean().unwrap(),
        "navier_stokes_3d" => Derivatives::plan(grid).leray(start.view()),
        _ => start,
    }
}

fn norm(a: &Field) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Relative L2 difference.
fn error(a: &Field, b: &Field) -> f64 {
    norm(&(a - b)) / norm(b)
}

/// Orders between successive halvings of the step.
fn orders(errors: &[f64]) -> Vec<f64> {
    errors.windows(2).map(|e| (e[0] / e[1]).log2()).collect()
}

/// Runs a check on every equation with a box and a step that suit it.
macro_rules! for_every_equation {
    ($check:ident) => {
        let line = Grid::cube(1, 64, 5.0).unwrap();
        let plane = Grid::new(&[32, 48], &[5.0, 7.0]).unwrap();
        let space = Grid::new(&[16, 18, 24], &[5.0, 4.0, 7.0]).unwrap();
        $check(&AdvectionDiffusion { velocity: [0.7, 0.0, 0.0], nu: 0.3 }, &line);
        $check(&AdvectionDiffusion { velocity: [0.7, -0.4, 1.1], nu: 0.3 }, &space);
        $check(&Burgers { nu: 0.2 }, &line);
        $check(&KortewegDeVries { a: 0.6, b: 0.05 }, &line);
        $check(&KuramotoSivashinsky { nu: 0.3 }, &line);
        $check(&KuramotoSivashinskyIntegral { nu: 0.3 }, &line);
        $check(&AllenCahn::new(0.1, 1.7), &line);
        $check(&AllenCahn { s: -1.0, ..AllenCahn::new(0.1, 1.7) }, &plane);
        $check(&GrayScott { diffusion_u: 0.2, diffusion_v: 0.1, feed: 0.3, kill: 0.6 }, &plane);
        $check(&GinzburgLandau { c1: 1.5, c3: 0.8 }, &line);
        $check(&GinzburgLandau { c1: 1.5, c3: 0.8 }, &plane);
        $check(&NonlinearSchroedinger { dispersion: 0.3, cubic: 0.9 }, &line);
        $check(&NonlinearSchroedinger { dispersion: 0.3, cubic: 0.9 }, &plane);
        $check(&NavierStokes2d { mean_flow: [0.6, -0.2], ..NavierStokes2d::kolmogorov(0.1, 0.3, 1.3, 2, 7.0) }, &plane);
        $check(&NavierStokes2d::fno(1e-2), &Grid::cube(2, 32, 1.0).unwrap());
        $check(&NavierStokes3d::kolmogorov(0.1, 1.3, 1, 4.0), &space);
    };
}

// Exact solutions.

#[test]
fn advection_diffusion_is_exact_for_exponential_schemes() {
    for (pde, grid) in [
        (AdvectionDiffusion { velocity: [1.3, 0.0, 0.0], nu: 0.02 }, Grid::cube(1, 64, TAU).unwrap()),
        (AdvectionDiffusion { velocity: [0.7, -0.4, 0.0], nu: 0.03 }, Grid::new(&[16, 24], &[3.0, 4.0]).unwrap()),
        (
            AdvectionDiffusion { velocity: [0.7, -0.4, 1.1], nu: 0.03 },
            Grid::new(&[8, 12, 16], &[3.0, 4.0, 5.0]).unwrap(),
        ),
    ] {
        let t = 1.7;
        let start = sample(&grid, 1, |_, x| (x[0] * grid.k_unit(0)).sin().exp() + smooth_bump(&grid, x));
        let transform = Transform::<f64>::plan(&grid);
        let factor = symbol::over_modes(&grid, |m| {
            let mut k = [0.0; 3];
            (0..m.len()).for_each(|axis| k[axis] = m[axis] as f64 * grid.k_unit(axis));
            let kept = m.iter().zip(grid.shape()).all(|(m, &n)| 2 * (m.unsigned_abs() as usize) < n);
            if kept { pde.exact_mode(k, t) } else { Complex64::ZERO }
        });
        let exact = transform.inverse((transform.forward(start.view()) * &factor).view());
        for scheme in [Scheme::Etdrk2, Scheme::Etdrk3, Scheme::Etdrk4, Scheme::Ifrk4] {
            let u = solve(&pde, &grid, scheme, &start, t, 17);
            // 17 products, each with the round-off of exp(i k c t) whose phase is up to 50.
            assert!(error(&u, &exact) < 1e-13, "{scheme:?} in {} dimensions: {}", grid.dim(), error(&u, &exact));
        }
    }
}

fn smooth_bump(grid: &Grid, x: [f64; 3]) -> f64 {
    (0..grid.dim()).map(|axis| (2.0 * grid.k_unit(axis) * x[axis] + axis as f64).cos()).product()
}

#[test]
fn burgers_follows_cole_hopf() {
    let (pde, mean, t) = (Burgers { nu: 0.1 }, 0.3, 1.5);
    let grid = Grid::cube(1, 256, TAU).unwrap();
    let start = sample(&grid, 1, |_, x| mean + x[0].sin() + 0.4 * (2.0 * x[0] + 1.0).cos());
    let exact = sample(&grid, 1, |_, x| {
        let u0 = |y: f64| y.sin() + 0.4 * (2.0 * y + 1.0).cos();
        mean + pde.cole_hopf(TAU, u0, |y| -y.cos() + 0.2 * (2.0 * y + 1.0).sin(), x[0] - mean * t, t)
    });
    let errors = [150, 300, 600].map(|steps| error(&solve(&pde, &grid, Scheme::Etdrk4, &start, t, steps), &exact));
    assert!(orders(&errors)[1] > 3.7, "{errors:?}");
    assert!(errors[2] < 1e-9, "{errors:?}");
}

#[test]
fn kdv_soliton_has_order_four() {
    // The schemes' coefficients are complex here; those of the real parts would have order one.
    let grid = Grid::cube(1, 256, 50.0).unwrap();
    for pde in [KortewegDeVries::classic_minus(), KortewegDeVries::unit()] {
        let kdv = Kdv { a: pde.a, b: pde.b };
        let (c, x0, t) = (2.0, 12.0, 10.0);
        let at = |t| kdv.one_soliton(&grid, c, x0, t).unwrap().insert_axis(Axis(0));
        for scheme in [Scheme::Etdrk4, Scheme::Ifrk4] {
            let errors = [500, 1000, 2000].map(|steps| error(&solve(&pde, &grid, scheme, &at(0.0), t, steps), &at(t)));
            assert!(orders(&errors)[1] > 3.8, "{scheme:?} {errors:?}");
            assert!(errors[2] < 2e-6, "{scheme:?} {errors:?}");
        }
    }
}

#[test]
fn kdv_solitons_pass_through_each_other() {
    // The pair is centred in a box of 100: the cut tails are exp(-40) at the start and at the end.
    let grid = Grid::cube(1, 512, 100.0).unwrap();
    let pde = KortewegDeVries::classic_minus();
    let pair = [Soliton { k: 1.6, x0: 36.0 }, Soliton { k: 1.0, x0: 45.0 }];
    let at = |t| Kdv::MINUS.solitons(&grid, &pair, t).unwrap().insert_axis(Axis(0));
    let errors =
        [1000, 2000, 4000].map(|steps| error(&solve(&pde, &grid, Scheme::Etdrk4, &at(0.0), 10.0, steps), &at(10.0)));
    assert!(orders(&errors).iter().all(|order| *order > 3.9), "{errors:?}");
    assert!(errors[2] < 1e-6, "{errors:?}");
}

#[test]
fn taylor_green_vortices_decay_and_drift() {
    let grid = Grid::cube(2, 32, TAU).unwrap();
    for mean_flow in [[0.0; 2], [0.7, -0.3]] {
        let pde = NavierStokes2d { drag: 0.1, mean_flow, ..NavierStokes2d::decaying(0.05) };
        let at = |t| sample(&grid, 1, |_, x| pde.taylor_green(2.0, [x[0], x[1]], t));
        let u = solve(&pde, &grid, Scheme::Etdrk4, &at(0.0), 2.0, 50);
        // The nonlinear term is round-off, so that the scheme is exact.
        assert!(error(&u, &at(2.0)) < 1e-13, "{}", error(&u, &at(2.0)));
    }
}

#[test]
fn laminar_flows_stay_for_a_thousand_steps() {
    fn check<P: Pde>(pde: &P, grid: &Grid, laminar: Field) {
        for scheme in [Scheme::Etdrk2, Scheme::Etdrk4, Scheme::CnAb2, Scheme::CnRk4] {
            let u = solve(pde, grid, scheme, &laminar, 10.0, 1000);
            // These schemes keep steady states; the flows are stable.
            assert!(error(&u, &laminar) < 1e-12, "{scheme:?} {}: {}", pde.id(), error(&u, &laminar));
        }
    }
    let plane = Grid::new(&[32, 48], &[TAU, TAU]).unwrap();
    let pde = NavierStokes2d { mean_flow: [0.4, 0.3], ..NavierStokes2d::kolmogorov(0.05, 0.1, 1.0, 4, TAU) };
    check(&pde, &plane, sample(&plane, 1, |_, x| pde.laminar([x[0], x[1]])));
    let space = Grid::new(&[8, 16, 8], &[TAU, TAU, TAU]).unwrap();
    let pde = NavierStokes3d::kolmogorov(0.5, 1.0, 2, TAU);
    check(&pde, &space, sample(&space, 3, |c, x| pde.laminar(x)[c]));
}

#[test]
fn abc_flow_decays() {
    let grid = Grid::cube(3, 16, TAU).unwrap();
    let pde = NavierStokes3d::decaying(0.1);
    let at = |t| sample(&grid, 3, |c, x| pde.abc_flow([1.0, 0.7, 0.4], 2.0, x, t)[c]);
    let u = solve(&pde, &grid, Scheme::Etdrk4, &at(0.0), 1.0, 20);
    assert!(error(&u, &at(1.0)) < 1e-13, "{}", error(&u, &at(1.0)));
}

#[test]
fn allen_cahn_relaxes_exactly_from_a_constant_and_never_gains_energy() {
    let pde = AllenCahn::new(0.01, 2.0);
    let line = Grid::cube(1, 16, 1.0).unwrap();
    let errors = [20, 40, 80].map(|steps| {
        let u = solve(&pde, &line, Scheme::Etdrk4, &sample(&line, 1, |_, _| 0.2), 2.0, steps);
        (u[[0, 3]] - pde.homogeneous(0.2, 2.0)).abs()
    });
    assert!(orders(&errors)[1] > 3.7 && errors[2] < 1e-7, "{errors:?}");

    let plane = Grid::cube(2, 64, 2.0).unwrap();
    let energy = &pde.invariants()[0];
    let mut stepper = plan(&pde, &plane, Scheme::Etdrk4, 0.05);
    let start = sample(&plane, 1, |_, x| 0.3 * smooth_bump(&plane, x) + 0.1 * (3.0 * TAU * x[0]).sin());
    let mut state = stepper.load(start.view()).unwrap();
    let mut last = f64::INFINITY;
    for _ in 0..100 {
        let value = energy.value(&Snapshot::new(&pde, &plane, store(&stepper, &state).view()).unwrap());
        assert!(value < last, "{value} after {last}");
        last = value;
        stepper.advance(&mut state, 2).unwrap();
    }
    // From the unstable state, energy r / 4 = 0.5, into phases whose energy is that of the fronts.
    assert!(last < 0.35, "{last}");
}

/// Channels of a complex field.
fn parts(grid: &Grid, psi: impl Fn([f64; 3]) -> Complex64) -> Field {
    sample(grid, 2, |c, x| if c == 0 { psi(x).re } else { psi(x).im })
}

#[test]
fn plane_waves_of_complex_amplitudes_have_order_four() {
    let (line, plane) = (Grid::cube(1, 32, 2.0 * TAU).unwrap(), Grid::new(&[24, 16], &[2.0 * TAU, 3.0]).unwrap());
    let cgl = GinzburgLandau { c1: 1.4, c3: -0.6 };
    let nls = NonlinearSchroedinger { dispersion: 0.7, cubic: 1.9 };
    for grid in [&line, &plane] {
        // q = 0 is all in the mean, q = 1/2 in the plane of last mode zero of the second grid, whose mirror is stored too.
        for q in [0.0, 0.5] {
            let at = |t| parts(grid, |x| cgl.plane_wave(q, x[0], t));
            let errors =
                [75, 150, 300].map(|steps| error(&solve(&cgl, grid, Scheme::Etdrk4, &at(0.0), 10.0, steps), &at(10.0)));
            assert!(orders(&errors)[1] > 3.8 && errors[2] < 1e-6, "q = {q}: {errors:?}");
            let at = |t| parts(grid, |x| nls.plane_wave(0.8, q, x[0], t));
            let errors =
                [75, 150, 300].map(|steps| error(&solve(&nls, grid, Scheme::Etdrk4, &at(0.0), 5.0, steps), &at(5.0)));
            assert!(orders(&errors)[1] > 3.8 && errors[2] < 1e-6, "q = {q}: {errors:?}");
        }
    }
}

#[test]
fn bright_soliton_has_order_four() {
    let nls = NonlinearSchroedinger::focusing();
    let grid = Grid::cube(1, 768, 80.0).unwrap();
    // A speed with which the phase c x / 2 fits the box; the tails are exp(-36) at the seam, exp(-23) in the spectrum.
    let c = 2.0 * TAU / 80.0 * 6.0;
    let at = |t| parts(&grid, |x| nls.bright_soliton(1.0, c, x[0] - 38.0, t));
    for scheme in [Scheme::Etdrk4, Scheme::Ifrk4] {
        let errors = [150, 300, 600].map(|steps| error(&solve(&nls, &grid, scheme, &at(0.0), 3.0, steps), &at(3.0)));
        assert!(orders(&errors)[1] > 3.7 && errors[2] < 1e-6, "{scheme:?} {errors:?}");
    }
}

#[test]
fn gray_scott_pattern_is_independent_of_the_scheme() {
    let pde = GrayScott::pearson(0.03, 0.062);
    let grid = Grid::cube(2, 48, 0.5).unwrap();
    let start = sample(&grid, 2, |c, x| {
        let r2 = (x[0] - 0.25).powi(2) + (x[1] - 0.23).powi(2);
        let patch = (-r2 / 0.004).exp();
        if c == 0 { 1.0 - 0.5 * patch } else { 0.3 * patch }
    });
    let reference = solve(&pde, &grid, Scheme::Ifrk4, &start, 200.0, 1600);
    let errors =
        [100, 200, 400].map(|steps| error(&solve(&pde, &grid, Scheme::Etdrk4, &start, 200.0, steps), &reference));
    assert!(orders(&errors)[1] > 3.5, "{errors:?}");
    assert!(errors[2] < 2e-7, "{errors:?}");
    assert!(reference.index_axis(Axis(0), 1).iter().any(|v| *v > 0.2), "the spot lives");
}

// Orders of convergence.

/// Orders of every scheme at time `t` against a fine run of `finest` steps of a scheme that is not tested with it.
fn assert_orders<P: Pde>(pde: &P, grid: &Grid, t: f64, steps: [usize; 3], finest: usize) {
    let start = smooth(pde, grid);
    let references = [Scheme::Ifrk4, Scheme::Etdrk4].map(|scheme| solve(pde, grid, scheme, &start, t, finest));
    for scheme in Scheme::ALL {
        let reference = &references[usize::from(scheme == Scheme::Ifrk4)];
        let errors = steps.map(|steps| error(&solve(pde, grid, scheme, &start, t, steps), reference));
        let order = orders(&errors)[1];
        // Coarse steps still see the next term of the error, of relative size dt.
        assert!((order - scheme.order() as f64).abs() < 0.3, "{scheme:?} on {}: {errors:?}, order {order}", pde.id());
    }
}

#[test]
fn every_scheme_has_its_order_on_kuramoto_sivashinsky() {
    assert_orders(&KuramotoSivashinsky::unit(), &Grid::cube(1, 64, 22.0).unwrap(), 4.0, [200, 400, 800], 6400);
}

#[test]
fn every_scheme_has_its_order_on_korteweg_de_vries() {
    assert_orders(&KortewegDeVries { a: 1.0, b: 0.05 }, &Grid::cube(1, 64, TAU).unwrap(), 1.0, [200, 400, 800], 6400);
}

#[test]
fn every_scheme_has_its_order_on_navier_stokes() {
    let pde = NavierStokes2d { mean_flow: [0.6, -0.2], ..NavierStokes2d::kolmogorov(0.01, 0.1, 1.0, 2, TAU) };
    assert_orders(&pde, &Grid::cube(2, 32, TAU).unwrap(), 1.0, [20, 40, 80], 640);
}

// Balances.

#[test]
fn balances_hold_in_time() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        let dt = 2e-4;
        let mut stepper = plan(pde, grid, Scheme::Etdrk4, dt);
        let mut state = stepper.load(smooth(pde, grid).view()).unwrap();
        stepper.advance(&mut state, 20).unwrap();
        let snapshots: Vec<Snapshot> = (0..5)
            .map(|_| {
                stepper.advance(&mut state, 1).unwrap();
                Snapshot::new(pde, grid, store(&stepper, &state).view()).unwrap()
            })
            .collect();
        for invariant in pde.invariants() {
            let v: Vec<f64> = snapshots.iter().map(|s| invariant.value(s)).collect();
            // Differences of order 4: dt^4 / 30 times five time derivatives at rates up to 25 (Allen-Cahn) is 1e-9 of
            // the value; round-off is 1e-11.
            let observed = (8.0 * (v[3] - v[1]) - (v[4] - v[0])) / (12.0 * dt);
            let rate = invariant.rate(&snapshots[2]);
            let name = format!("{} of {}: {observed} {rate}", invariant.name(), pde.id());
            assert!((observed - rate).abs() < 1e-8 * (1.0 + v[2].abs() + rate.abs()), "{name}");
        }
    }
    for_every_equation!(check);
}

#[test]
fn conserved_quantities_drift_with_the_order_of_the_scheme() {
    /// Largest relative change of each quantity over a run.
    fn drifts<P: Pde>(pde: &P, grid: &Grid, start: &Field, t: f64, steps: usize) -> Vec<f64> {
        let end = solve(pde, grid, Scheme::Etdrk4, start, t, steps);
        let [before, after] = [start, &end].map(|u| Snapshot::new(pde, grid, u.view()).unwrap());
        pde.invariants().iter().map(|i| (i.value(&after) - i.value(&before)).abs() / i.value(&before).abs()).collect()
    }
    // Without viscosity energy and enstrophy are conserved by the truncated flow too.
    let plane = Grid::cube(2, 32, TAU).unwrap();
    let euler = NavierStokes2d::decaying(0.0);
    let start = 4.0 * smooth(&euler, &plane);
    let (coarse, fine) = (drifts(&euler, &plane, &start, 2.0, 320), drifts(&euler, &plane, &start, 2.0, 640));
    for (coarse, fine) in coarse.iter().zip(&fine) {
        assert!((coarse / fine).log2() > 3.7 && *fine < 1e-7, "{coarse} {fine}");
    }

    let line = Grid::cube(1, 256, 50.0).unwrap();
    let kdv = KortewegDeVries::classic_minus();
    let pair = [Soliton { k: 1.6, x0: 15.0 }, Soliton { k: 1.0, x0: 22.0 }];
    let start = Kdv::MINUS.solitons(&line, &pair, 0.0).unwrap().insert_axis(Axis(0));
    let (coarse, fine) = (drifts(&kdv, &line, &start, 6.0, 1000), drifts(&kdv, &line, &start, 6.0, 2000));
    // The mean to one round-off a step; square and Hamiltonian with one order more than the solution.
    assert!(fine[0] < 1e-12, "{fine:?}");
    for (coarse, fine) in coarse.iter().zip(&fine).skip(1) {
        assert!((coarse / fine).log2() > 3.9 && *fine < 1e-6, "{coarse} {fine}");
    }
}

#[test]
fn schroedinger_conserves_mass_momentum_and_hamiltonian() {
    let nls = NonlinearSchroedinger { dispersion: 0.5, cubic: 1.0 };
    let grid = Grid::new(&[24, 32], &[5.0, 7.0]).unwrap();
    let start = 0.5 * smooth(&nls, &grid);
    let values = |u: &Field| -> Vec<f64> {
        let snapshot = Snapshot::new(&nls, &grid, u.view()).unwrap();
        nls.invariants().iter().map(|i| i.value(&snapshot)).collect()
    };
    let before = values(&start);
    let drifts = [400, 800].map(|steps| {
        let after = values(&solve(&nls, &grid, Scheme::Etdrk4, &start, 1.0, steps));
        before.iter().zip(after).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
    });
    for (coarse, fine) in drifts[0].iter().zip(&drifts[1]) {
        assert!((coarse / fine).log2() > 3.8 && *fine < 1e-6, "{drifts:?}");
    }
}

// Derivatives.

#[test]
fn nonlinear_terms_and_their_adjoints_agree_in_the_solver() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        let mut stepper = plan(pde, grid, Scheme::Etdrk4, 0.01);
        let start = smooth(pde, grid);
        let shifted = |shift: usize| {
            let last = start.ndim() - 1;
            let shape = start.raw_dim();
            ArrayD::from_shape_fn(shape, |mut i: IxDyn| {
                i[last] = (i[last] + shift) % start.shape()[last];
                start[&i] * (1.0 + 0.3 * (i[last] as f64).sin())
            })
        };
        let [u, v, w] = [start.clone(), shifted(5), shifted(11)].map(|f| stepper.load(f.view()).unwrap());
        let (jv, jtw) = (stepper.nonlinear_jvp(&u, &v), stepper.nonlinear_vjp(&u, &w));
        let (left, right) = (stepper.inner(&jv, &w), stepper.inner(&v, &jtw));
        let scale = (stepper.inner(&jv, &jv) * stepper.inner(&w, &w)).sqrt();
        // Round-off of a few transforms.
        assert!((left - right).abs() <= 1e-13 * scale, "{}: {left} {right}", pde.id());
        assert!(P::PRODUCTS == 0 || scale > 1e-3, "{} is exercised", pde.id());
    }
    for_every_equation!(check);
}

#[test]
fn gradients_with_respect_to_coefficients_equal_differences() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        // J = (1/2) sum_x |u(T) - target|^2, the target away from all symmetries.
        let (start, steps, dt) = (smooth(pde, grid), 8, 0.02);
        let target = sample(grid, P::CHANNELS, |c, x| {
            (1..=2)
                .map(|m| {
                    ((m as f64) * grid.k_unit(0) * x[0] + 0.3 + c as f64 + grid.k_unit(1 % grid.dim()) * x[1]).sin()
                })
                .sum()
        });
        let objective = |pde: &P| {
            let difference = solve(pde, grid, Scheme::Etdrk4, &start, steps as f64 * dt, steps) - &target;
            0.5 * norm(&difference).powi(2)
        };
        let mut stepper = plan(pde, grid, Scheme::Etdrk4, dt);
        let mut state = stepper.load(start.view()).unwrap();
        let tape = stepper.record(&mut state, steps, Checkpoints::Stages).unwrap();
        let mut lambda = stepper.load_cotangent((store(&stepper, &state) - &target).view()).unwrap();
        let gradient = stepper.backward(&tape, &mut lambda, Wanted { parameters: true, forcing: true }).unwrap();
        let by_forcing = gradient.forcing.unwrap();
        for (parameter, (name, gradient)) in gradient.parameters.into_iter().enumerate() {
            let per_forcing = sample(grid, P::CHANNELS, |c, x| pde.forcing_derivative(parameter, c, x));
            let gradient = gradient + (&by_forcing * &per_forcing).sum();
            let h = 1e-5;
            let [plus, minus] = [h, -h].map(|h| {
                let mut moved = pde.clone();
                *moved.parameter_mut(parameter) += h;
                objective(&moved)
            });
            let difference = (plus - minus) / (2.0 * h);
            // h^2 = 1e-10 times third derivatives over first ones (up to 1e3), and round-off 1e-15 J / h.
            let tolerance = 1e-6 * gradient.abs() + 1e-9 * objective(pde);
            assert!((difference - gradient).abs() < tolerance, "{name} of {}: {gradient} {difference}", pde.id());
        }
    }
    for_every_equation!(check);
}
