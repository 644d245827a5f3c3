//! The viscosity of a turbulent flow from two snapshots, by the adjoint of the solver:
//! `cargo run --release --example recover_viscosity`.
use parseval::initial::McWilliams;
use parseval::stepper::{Checkpoints, Options, Scheme, Stepper, Wanted};
use parseval::{Result, field::Grid, pde::NavierStokes2d};

fn main() -> Result<()> {
    let grid = Grid::cube(2, 64, std::f64::consts::TAU)?;
    let first = McWilliams::published().sample(&grid, 1)?;
    let (steps, truth) = (100, 3e-3);
    let plan =
        |nu| Stepper::<f64>::plan(&NavierStokes2d::decaying(nu), &grid, Scheme::Etdrk4, 0.01, &Options::default());
    let mut stepper = plan(truth)?;
    let mut state = stepper.load(first.view())?;
    stepper.advance(&mut state, steps)?;
    let last = stepper.store(&state);

    // dJ / d log(nu) of J = 1/2 |omega(T) - last|^2.
    let slope = |log_nu: f64| -> Result<f64> {
        let mut stepper = plan(log_nu.exp())?;
        let mut state = stepper.load(first.view())?;
        let tape = stepper.record(&mut state, steps, Checkpoints::Steps)?;
        let mut lambda = stepper.load_cotangent((stepper.store(&state) - &last).view())?;
        let gradient = stepper.backward(&tape, &mut lambda, Wanted { parameters: true, forcing: false })?;
        Ok(gradient.parameters[0].1 * log_nu.exp())
    };
    // Its zero by false position (Illinois) between two guesses.
    let (mut a, mut b) = (1e-3f64.ln(), 1e-2f64.ln());
    let (mut slope_a, mut slope_b) = (slope(a)?, slope(b)?);
    for _ in 0..8 {
        let c = b - slope_b * (b - a) / (slope_b - slope_a);
        let slope_c = slope(c)?;
        println!("nu = {:.12e}, dJ/dlog(nu) = {slope_c:+.3e}", c.exp());
        (a, slope_a) = if slope_c * slope_b < 0.0 { (b, slope_b) } else { (a, 0.5 * slope_a) };
        (b, slope_b) = (c, slope_c);
    }
    println!("relative error {:.1e}", (b.exp() / truth - 1.0).abs());
    Ok(())
}
