//! Differentiation and quadrature in time, on the frames of a trajectory.

use std::f64::consts::PI;

use ndarray::Array2;

use crate::error::{Error, Result};

/// Highest order of the finite differences: from 8 on the quadrature weights at the ends are negative.
const MAX_ORDER: usize = 6;

/// Gauss-Legendre nodes and weights on `[-1, 1]`, exact up to degree 7.
const GAUSS: [(f64, f64); 4] = [
    (-0.861_136_311_594_052_6, 0.347_854_845_137_453_85),
    (-0.339_981_043_584_856_26, 0.652_145_154_862_546_1),
    (0.339_981_043_584_856_26, 0.652_145_154_862_546_1),
    (0.861_136_311_594_052_6, 0.347_854_845_137_453_85),
];

/// The times of a trajectory's frames, with a derivative `D` and quadrature weights `omega` on them:
///
/// ```text
/// (D u)_m = sum_n D_mn u_n  ~  u_t(t_m),        sum_m omega_m g(t_m)  ~  integral of g over the trajectory .
/// ```
///
/// # Example
///
/// ```
/// use parseval::operator::refine::TimeGrid;
///
/// let time = TimeGrid::uniform(9, 0.5, 6)?;
/// let u: Vec<f64> = time.times().iter().map(|t| t.powi(3)).collect();
/// let mut u_t = vec![0.0; 9];
/// time.differentiate(&u, &mut u_t);
/// assert!((u_t[8] - 3.0 * 16.0).abs() < 1e-11);
/// assert!((time.integrate(&u) - 4f64.powi(4) / 4.0).abs() < 1e-12);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TimeGrid {
    times: Vec<f64>,
    duration: f64,
    rows: Vec<Row>,
    weights: Vec<f64>,
}

/// Entries `D_mn`, `n = first ..`, of one row.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    first: usize,
    weights: Vec<f64>,
}

impl TimeGrid {
    /// Frames at `t_m = m dt`; finite differences of the given order on `order + 1` neighbours, centred where possible
    /// and one-sided at the ends, and the integral of the same local interpolants. Both are exact for polynomials of
    /// degree `order`. With fewer than `order + 1` frames the order is what they allow, `frames - 1`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are fewer than two frames, `dt` is not positive, or `order` is not 1 to 6.
    pub fn uniform(frames: usize, dt: f64, order: usize) -> Result<Self> {
        require(frames, dt)?;
        if !(1..=MAX_ORDER).contains(&order) {
            return Err(Error::parameter("order", order, format!("must be 1 to {MAX_ORDER}")));
        }
        let order = order.min(frames - 1);
        // In units of dt, so that the weights do not depend on it but for a factor.
        let nodes: Vec<f64> = (0..=order).map(|j| j as f64).collect();
        let first_of = |centre: f64| (centre - 0.5 * order as f64).max(0.0).min((frames - 1 - order) as f64) as usize;
        let row = |m: usize| {
            let first = first_of(m as f64);
            let weights = lagrange_weights(&nodes, (m - first) as f64)[1].iter().map(|w| w / dt).collect();
            Row { first, weights }
        };
        let mut weights = vec![0.0; frames];
        for m in 0..frames - 1 {
            let centre = m as f64 + 0.5;
            let first = first_of(centre);
            for (x, gauss) in GAUSS {
                let interpolant = &lagrange_weights(&nodes, centre + 0.5 * x - first as f64)[0];
                for (weight, value) in weights[first..].iter_mut().zip(interpolant) {
                    *weight += 0.5 * dt * gauss * value;
                }
            }
        }
        Ok(Self {
            times: (0..frames).map(|m| m as f64 * dt).collect(),
            duration: (frames - 1) as f64 * dt,
            rows: (0..frames).map(row).collect(),
            weights,
        })
    }

    /// Frames at `t_m = m dt` of a trajectory of period `frames dt`: Fourier differentiation, exact for
    /// frequencies below the Nyquist frequency, and the rectangle rule. Only for trajectories that are periodic in time.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are fewer than two frames or `dt` is not positive.
    pub fn periodic(frames: usize, dt: f64) -> Result<Self> {
        require(frames, dt)?;
        let duration = frames as f64 * dt;
        // Trefethen, Spectral Methods in MATLAB (2000), chapters 1 and 3.
        let entry = |m: usize, n: usize| {
            if m == n {
                return 0.0;
            }
            let (angle, sign) =
                (PI * (m as f64 - n as f64) / frames as f64, if m.abs_diff(n).is_multiple_of(2) { 1.0 } else { -1.0 });
            sign * PI / duration * if frames.is_multiple_of(2) { angle.tan().recip() } else { angle.sin().recip() }
        };
        let row = |m: usize| Row { first: 0, weights: (0..frames).map(|n| entry(m, n)).collect() };
        Ok(Self {
            times: (0..frames).map(|m| m as f64 * dt).collect(),
            duration,
            rows: (0..frames).map(row).collect(),
            weights: vec![dt; frames],
        })
    }

