use ndarray::ArrayD;

use super::*;
use crate::field::Grid;
use crate::pde::{KuramotoSivashinsky, NavierStokes2d};
use crate::spectral::layout::Dealias;
use crate::spectral::simd::Isa;
use crate::stepper::{Options, Scheme};

fn wavy(grid: &Grid) -> ArrayD<f64> {
    ArrayD::from_shape_fn(grid.shape(), |i| {
        let x: Vec<f64> =
            (0..grid.dim()).map(|a| std::f64::consts::TAU * i[a] as f64 / grid.shape()[a] as f64).collect();
        (0..grid.dim()).map(|a| (x[a] + 0.3).sin() + 0.5 * (2.0 * x[a] + x[(a + 1) % grid.dim()]).cos()).sum::<f64>()
    })
}

fn difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    let norm = |x: &ArrayD<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b)
}

#[test]
fn ks_schemes_converge_at_their_order() {
    let grid = Grid::cube(1, 64, 22.0).unwrap();
    let pde = KuramotoSivashinsky::default();
    let solve = |scheme, steps: usize| {
        let mut stepper = Stepper::<f64>::plan(&pde, &grid, scheme, 4.0 / steps as f64, &Options::default()).unwrap();
        let mut state = stepper.load(wavy(&grid).view()).unwrap();
        stepper.advance(&mut state, steps).unwrap();
        stepper.store(&state)
    };
    let reference = solve(Scheme::Ifrk4, 12800);
    for scheme in Scheme::ALL {
        let errors = [200, 400, 800].map(|steps| difference(&solve(scheme, steps), &reference));
        let order = (errors[1] / errors[2]).log2();
        println!("{scheme:?} {errors:?} {order}");
        assert!((order - scheme.order() as f64).abs() < 0.3, "{scheme:?}: {errors:?}, order {order}");
    }
}

#[test]
fn kolmogorov_laminar_state_is_steady() {
    let grid = Grid::new(&[32, 48], &[std::f64::consts::TAU; 2]).unwrap();
    let pde = NavierStokes2d::kolmogorov(0.05, 0.1, 1.0, 4, std::f64::consts::TAU);
    let laminar =
        ArrayD::from_shape_fn(grid.shape(), |i| -4.0 / (0.05 * 16.0 + 0.1) * (4.0 * grid.coordinates(1)[i[1]]).cos());
    let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 0.01, &Options::default()).unwrap();
    let mut state = stepper.load(laminar.view()).unwrap();
    stepper.advance(&mut state, 1000).unwrap();
    let drift = difference(&stepper.store(&state).remove_axis_pair(), &laminar);
    assert!(drift < 1e-12, "{drift}");
}

trait RemoveAxisPair {
    fn remove_axis_pair(self) -> ArrayD<f64>;
}

impl RemoveAxisPair for ArrayD<f64> {
    fn remove_axis_pair(self) -> ArrayD<f64> {
        self.index_axis_move(ndarray::Axis(0), 0).index_axis_move(ndarray::Axis(0), 0)
    }
}

fn kolmogorov() -> NavierStokes2d {
    NavierStokes2d::kolmogorov(0.01, 0.1, 1.0, 4, std::f64::consts::TAU)
}

fn square(n: usize) -> Grid {
    Grid::cube(2, n, std::f64::consts::TAU).unwrap()
}

/// Ten steps from a batch of shifted fields.
fn ten_steps<P: crate::pde::Pde, T: Real>(pde: &P, grid: &Grid, options: &Options) -> ArrayD<T> {
    let mut stepper = Stepper::<T>::plan(pde, grid, Scheme::Etdrk4, 0.01, options).unwrap();
    let members: Vec<ArrayD<T>> = (0..options.batch)
        .map(|b| wavy(grid).mapv(|x| T::of(x * (1.0 + 0.1 * b as f64))).insert_axis(ndarray::Axis(0)))
        .collect();
    let views: Vec<_> = members.iter().map(|m| m.view()).collect();
    let u0 = ndarray::stack(ndarray::Axis(0), &views).unwrap();
    let mut state = stepper.load(u0.view()).unwrap();
    stepper.advance(&mut state, 10).unwrap();
    stepper.store(&state)
}

