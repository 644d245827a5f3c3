//! An equation of one's own in a loop of one's own: `cargo run --release --example own_equation`.
//! Burgers' equation with hyperviscosity, `u_t = -u u_x + nu u_xx - gamma u_xxxx`, until its energy has halved.
use parseval::pde::{Pde, Wave, constant};
use parseval::spectral::simd::{Complex, Lanes};
use parseval::stepper::{Options, Scheme, Stepper};
use parseval::{Complex64, Result, field::Grid};

#[derive(Clone)]
struct HyperBurgers(f64, f64);

#[rustfmt::skip]
impl Pde for HyperBurgers {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;
    fn id(&self) -> &'static str { "hyper_burgers" }
    fn equation(&self) -> String { "u_t + u u_x = nu u_xx - gamma u_xxxx".into() }
    fn channel_names(&self) -> Vec<&'static str> { vec!["u"] }
    fn validate(&self, _: &Grid) -> Result<()> { Ok(()) }
    fn linear_symbol(&self, _: usize, k: [f64; 3]) -> Complex64 { (-self.0 * k[0].powi(2) - self.1 * k[0].powi(4)).into() }
    fn products<V: Lanes>(&self, u: &[V], p: &mut [V]) { p[0] = u[0] * u[0] }
    fn products_jvp<V: Lanes>(&self, u: &[V], du: &[V], dp: &mut [V]) { dp[0] = constant::<V>(2.0) * u[0] * du[0] }
    fn products_vjp<V: Lanes>(&self, u: &[V], p_bar: &[V], u_bar: &mut [V]) { u_bar[0] = constant::<V>(2.0) * u[0] * p_bar[0] }
    fn tendency<V: Lanes>(&self, w: &Wave<V>, p: &[Complex<V>], n: &mut [Complex<V>]) { n[0] = p[0].scale_i(constant::<V>(-0.5) * w.k[0]) }
    fn tendency_adjoint<V: Lanes>(&self, w: &Wave<V>, n: &[Complex<V>], p: &mut [Complex<V>]) { p[0] = n[0].scale_i(constant::<V>(0.5) * w.k[0]) }
}

fn main() -> Result<()> {
    let grid = Grid::cube(1, 256, std::f64::consts::TAU)?;
    let pde = HyperBurgers(1e-3, 1e-5);
    let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 1e-3, &Options::default())?;
    let mut state = stepper.load(ndarray::Array::from_iter(grid.coordinates(0)).mapv(f64::sin).into_dyn().view())?;
    while stepper.inner(&state, &state) > 0.25 {
        stepper.advance(&mut state, 10)?; // inner(u, u) is the mean of u^2, here 1/2 at the start
    }
    println!("the energy has halved at t = {:.2}, after {} steps", state.t, state.step);
    Ok(())
}