    /// Frames at the Gauss-Lobatto points `t_m = T (1 - cos(pi m / M)) / 2`, `M = frames - 1`: differentiation of the
    /// polynomial through all frames, and Clenshaw-Curtis quadrature; both exact for degree `M`. For surrogates whose
    /// ansatz in time is a polynomial, which can be asked for these times.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are fewer than two frames or the duration `T` is not positive.
    pub fn chebyshev(frames: usize, duration: f64) -> Result<Self> {
        require(frames, duration)?;
        let degree = frames - 1;
        let angle = |m: usize| PI * m as f64 / degree as f64;
        // t_m - t_n by the product formula, which does not cancel.
        let difference = |m: usize, n: usize| {
            let (a, b) = (angle(m), angle(n));
            duration * (0.5 * (a + b)).sin() * (0.5 * (a - b)).sin()
        };
        let barycentric = |m: usize| {
            let size = if m == 0 || m == degree { 0.5 } else { 1.0 };
            if m.is_multiple_of(2) { size } else { -size }
        };
        let row = |m: usize| {
            let mut weights: Vec<f64> = (0..frames)
                .map(|n| if n == m { 0.0 } else { barycentric(n) / barycentric(m) / difference(m, n) })
                .collect();
            // A constant has derivative zero: smaller round-off than the formula for the diagonal.
            weights[m] = -weights.iter().sum::<f64>();
            Row { first: 0, weights }
        };
        let weight = |m: usize| {
            let ends = if m == 0 || m == degree { 1.0 } else { 2.0 };
            let sum: f64 = (1..=degree / 2)
                .map(|j| {
                    let factor = if 2 * j == degree { 1.0 } else { 2.0 };
                    factor / ((4 * j * j - 1) as f64) * (2.0 * j as f64 * angle(m)).cos()
                })
                .sum();
            0.5 * duration * ends / degree as f64 * (1.0 - sum)
        };
        Ok(Self {
            times: (0..frames).map(|m| 0.5 * duration * (1.0 - angle(m).cos())).collect(),
            duration,
            rows: (0..frames).map(row).collect(),
            weights: (0..frames).map(weight).collect(),
        })
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.times.len()
    }

    /// Times of the frames, from zero.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Length of time over which [`TimeGrid::weights`] integrate.
    pub fn duration(&self) -> f64 {
        self.duration
    }

    /// Quadrature weights `omega`.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// `sum_m omega_m g_m`.
    ///
    /// # Panics
    ///
    /// If there is not one value a frame.
    pub fn integrate(&self, values: &[f64]) -> f64 {
        assert!(values.len() == self.frames(), "integrate: expected {} values, got {}", self.frames(), values.len());
        self.weights.iter().zip(values).map(|(w, g)| w * g).sum()
    }

    /// `(D u)` of frames that lie one after the other, all of the same length.
    ///
    /// # Panics
    ///
    /// If the slices differ in length, or the length is not a multiple of the number of frames.
    pub fn differentiate(&self, u: &[f64], u_t: &mut [f64]) {
        let len = self.frame_len(u.len(), u_t.len());
        for (m, out) in u_t.chunks_exact_mut(len.max(1)).enumerate() {
            out.fill(0.0);
            self.add_derivative(m, u, out);
        }
    }

    /// `D^T v`, the transpose of [`TimeGrid::differentiate`].
    ///
    /// # Panics
    ///
    /// As [`TimeGrid::differentiate`].
    pub fn differentiate_adjoint(&self, v: &[f64], out: &mut [f64]) {
        let len = self.frame_len(v.len(), out.len());
        out.fill(0.0);
        for (row, v) in self.rows.iter().zip(v.chunks_exact(len.max(1))) {
            let targets = out[row.first * len..].chunks_exact_mut(len.max(1));
            row.weights.iter().zip(targets).for_each(|(w, out)| axpy(*w, v, out));
        }
    }