#[test]
fn vector_kernels_agree_with_the_plain_one() {
    let largest = |a: &ArrayD<f64>, b: &ArrayD<f64>| {
        let scale = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / scale
    };
    // Bundles of lines (64, 48), lines that fill no bundle (20 of them), a length that only the plain kernel has (22);
    // in one dimension single lines.
    let grids = [square(64), square(48), Grid::new(&[20, 72], &[6.0, std::f64::consts::TAU]).unwrap(), square(22)];
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|isa| isa.is_available()) {
        for dealias in [Dealias::Truncate, Dealias::Pad] {
            for grid in &grids {
                let options = |isa| Options { isa, dealias: dealias.clone(), ..Options::default() };
                let plain: ArrayD<f64> = ten_steps(&kolmogorov(), grid, &options(Isa::Scalar));
                let lanes: ArrayD<f64> = ten_steps(&kolmogorov(), grid, &options(isa));
                // Forty evaluations of transforms with an error of some units of round-off each.
                assert!(largest(&lanes, &plain) < 1e-13, "{isa:?} {dealias:?} {grid:?}: {}", largest(&lanes, &plain));
                let single: ArrayD<f32> = ten_steps(&kolmogorov(), grid, &options(isa));
                let error = largest(&single.mapv(f64::from), &plain);
                assert!(error < 5e-5, "{isa:?} {dealias:?} {grid:?} f32: {error}");
            }
            for n in [64, 256, 96] {
                let grid = Grid::cube(1, n, 22.0).unwrap();
                let options = |isa| Options { isa, dealias: dealias.clone(), ..Options::default() };
                let ks = KuramotoSivashinsky::default();
                let plain: ArrayD<f64> = ten_steps(&ks, &grid, &options(Isa::Scalar));
                let lanes: ArrayD<f64> = ten_steps(&ks, &grid, &options(isa));
                assert!(largest(&lanes, &plain) < 1e-13, "{isa:?} {dealias:?} ks {n}");
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_or_batches() {
    let bits = |u: &ArrayD<f64>| u.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    // One sample shared by a team (256^2 is large enough for it), samples shared out, and samples one by one.
    let large = square(256);
    let options = |batch, threads| Options { batch, threads, ..Options::default() };
    let one: ArrayD<f64> = ten_steps(&kolmogorov(), &large, &options(1, 1));
    for threads in [2, 3] {
        assert!(bits(&one) == bits(&ten_steps(&kolmogorov(), &large, &options(1, threads))), "{threads} threads");
    }
    let small = square(32);
    let batch: ArrayD<f64> = ten_steps(&kolmogorov(), &small, &options(5, 1));
    for threads in [2, 4] {
        assert!(bits(&batch) == bits(&ten_steps(&kolmogorov(), &small, &options(5, threads))), "{threads} threads");
    }
    let alone: ArrayD<f64> = ten_steps(&kolmogorov(), &small, &options(1, 1));
    assert!(bits(&alone) == bits(&batch.slice_axis(ndarray::Axis(0), (0..1).into()).to_owned()));
}

#[test]
fn bundles_of_lines_agree_with_single_lines() {
    let largest = |a: &ArrayD<f64>, b: &ArrayD<f64>| a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    fn compare<P: crate::pde::Pde>(pde: &P, grid: &Grid, largest: impl Fn(&ArrayD<f64>, &ArrayD<f64>) -> f64) {
        let options = |batch, threads, isa| Options { batch, threads, isa, ..Options::default() };
        let plain: ArrayD<f64> = ten_steps(pde, grid, &options(37, 1, Isa::Scalar));
        for isa in [Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|isa| isa.is_available()) {
            let one: ArrayD<f64> = ten_steps(pde, grid, &options(37, 1, isa));
            // Forty evaluations of transforms with an error of some units of round-off each; fields of size ten.
            assert!(largest(&one, &plain) < 1e-12, "{isa:?}: {}", largest(&one, &plain));
            assert!(one == ten_steps::<P, f64>(pde, grid, &options(37, 2, isa)), "{isa:?}: two threads");
            let fewer = ten_steps::<P, f64>(pde, grid, &options(33, 1, isa));
            assert!(one.slice_axis(ndarray::Axis(0), (0..33).into()) == fewer, "{isa:?}: place in the batch");
        }
    }
    compare(&KuramotoSivashinsky::default(), &Grid::cube(1, 256, 22.0).unwrap(), largest);
    compare(&crate::pde::KortewegDeVries::classic_minus(), &Grid::cube(1, 96, 20.0).unwrap(), largest);
}

#[test]
fn blow_up_names_sample_step_and_time() {
    let grid = square(32);
    let options = Options { batch: 2, ..Options::default() };
    let mut stepper = Stepper::<f64>::plan(&kolmogorov(), &grid, Scheme::Etdrk4, 1.0, &options).unwrap();
    let calm = wavy(&grid) * 1e-3;
    let wild = wavy(&grid) * 1e6;
    let u0 = ndarray::stack(ndarray::Axis(0), &[calm.view(), wild.view()]).unwrap().insert_axis(ndarray::Axis(1));
    let mut state = stepper.load(u0.view()).unwrap();
    match stepper.advance(&mut state, 50) {
        Err(Error::BlowUp { sample: 1, step, t }) => assert!(step < 50 && t == step as f64, "{step} {t}"),
        other => panic!("expected a blow-up of sample 1, got {other:?}"),
    }
}
