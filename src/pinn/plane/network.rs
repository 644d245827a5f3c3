//! The network for the stream function, and the derivatives that the equation needs.

use crate::autodiff::Workers;
use crate::error::{Error, Result};
use crate::jet::{Architecture, Blueprint, Direction, Jets};

/// Stream function and vorticity at a point, with derivatives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Local {
    /// `psi`.
    pub psi: f64,
    /// `psi_x = -v`.
    pub psi_x: f64,
    /// `psi_y = u`.
    pub psi_y: f64,
    /// `omega = -lap psi`.
    pub omega: f64,
    /// `omega_x`.
    pub omega_x: f64,
    /// `omega_y`.
    pub omega_y: f64,
    /// `lap omega`.
    pub lap_omega: f64,
    /// `omega_t`.
    pub omega_t: f64,
}

impl Local {
    /// Velocity in `x`.
    pub fn u(&self) -> f64 {
        self.psi_y
    }

    /// Velocity in `y`.
    pub fn v(&self) -> f64 {
        -self.psi_x
    }

    pub(super) fn to_array(self) -> [f64; VALUES] {
        let Self { psi, psi_x, psi_y, omega, omega_x, omega_y, lap_omega, omega_t } = self;
        [psi, psi_x, psi_y, omega, omega_x, omega_y, lap_omega, omega_t]
    }

    pub(super) fn of_array([psi, psi_x, psi_y, omega, omega_x, omega_y, lap_omega, omega_t]: [f64; VALUES]) -> Self {
        Self { psi, psi_x, psi_y, omega, omega_x, omega_y, lap_omega, omega_t }
    }

    /// `l + g N` with the rate `l_t + g' N + g N_t` of the vorticity, `self` being `N`.
    pub(super) fn assemble(self, lift: &Self, [gate, rate]: [f64; 2]) -> Self {
        let (n, l) = (self.to_array(), lift.to_array());
        let mut sum: [f64; VALUES] = std::array::from_fn(|i| l[i] + gate * n[i]);
        sum[OMEGA_T] += rate * self.omega;
        Self::of_array(sum)
    }

    /// The transpose of [`Local::assemble`] for cotangents.
    pub(super) fn assemble_adjoint(self, [gate, rate]: [f64; 2]) -> Self {
        let mut cotangent = self.to_array().map(|c| gate * c);
        cotangent[OMEGA] += rate * self.omega_t;
        Self::of_array(cotangent)
    }
}

/// Numbers in a [`Local`], and places of two of them.
pub(super) const VALUES: usize = 8;
const OMEGA: usize = 3;
const OMEGA_T: usize = 7;

/// `N(x, y, t)` with its derivatives up to the fourth order.
///
/// With `D_d^k` the `k`-th derivative along `d`, `p = (1, 1)` and `m = (1, -1)` in the plane,
///
/// ```text
/// psi_xxy = (D_p^3 - D_m^3 - 2 D_y^3) / 6 ,   psi_xyy = (D_p^3 + D_m^3 - 2 D_x^3) / 6 ,
/// lap^2 psi = (D_p^4 + D_m^4) / 6 + 2/3 (D_x^4 + D_y^4) ,
/// lap psi_t = (sum_d D_d^3 - 4 D_c^3) / (6 c)   over   d = (1, 0, c), (-1, 0, c), (0, 1, c), (0, -1, c) ,
/// ```
///
/// where `D_c` is along `(0, 0, c)`, and `c` half the length of the window. All are checked by multiplying out.
pub struct Network {
    blueprint: Blueprint,
    jets: Jets<f64>,
    workers: Workers<f64>,
    /// `(value of a Local, component of a jet, factor)`.
    table: Vec<(usize, usize, f64)>,
}

impl Network {
    /// Plans a network of `x, y, t` in a window of time.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a network that its blueprint refuses, or that has not three coordinates and one output.
    pub fn plan(network: &dyn Architecture, times: [f64; 2], threads: usize) -> Result<Self> {
        let blueprint = network.blueprint()?;
        if (blueprint.coordinates(), blueprint.outputs()) != (3, 1) {
            let size = format!("{} and {}", blueprint.coordinates(), blueprint.outputs());
            return Err(Error::parameter("coordinates and outputs", size, "must be three and one"));
        }
        let c = 0.5 * (times[1] - times[0]);
        let direction = |along: [f64; 3], order| Direction { along: along.to_vec(), order };
        let directions = [
            direction([1.0, 0.0, 0.0], 4),
            direction([0.0, 1.0, 0.0], 4),
            direction([1.0, 1.0, 0.0], 4),
            direction([1.0, -1.0, 0.0], 4),
            direction([1.0, 0.0, c], 3),
            direction([-1.0, 0.0, c], 3),
            direction([0.0, 1.0, c], 3),
            direction([0.0, -1.0, c], 3),
            direction([0.0, 0.0, c], 3),
        ];
        let jets = Jets::plan(network, &directions)?;
        let (third, sixth) = (2.0 / 3.0, 1.0 / 6.0);
        let [x, y, p, m] = [0, 1, 2, 3];
        let d = |direction: usize, order: usize| jets.component(direction, order);
        let mut table = vec![
            (0, 0, 1.0),
            (1, d(x, 1), 1.0),
            (2, d(y, 1), 1.0),
            (OMEGA, d(x, 2), -1.0),
            (OMEGA, d(y, 2), -1.0),
            (4, d(x, 3), -third),
            (4, d(p, 3), -sixth),
            (4, d(m, 3), -sixth),
            (5, d(y, 3), -third),
            (5, d(p, 3), -sixth),
            (5, d(m, 3), sixth),
            (6, d(x, 4), -third),
            (6, d(y, 4), -third),
            (6, d(p, 4), -sixth),
            (6, d(m, 4), -sixth),
            (OMEGA_T, d(8, 3), 4.0 * sixth / c),
        ];
        table.extend((4..8).map(|direction| (OMEGA_T, d(direction, 3), -sixth / c)));
        Ok(Self { jets, blueprint, workers: Workers::new(threads)?, table })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.jets.parameters()
    }

