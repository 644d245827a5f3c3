//! The longest step that the linear model can be trusted with.

/// A damped step that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    pub lambda: f64,
    /// `|D d|`.
    pub radius: f64,
    /// `|r(theta + d)|^2`.
    pub loss: f64,
    /// Actual over predicted reduction.
    pub rho: f64,
}

/// Where the ratio falls below `target` as the radius grows: the damping there.
///
/// Ratios are clipped to `[-1, 1]` and replaced by their running minimum over the radius, which is interpolated by a
/// monotone cubic in `log radius`; so is `log lambda`. `None` if the ratio is below the target from the first probe on, or
/// never. Sorts the probes by radius.
pub(super) fn crossing(probes: &mut [Probe], target: f64) -> Option<f64> {
    probes.sort_by(|a, b| a.radius.total_cmp(&b.radius));
    let mut least = 1.0f64;
    for probe in &mut *probes {
        least = least.min(if probe.rho.is_nan() { -1.0 } else { probe.rho.max(-1.0) });
        probe.rho = least;
    }
    let below = probes.iter().position(|probe| probe.rho < target).filter(|&i| i > 0)?;
    let x = |i: usize| probes[i].radius.ln();
    let at = |x: &dyn Fn(usize) -> f64, y: &dyn Fn(usize) -> f64, s| cubic(probes.len(), x, y, below - 1, s);
    let (mut from, mut to) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = 0.5 * (from + to);
        if at(&x, &|i| probes[i].rho, middle) < target { to = middle } else { from = middle }
    }
    Some(at(&x, &|i| probes[i].lambda.ln(), from).exp())
}

/// Monotone cubic interpolation between the points `i` and `i + 1` of `n`, at the fraction `s` of the interval.
///
/// Fritsch & Butland, *SIAM J. Sci. Stat. Comput.* 5, 300 (1984): slopes are weighted harmonic means of those of the secants,
/// or zero where these differ in sign; at the ends, the secant's.
fn cubic(n: usize, x: &dyn Fn(usize) -> f64, y: &dyn Fn(usize) -> f64, i: usize, s: f64) -> f64 {
    let secant = |i: usize| {
        let h = x(i + 1) - x(i);
        (h, if h > 0.0 { (y(i + 1) - y(i)) / h } else { 0.0 })
    };
    let slope = |i: usize| {
        if i == 0 || i + 1 == n {
            return secant(i.min(n - 2)).1;
        }
        let ((h0, d0), (h1, d1)) = (secant(i - 1), secant(i));
        if d0 * d1 <= 0.0 {
            return 0.0;
        }
        let (w0, w1) = (h0 + 2.0 * h1, 2.0 * h0 + h1);
        (w0 + w1) / (w0 / d0 + w1 / d1)
    };
    let (h, d) = secant(i);
    let (a, b) = (slope(i) * h, slope(i + 1) * h);
    // Hermite's cubic: y_i + s (a + s (3 d h - 2 a - b + s (a + b - 2 d h))).
    y(i) + s * (a + s * (3.0 * d * h - 2.0 * a - b + s * (a + b - 2.0 * d * h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes of a known ratio over the radius, with `lambda = radius^-2`.
    fn probes(radii: &[f64], rho: impl Fn(f64) -> f64) -> Vec<Probe> {
        radii.iter().map(|&radius| Probe { lambda: radius.powi(-2), radius, loss: 0.0, rho: rho(radius) }).collect()
    }

    #[test]
    fn crossing_is_exact_where_the_ratio_is_linear_in_the_logarithm() {
        let mut probes = probes(&[4.0, 1.0, 2.0, 8.0], |radius| 1.0 - 0.3 * radius.ln());
        let exact = (0.5f64 / 0.3).exp().powi(-2);
        // Forty bisections of an interval of length ln 2.
        assert!((crossing(&mut probes, 0.5).unwrap() / exact - 1.0).abs() < 1e-10);
    }

    #[test]
    fn a_ratio_that_recovers_further_out_is_not_trusted() {
        let mut probes = probes(&[1.0, 2.0, 3.0, 4.0], |radius| if radius == 2.0 { -3.0 } else { 0.9 });
        let radius = crossing(&mut probes, 0.1).unwrap().powf(-0.5);
        assert!(radius > 1.0 && radius < 2.0, "{radius}");
    }

    #[test]
    fn ratios_on_one_side_of_the_target_have_no_crossing() {
        assert_eq!(crossing(&mut probes(&[1.0, 2.0], |_| 0.9), 0.5), None);
        assert_eq!(crossing(&mut probes(&[1.0, 2.0], |_| f64::NAN), 0.5), None);
        assert_eq!(crossing(&mut [], 0.5), None);
    }

    #[test]
    fn cubic_is_monotone_and_passes_through_its_points() {
        let (x, y) = ([0.0, 1.0, 1.5, 4.0], [3.0, 2.9, 0.1, 0.0]);
        let mut last = 3.0;
        for step in 0..=300 {
            let (i, s) = ((step / 100).min(2), if step == 300 { 1.0 } else { (step % 100) as f64 / 100.0 });
            let value = cubic(4, &|i| x[i], &|i| y[i], i, s);
            assert!(value <= last + 1e-15);
            assert!(s != 0.0 || value == y[i]);
            last = value;
        }
        // Cancellation of terms up to 30.
        assert!(last.abs() < 1e-14);
    }
}