    /// Adds `(D u)_m` to a frame.
    pub(super) fn add_derivative(&self, m: usize, u: &[f64], out: &mut [f64]) {
        let (row, len) = (&self.rows[m], out.len());
        let sources = u[row.first * len..].chunks_exact(len.max(1));
        row.weights.iter().zip(sources).for_each(|(w, u)| axpy(*w, u, out));
    }

    /// Orthonormal cosine basis on the frames, `C_jm = c_j cos(pi j (m + 1/2) / F)` (the discrete cosine transform of type
    /// II), and the angular frequencies `pi j / (F dt)` of its rows, `F` frames at the mean spacing `dt`: the basis in which
    /// differentiation in time is nearly diagonal in size without asking for periodicity.
    pub(super) fn cosine_basis(&self) -> (Array2<f64>, Vec<f64>) {
        let frames = self.frames();
        let unit = PI / frames as f64;
        let basis = Array2::from_shape_fn((frames, frames), |(j, m)| {
            let norm = if j == 0 { 1.0 } else { 2.0 } / frames as f64;
            norm.sqrt() * (unit * j as f64 * (m as f64 + 0.5)).cos()
        });
        let length = self.times[frames - 1] * frames as f64 / (frames - 1) as f64;
        (basis, (0..frames).map(|j| PI * j as f64 / length).collect())
    }

    fn frame_len(&self, from: usize, to: usize) -> usize {
        let frames = self.frames();
        assert!(from == to && from.is_multiple_of(frames), "{from} and {to} reals are no {frames} frames");
        from / frames
    }
}

/// `y += a x`.
fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

fn require(frames: usize, length: f64) -> Result<()> {
    if frames < 2 {
        return Err(Error::parameter("frames", frames, "must be at least 2"));
    }
    if !(length > 0.0 && length.is_finite()) {
        return Err(Error::parameter("dt", length, "must be > 0 and finite"));
    }
    Ok(())
}

