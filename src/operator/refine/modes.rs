//! Diagonal operations on spectra as the stepper stores them.

use num_complex::Complex64;

use crate::spectral::layout::Layout;

/// One value for the real and one for the imaginary part of every stored coefficient of a sample, zero in dead lanes.
pub(super) fn table(layout: &Layout, f: impl Fn(usize, [f64; 3]) -> Complex64) -> Vec<f64> {
    let mut table = vec![0.0; layout.sample_len()];
    for (channel, table) in table.chunks_exact_mut(layout.channel_len()).enumerate() {
        layout.for_each_mode(|offset, m| {
            let value = f(channel, layout.wavenumber(m));
            (table[offset], table[offset + layout.width]) = (value.re, value.im);
        });
    }
    table
}

/// Multiplicity of every stored real in the full spectrum: a mode of last index zero is its own mirror's twin, which is
/// stored too; all others stand for two.
pub(super) fn multiplicity(layout: &Layout) -> Vec<f64> {
    let unit = layout.grid.k_unit(layout.outer_axes());
    table(layout, |_, k| {
        let weight = if k[layout.outer_axes()] < 0.5 * unit { 1.0 } else { 2.0 };
        Complex64::new(weight, weight)
    })
}

/// Quadratic form `sum_k (alpha + |k|^2)^s |u_hat_k|^2` of a sample, over the full spectrum.
#[derive(Clone)]
pub(super) struct Norm {
    /// Of every stored real, multiplicity included.
    pub weights: Vec<f64>,
}

impl Norm {
    /// The mean square.
    pub fn l2(layout: &Layout) -> Self {
        Self { weights: multiplicity(layout) }
    }

    /// The squared Sobolev norm of order `s`; a mean without finite weight has none.
    pub fn sobolev(layout: &Layout, alpha: f64, s: f64) -> Self {
        let weight = |_: usize, k: [f64; 3]| {
            let weight = (alpha + k.iter().map(|k| k * k).sum::<f64>()).powf(s);
            if weight.is_finite() { Complex64::new(weight, weight) } else { Complex64::ZERO }
        };
        let weights = table(layout, weight).into_iter().zip(multiplicity(layout)).map(|(w, m)| w * m).collect();
        Self { weights }
    }

    /// The form at a sample.
    pub fn squared(&self, u: &[f64]) -> f64 {
        self.weights.iter().zip(u).map(|(w, u)| w * u * u).sum()
    }

    /// `|u - v|` relative to `|v|`; not a number if both vanish.
    pub fn relative(&self, u: &[f64], v: &[f64]) -> f64 {
        let difference: f64 = self.weights.iter().zip(u.iter().zip(v)).map(|(w, (u, v))| w * (u - v) * (u - v)).sum();
        (difference / self.squared(v)).sqrt()
    }
}

/// `out += symbol x` mode by mode, or with the symbol's conjugate; all in the layout of a sample of this vector width.
pub(super) fn add_product(width: usize, symbol: &[f64], x: &[f64], conjugate: bool, out: &mut [f64]) {
    let sign = if conjugate { -1.0 } else { 1.0 };
    let groups = symbol.chunks_exact(2 * width).zip(x.chunks_exact(2 * width));
    for (out, (symbol, x)) in out.chunks_exact_mut(2 * width).zip(groups) {
        let ((s_re, s_im), (x_re, x_im)) = (symbol.split_at(width), x.split_at(width));
        let (out_re, out_im) = out.split_at_mut(width);
        for lane in 0..width {
            let im = sign * s_im[lane];
            out_re[lane] += s_re[lane] * x_re[lane] - im * x_im[lane];
            out_im[lane] += s_re[lane] * x_im[lane] + im * x_re[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Grid;
    use crate::operator::refine::testing::noise;
    use crate::pde::NavierStokes2d;
    use crate::spectral::{Sobolev, SobolevKind};
    use crate::stepper::{Options, Scheme, Stepper};

    #[test]
    fn norms_of_stored_spectra_are_those_of_the_fields() {
        let grid = Grid::new(&[24, 32], &[2.0, 3.0]).unwrap();
        let pde = NavierStokes2d::decaying(1e-3);
        let stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::CnAb2, 1.0, &Options::default()).unwrap();
        let state = stepper.load(noise(grid.shape(), 1).view()).unwrap();
        let field = stepper.store(&state);
        for s in [-1.0, 0.0, 0.5] {
            let expected = Sobolev::plan(&grid, s, SobolevKind::Inhomogeneous).unwrap().norm(field.view()).powi(2);
            let norm = Norm::sobolev(stepper.layout(), 1.0, s).squared(state.as_slice());
            assert!((norm * grid.volume() / expected - 1.0).abs() < 1e-13, "order {s}");
        }
        let l2 = Norm::l2(stepper.layout());
        assert!((l2.squared(state.as_slice()) / stepper.inner(&state, &state) - 1.0).abs() < 1e-13);
        let scaled: Vec<f64> = state.as_slice().iter().map(|u| 1.25 * u).collect();
        assert!((l2.relative(&scaled, state.as_slice()) - 0.25).abs() < 1e-14);
    }

    #[test]
    fn norm_of_one_mode_is_known() {
        // |cos(k x)| = 1 / sqrt 2, k = 2 pi 3, on the unit square.
        let grid = Grid::cube(2, 16, 1.0).unwrap();
        let pde = NavierStokes2d::decaying(1e-3);
        let stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::CnAb2, 1.0, &Options::default()).unwrap();
        let k = 3.0 * std::f64::consts::TAU;
        let field = ndarray::ArrayD::from_shape_fn(grid.shape(), |i| (k * i[0] as f64 / 16.0).cos());
        let state = stepper.load(field.view()).unwrap();
        for (alpha, s) in [(1.0, -1.0), (0.1, 1.0), (0.03, -0.5)] {
            let norm = Norm::sobolev(stepper.layout(), alpha, s).squared(state.as_slice()).sqrt();
            let expected = (alpha + k * k).powf(0.5 * s) / 2f64.sqrt();
            assert!((norm / expected - 1.0).abs() < 1e-12);
        }
    }
}