    /// Random parameters to start from.
    pub fn random(&self, seed: u64) -> Vec<f64> {
        self.blueprint.parameters(seed).theta().to_vec()
    }

    /// What the equation needs, from a jet.
    fn local(&self, jet: &[f64]) -> Local {
        let mut values = [0.0; VALUES];
        self.table.iter().for_each(|&(value, component, factor)| values[value] += factor * jet[component]);
        Local::of_array(values)
    }

    /// The network at points `[x, y, t]`.
    pub fn evaluate(&self, theta: &[f64], points: &[[f64; 3]]) -> Vec<Local> {
        let components = self.jets.components();
        let mut jets = vec![0.0; points.len() * components];
        self.jets.derivatives(&self.workers, theta, points.as_flattened(), &mut jets);
        jets.chunks_exact(components).map(|jet| self.local(jet)).collect()
    }

    /// Residuals `r_p` and rows `d r_p / d theta`; `seed(p, local)` gives `r_p` and its cotangent.
    pub(super) fn rows(
        &self,
        theta: &[f64],
        points: &[[f64; 3]],
        r: &mut [f64],
        rows: &mut [f64],
        seed: impl Fn(usize, Local) -> (f64, Local) + Sync,
    ) {
        self.jets.jacobian(&self.workers, theta, points.as_flattened(), r, rows, |p, jet, cotangent| {
            let (r, local) = seed(p, self.local(jet));
            let local = local.to_array();
            self.table.iter().for_each(|&(value, component, factor)| cotangent[component] += factor * local[value]);
            r
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jet::{Activation, Coordinate, Mlp};

    #[test]
    fn mixed_derivatives_are_those_of_differences() {
        let axis = Coordinate::Periodic { length: 3.0, modes: 1 };
        let coordinates = vec![axis, axis, Coordinate::Linear { from: 0.2, to: 0.6 }];
        let mlp = Mlp { coordinates, width: 6, depth: 2, outputs: 1, activation: Activation::Tanh, scale: None };
        let network = Network::plan(&mlp, [0.2, 0.6], 1).unwrap();
        let theta: Vec<f64> = network.random(1).iter().enumerate().map(|(i, t)| t + 0.1 * (i as f64).sin()).collect();
        let at = |point: [f64; 3]| network.evaluate(&theta, &[point])[0];
        let point = [0.4, 1.1, 0.35];
        let here = at(point);
        // Differences of sixth order: h^6 of high derivatives, and 1e-14 / h.
        let h = 4e-3;
        let derivative = |axis: usize, value: fn(&Local) -> f64| {
            let moved = |steps: f64| {
                let mut point = point;
                point[axis] += steps * h;
                value(&at(point))
            };
            let d = |k: f64| moved(k) - moved(-k);
            (45.0 * d(1.0) - 9.0 * d(2.0) + d(3.0)) / (60.0 * h)
        };
        let psi_xx = derivative(0, |l| l.psi_x);
        let psi_yy = derivative(1, |l| l.psi_y);
        for (name, value, exact) in [
            ("psi_x", here.psi_x, derivative(0, |l| l.psi)),
            ("psi_y", here.psi_y, derivative(1, |l| l.psi)),
            ("omega", here.omega, -psi_xx - psi_yy),
            ("omega_x", here.omega_x, derivative(0, |l| l.omega)),
            ("omega_y", here.omega_y, derivative(1, |l| l.omega)),
            ("omega_t", here.omega_t, derivative(2, |l| l.omega)),
        ] {
            assert!((value - exact).abs() < 1e-8 * (1.0 + exact.abs()), "{name}: {value} {exact}");
        }
        let lap = derivative(0, |l| l.omega_x) + derivative(1, |l| l.omega_y);
        assert!((here.lap_omega - lap).abs() < 1e-8 * (1.0 + lap.abs()), "{} {lap}", here.lap_omega);
    }
}
