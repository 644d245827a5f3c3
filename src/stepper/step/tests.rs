use ndarray::ArrayD;

use super::*;
use crate::field::Grid;
use crate::pde::{KuramotoSivashinsky, NavierStokes2d};
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
