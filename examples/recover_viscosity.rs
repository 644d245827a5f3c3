//! The viscosity of a turbulent flow from two snapshots, by the adjoint of the solver:
//! `cargo run --release --example recover_viscosity`.
use parseval::initial::McWilliams;
use parseval::stepper::{Checkpoints, Options, Scheme, Stepper, Wanted};
use parseval::{Result, field::Grid, pde::NavierStokes2d};

fn main() -> Result<()> {
    let grid = Grid::cube(2, 64, std::f64::consts::TAU)?;
    let first = McWilliams::published().sample(&grid, 1)?;
    let plan =
        |nu: f64| Stepper::<f64>::plan(&NavierStokes2d::decaying(nu), &grid, Scheme::Etdrk4, 0.01, &Options::default());
    let (steps, truth) = (100, 3e-3);
    let mut stepper = plan(truth)?;
    let mut state = stepper.load(first.view())?;
    stepper.advance(&mut state, steps)?;
    let last = stepper.store(&state);

    // Newton's method on dJ / d log(nu) = 0, J = 1/2 |omega(T) - last|^2, its slope by secants.
    let (mut log_nu, mut previous) = (1e-2f64.ln(), None);
    for iteration in 1..=20 {
        let mut stepper = plan(log_nu.exp())?;
        let mut state = stepper.load(first.view())?;
        let tape = stepper.record(&mut state, steps, Checkpoints::Steps)?;
        let difference = stepper.store(&state) - &last;
        let loss = 0.5 * difference.iter().map(|d| d * d).sum::<f64>();
        let mut lambda = stepper.load_cotangent(difference.view())?;
        let gradient = stepper.backward(&tape, &mut lambda, Wanted { parameters: true, forcing: false })?;
        let slope = gradient.parameters[0].1 * log_nu.exp();
        println!("iteration {iteration:2}: nu = {:.10e}, loss {loss:.3e}, dJ/dlog(nu) {slope:+.3e}", log_nu.exp());
        let step = previous.map_or(-0.2 * slope.signum(), |(x, s)| -slope * (log_nu - x) / (slope - s));
        previous = Some((log_nu, slope));
        if step.abs() < 1e-12 {
            break;
        }
        log_nu += step.clamp(-0.5, 0.5);
    }
    println!("relative error {:.1e}", (log_nu.exp() / truth - 1.0).abs());
    Ok(())
}