/// Weights of the value and of the first derivative at `x` of the polynomial through the nodes.
///
/// # Source
///
/// Fornberg, *SIAM Review* 40 (1998), "Calculation of weights in finite difference formulas", for derivatives 0 and 1.
fn lagrange_weights(nodes: &[f64], x: f64) -> [Vec<f64>; 2] {
    let n = nodes.len();
    let [mut value, mut slope] = [vec![0.0; n], vec![0.0; n]];
    value[0] = 1.0;
    let mut previous = 1.0;
    for i in 1..n {
        let (here, before) = (nodes[i] - x, nodes[i - 1] - x);
        let mut product = 1.0;
        for j in 0..i {
            let gap = nodes[i] - nodes[j];
            product *= gap;
            if j + 1 == i {
                slope[i] = previous / product * (value[i - 1] - before * slope[i - 1]);
                value[i] = -previous / product * before * value[i - 1];
            }
            slope[j] = (here * slope[j] - value[j]) / gap;
            value[j] *= here / gap;
        }
        previous = product;
    }
    [value, slope]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn derivative(time: &TimeGrid, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let u: Vec<f64> = time.times().iter().map(|t| f(*t)).collect();
        let mut u_t = vec![0.0; u.len()];
        time.differentiate(&u, &mut u_t);
        u_t
    }

    #[test]
    fn polynomials_are_differentiated_and_integrated_exactly() {
        for (frames, order) in [(2, 6), (5, 6), (7, 6), (20, 1), (20, 2), (20, 5), (41, 6)] {
            let time = TimeGrid::uniform(frames, 0.1, order).unwrap();
            check(&time, order.min(frames - 1));
        }
        for frames in [2, 3, 8, 21] {
            check(&TimeGrid::chebyshev(frames, 2.0).unwrap(), (frames - 1).min(12));
        }
        fn check(time: &TimeGrid, degree: usize) {
            let (frames, end) = (time.frames(), time.duration());
            for p in 0..=degree as i32 {
                let exact = |t: f64| if p == 0 { 0.0 } else { p as f64 / end * (t / end).powi(p - 1) };
                let u_t = derivative(time, |t| (t / end).powi(p));
                for (m, (t, u_t)) in time.times().iter().zip(&u_t).enumerate() {
                    // Round-off of values up to 1 times the largest entry of D, at most about 1e3 / end here.
                    assert!((u_t - exact(*t)).abs() < 1e-12 * 1e3 / end, "{frames} {degree} t^{p} at {m}");
                }
                let values: Vec<f64> = time.times().iter().map(|t| (t / end).powi(p)).collect();
                assert!((time.integrate(&values) / end - 1.0 / (p + 1) as f64).abs() < 1e-13, "{frames} t^{p}");
            }
        }
    }

    #[test]
    fn differences_have_their_order_also_at_the_ends() {
        for order in [2, 4, 6] {
            let errors = [40, 80].map(|n| {
                let time = TimeGrid::uniform(n + 1, 2.0 / n as f64, order).unwrap();
                let u_t = derivative(&time, |t| (3.0 * t).sin());
                let errors = time.times().iter().zip(&u_t).map(|(t, u_t)| (u_t - 3.0 * (3.0 * t).cos()).abs());
                errors.fold(0.0, f64::max)
            });
            // The end points lead the error; within 0.3 of the order on this pair of grids.
            let observed = (errors[0] / errors[1]).log2();
            assert!((observed - order as f64).abs() < 0.3, "order {order}: {observed}, {errors:?}");
        }
    }

    #[test]
    fn quadrature_weights_are_positive_and_have_their_order() {
        for order in 1..=MAX_ORDER {
            let error = |n: usize| {
                let time = TimeGrid::uniform(n + 1, 2.0 / n as f64, order).unwrap();
                assert!(time.weights().iter().all(|w| *w > 0.0), "order {order}: {:?}", time.weights());
                let values: Vec<f64> = time.times().iter().map(|t| (2.0 * t).exp()).collect();
                (time.integrate(&values) / (0.5 * (4f64.exp() - 1.0)) - 1.0).abs()
            };
            // Order + 1, interpolants having degree `order`, by a margin: the ends contribute at the same order. The finer
            // grid of the higher orders would reach round-off.
            let n = if order <= 4 { 64 } else { 16 };
            assert!(
                (error(n) / error(2 * n)).log2() > order as f64 + 0.5,
                "order {order}: {} {}",
                error(n),
                error(2 * n)
            );
        }
    }

    #[test]
    fn periodic_frames_are_differentiated_spectrally() {
        for frames in [15, 16] {
            let time = TimeGrid::periodic(frames, 0.25).unwrap();
            let omega = TAU / time.duration();
            let u_t = derivative(&time, |t| (5.0 * omega * t + 0.3).sin());
            for (t, u_t) in time.times().iter().zip(&u_t) {
                assert!((u_t - 5.0 * omega * (5.0 * omega * t + 0.3).cos()).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn adjoint_is_the_transpose() {
        let grids = [TimeGrid::uniform(12, 0.3, 6), TimeGrid::periodic(12, 0.3), TimeGrid::chebyshev(12, 3.0)];
        for time in grids.map(Result::unwrap) {
            let u: Vec<f64> = (0..36).map(|i| (i as f64 * 1.7).sin()).collect();
            let v: Vec<f64> = (0..36).map(|i| (i as f64 * 0.9).cos()).collect();
            let [mut du, mut dv] = [vec![0.0; 36], vec![0.0; 36]];
            time.differentiate(&u, &mut du);
            time.differentiate_adjoint(&v, &mut dv);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            assert!((dot(&du, &v) - dot(&u, &dv)).abs() < 1e-12 * dot(&du, &du).sqrt());
        }
    }

    #[test]
    fn cosine_basis_is_orthonormal_and_sorted_by_frequency() {
        let time = TimeGrid::uniform(9, 0.5, 6).unwrap();
        let (basis, frequencies) = time.cosine_basis();
        let gram = basis.dot(&basis.t());
        assert!(gram.indexed_iter().all(|((i, j), g)| (g - f64::from(u8::from(i == j))).abs() < 1e-14));
        // The derivative of a row is as large as its frequency says; the stencils' ends and order set the margin.
        for (row, frequency) in basis.rows().into_iter().zip(frequencies).skip(1).take(4) {
            let (u, mut u_t) = (row.to_vec(), vec![0.0; 9]);
            time.differentiate(&u, &mut u_t);
            let size = u_t.iter().map(|u| u * u).sum::<f64>().sqrt();
            assert!((size / frequency - 1.0).abs() < 0.1, "{size} {frequency}");
        }
    }

    #[test]
    fn impossible_grids_are_refused() {
        assert!(TimeGrid::uniform(1, 0.1, 6).is_err());
        assert!(TimeGrid::uniform(5, 0.0, 6).is_err());
        assert!(TimeGrid::uniform(5, 0.1, 9).is_err());
        assert!(TimeGrid::chebyshev(5, f64::NAN).is_err());
        assert!(TimeGrid::periodic(0, 1.0).is_err());
    }
}
