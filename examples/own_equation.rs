//! An equation of one's own inside a loop of one's own: `cargo run --release --example own_equation`.
//!
//! Burgers' equation with hyperviscosity, `u_t = -u u_x + nu u_xx - gamma u_xxxx`, until its energy has halved.
use parseval::spectral::simd::{Complex, Lanes};
use parseval::{
    Complex64, Result,
    field::Grid,
    pde::{Pde, Wave, constant},
    stepper::{Options, Scheme, Stepper},
};

#[derive(Clone)]
struct HyperBurgers {
    nu: f64,
    gamma: f64,
}

#[rustfmt::skip]
impl Pde for HyperBurgers {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;
    fn id(&self) -> &'static str { "hyper_burgers" }
    fn equation(&self) -> String { "u_t + u u_x = nu u_xx - gamma u_xxxx".into() }
    fn channel_names(&self) -> Vec<&'static str> { vec!["u"] }
    fn validate(&self, _: &Grid) -> Result<()> { Ok(()) }
    fn linear_symbol(&self, _: usize, k: [f64; 3]) -> Complex64 { (-self.nu * k[0].powi(2) - self.gamma * k[0].powi(4)).into() }
    #[inline(always)] fn fields<V: Lanes>(&self, _: &Wave<V>, u: &[Complex<V>], f: &mut [Complex<V>]) { f[0] = u[0] }
    #[inline(always)] fn fields_adjoint<V: Lanes>(&self, _: &Wave<V>, f: &[Complex<V>], u: &mut [Complex<V>]) { u[0] = f[0] }
    #[inline(always)] fn products<V: Lanes>(&self, f: &[V], p: &mut [V]) { p[0] = f[0] * f[0] }
    #[inline(always)] fn products_jvp<V: Lanes>(&self, f: &[V], d: &[V], p: &mut [V]) { p[0] = constant::<V>(2.0) * f[0] * d[0] }
    #[inline(always)] fn products_vjp<V: Lanes>(&self, f: &[V], p: &[V], b: &mut [V]) { b[0] = constant::<V>(2.0) * f[0] * p[0] }
    #[inline(always)] fn tendency<V: Lanes>(&self, w: &Wave<V>, p: &[Complex<V>], n: &mut [Complex<V>]) { n[0] = p[0].scale_i(constant::<V>(-0.5) * w.k[0]) }
    #[inline(always)] fn tendency_adjoint<V: Lanes>(&self, w: &Wave<V>, n: &[Complex<V>], p: &mut [Complex<V>]) { p[0] = n[0].scale_i(constant::<V>(0.5) * w.k[0]) }
}

fn main() -> Result<()> {
    let grid = Grid::cube(1, 256, std::f64::consts::TAU)?;
    let mut stepper = Stepper::<f64>::plan(
        &HyperBurgers { nu: 1e-3, gamma: 1e-5 },
        &grid,
        Scheme::Etdrk4,
        1e-3,
        &Options::default(),
    )?;
    let mut state = stepper.load(
        parseval::initial::modes::sum(
            &grid,
            &[parseval::initial::modes::CosineMode { mode: vec![1], amplitude: 1.0, phase: 0.0 }],
        )?
        .view(),
    )?;
    let start = stepper.inner(&state, &state);
    while stepper.inner(&state, &state) > 0.5 * start {
        stepper.advance(&mut state, 10)?;
    }
    println!("the energy has halved at t = {:.2}, after {} steps", state.t, state.step);
    Ok(())
}
