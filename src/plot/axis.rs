//! An axis: its label, unit, scale, limits, and where its ticks go.

use std::f64::consts::PI;

use super::colour::widen;
use super::text::{fixed, power_of_ten};
use crate::error::{Error, Result};

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; values that are not positive have no place and are left out.
    Log,
}

impl Scale {
    /// The coordinate in which the axis is even.
    pub(super) fn coordinate(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// Whether `value` has a place on the axis.
    pub(super) fn holds(self, value: f64) -> bool {
        value.is_finite() && (self == Self::Linear || value > 0.0)
    }
}

/// Label, unit, scale and limits of an axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// Name of the quantity.
    pub label: String,
    /// Unit, written in parentheses behind the label; empty for none.
    pub unit: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// Ends; from the data if absent.
    pub limits: Option<[f64; 2]>,
}

impl Axis {
    /// A linear axis without unit whose limits follow the data.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// With a unit.
    pub fn unit(self, unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), ..self }
    }

    /// With a logarithmic scale.
    pub fn log(self) -> Self {
        Self { scale: Scale::Log, ..self }
    }

    /// With fixed ends.
    pub fn limits(self, lo: f64, hi: f64) -> Self {
        Self { limits: Some([lo, hi]), ..self }
    }

    /// `label (unit)`.
    pub(super) fn text(&self) -> String {
        match (self.label.as_str(), self.unit.as_str()) {
            (label, "") => label.to_string(),
            ("", unit) => format!("({unit})"),
            (label, unit) => format!("{label} ({unit})"),
        }
    }

    /// The given limits, or those of `values` with a margin of `margin` times their extent at either end.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if given limits are not finite and ascending, or not positive on a logarithmic axis.
    pub(super) fn resolve(&self, name: &str, values: impl Iterator<Item = f64>, margin: f64) -> Result<[f64; 2]> {
        if let Some([lo, hi]) = self.limits {
            let ok = self.scale.holds(lo) && self.scale.holds(hi) && lo < hi;
            let rule = "must be finite and ascending, and positive on a logarithmic axis";
            return if ok { Ok([lo, hi]) } else { Err(Error::parameter(name, format!("[{lo}, {hi}]"), rule)) };
        }
        let coordinates = values.filter(|&v| self.scale.holds(v)).map(|v| self.scale.coordinate(v));
        let [lo, hi] = coordinates.fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], v| [lo.min(v), hi.max(v)]);
        let [lo, hi] = if lo > hi { [0.0, 1.0] } else { widen(lo, hi) };
        let pad = margin * (hi - lo);
        Ok(match self.scale {
            Scale::Linear => [lo - pad, hi + pad],
            // Kept inside the range of a double.
            Scale::Log => [(lo - pad).max(-307.0), (hi + pad).min(308.0)].map(|e| 10f64.powf(e)),
        })
    }
}

/// Where an axis is marked.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Ticks {
    /// Labelled positions.
    pub major: Vec<(f64, String)>,
    /// Positions without label.
    pub minor: Vec<f64>,
    /// What the labels leave out, e.g. `×10⁻³`; empty for nothing.
    pub factor: String,
}

/// Ticks of `[lo, hi]` on an axis `length` long; `extent` is the room that a label takes along it, with its gap.
pub(super) fn ticks(scale: Scale, [lo, hi]: [f64; 2], length: f64, extent: &dyn Fn(&str) -> f64) -> Ticks {
    let fits = |labels: &[(f64, String)]| {
        let per_unit = length / (scale.coordinate(hi) - scale.coordinate(lo));
        labels.windows(2).all(|w| {
            let distance = (scale.coordinate(w[1].0) - scale.coordinate(w[0].0)) * per_unit;
            distance >= 0.5 * (extent(&w[0].1) + extent(&w[1].1))
        })
    };
    match scale {
        Scale::Linear => linear(lo, hi, &fits),
        Scale::Log => log(lo, hi, &fits),
    }
}

type Fits<'a> = &'a dyn Fn(&[(f64, String)]) -> bool;

/// Multiples of 1, 2, 2.5 or 5 times a power of ten: the densest of at most seven whose labels fit.
fn linear(lo: f64, hi: f64, fits: Fits) -> Ticks {
    let multiple_of_pi = |v: f64| v == 0.0 || (v.abs() > 1.0 && (v / PI - (v / PI).round()).abs() < 1e-9);
    if multiple_of_pi(lo) && multiple_of_pi(hi) && lo.abs().max(hi.abs()) < 1e3 * PI {
        return in_units_of_pi((lo / PI).round(), (hi / PI).round(), fits);
    }
    let span = hi - lo;
    let largest = lo.abs().max(hi.abs());
    // A common offset when the digits that vary lie behind three or more that do not.
    let place = span.log10().ceil() as i32;
    let quantum = 10f64.powi(place);
    let offset = if span < 2e-3 * largest { (0.5 * (lo + hi) / quantum).round() * quantum } else { 0.0 };
    let reach = (lo - offset).abs().max((hi - offset).abs());
    let exponent = reach.log10().floor() as i32;
    let exponent = if (-2..4).contains(&exponent) { 0 } else { exponent };
    let unit = 10f64.powi(exponent);
    let mut factor = if exponent == 0 { String::new() } else { format!("×{}", power_of_ten(exponent)) };
    if offset != 0.0 {
        let sign = if offset < 0.0 { "−" } else { "+" };
        let text = offset_text(offset.abs(), place);
        factor = format!("{factor}{}{sign}{text}", if factor.is_empty() { "" } else { " " });
    }
    let major = candidates(lo - offset, hi - offset)
        .map(|(step, values)| {
            let relative = step / unit;
            let decimals = (0..17).find(|&d| {
                let scaled = relative * 10f64.powi(d);
                (scaled - scaled.round()).abs() < 1e-6 * scaled
            });
            let decimals = decimals.unwrap_or(0) as usize;
            values.map(|v| (v + offset, fixed(v / unit, decimals))).collect::<Vec<_>>()
        })
        .find(|labels| labels.len() <= 7 && fits(labels))
        .unwrap_or_default();
    Ticks { major, minor: Vec::new(), factor }
}

/// `offset`, a multiple of 10ᵖˡᵃᶜᵉ, without trailing zeros; `2×10⁻⁹` if it is very large or small.
fn offset_text(offset: f64, place: i32) -> String {
    let exponent = offset.log10().floor() as i32;
    let (scaled, suffix) = if (-3..5).contains(&exponent) {
        (offset, String::new())
    } else {
        (offset / 10f64.powi(exponent), format!("×{}", power_of_ten(exponent)))
    };
    let decimals = if suffix.is_empty() { -place } else { exponent - place };
    let digits = fixed(scaled, decimals.max(0) as usize);
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{suffix}")
}

/// Steps from fine to coarse with their multiples inside `[lo, hi]`, until none is left.
fn candidates(lo: f64, hi: f64) -> impl Iterator<Item = (f64, impl Iterator<Item = f64>)> {
    let span = hi - lo;
    let first = (span / 10.0).log10().floor() as i32;
    let steps = (first..first + 4).flat_map(|e| [1.0, 2.0, 2.5, 5.0].map(|m| m * 10f64.powi(e)));
    steps.skip_while(move |step| span / step > 10.0).map(move |step| {
        // Ends that miss a multiple by rounding still count.
        let from = (lo / step - 1e-9 * span / step).ceil() as i64;
        let to = (hi / step + 1e-9 * span / step).floor() as i64;
        (step, (from..=to).map(move |j| j as f64 * step))
    })
}

/// Ticks of `[lo π, hi π]`.
fn in_units_of_pi(lo: f64, hi: f64, fits: Fits) -> Ticks {
    let label = |v: f64| match v {
        0.0 => "0".into(),
        1.0 => "π".into(),
        -1.0 => "−π".into(),
        _ if v == v.round() => format!("{}π", fixed(v, 0)),
        _ => format!("{}π", fixed(v, 1)),
    };
    let major = [0.5, 1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 32.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        .iter()
        .map(|&step| {
            let (from, to) = ((lo / step).ceil() as i64, (hi / step).floor() as i64);
            (from..=to).map(|j| (j as f64 * step * PI, label(j as f64 * step))).collect::<Vec<_>>()
        })
        .find(|labels| labels.len() <= 6 && fits(labels))
        .unwrap_or_default();
    Ticks { major, ..Ticks::default() }
}

/// Powers of ten, with the multiples 2 to 9 as minor ticks; on short axes 1, 2, 5 or every multiple is labelled.
fn log(lo: f64, hi: f64, fits: Fits) -> Ticks {
    let inside = |v: f64| v >= lo * (1.0 - 1e-9) && v <= hi * (1.0 + 1e-9);
    let (first, last) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let multiples = |set: &[i32]| -> Vec<(f64, i32, i32)> {
        let all = (first..=last).flat_map(|e| set.iter().map(move |&m| (f64::from(m) * 10f64.powi(e), m, e)));
        all.filter(|&(v, ..)| inside(v)).collect()
    };
    let decades = multiples(&[1]);
    let minor = |except: &[(f64, String)], set: &[i32]| -> Vec<f64> {
        let values = multiples(set).into_iter().map(|(v, ..)| v);
        values.filter(|v| !except.iter().any(|(m, _)| (m - v).abs() < 1e-9 * v)).collect()
    };
    if decades.len() >= 2 {
        for stride in 1.. {
            let chosen = decades.iter().filter(|(_, _, e)| e.rem_euclid(stride) == 0);
            let major: Vec<_> = chosen.map(|&(v, _, e)| (v, power_of_ten(e))).collect();
            if major.len() <= 8 && fits(&major) {
                let set: &[i32] = if stride == 1 { &[2, 3, 4, 5, 6, 7, 8, 9] } else { &[1] };
                let minor = minor(&major, set);
                return Ticks { major, minor, factor: String::new() };
            }
        }
    }
    // Less than two decades: small multiples, written out.
    let write = |m: i32, e: i32| {
        if (-2..4).contains(&e) {
            fixed(f64::from(m) * 10f64.powi(e), (-e).max(0) as usize)
        } else if m == 1 {
            power_of_ten(e)
        } else {
            format!("{m}×{}", power_of_ten(e))
        }
    };
    let sets: [&[i32]; 4] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 3, 5], &[1, 2, 5], &[1, 3]];
    let labelled = sets.iter().map(|set| {
        let values = multiples(set).into_iter();
        values.map(|(v, m, e)| (v, write(m, e))).collect::<Vec<_>>()
    });
    match labelled.into_iter().find(|major| (2..=6).contains(&major.len()) && fits(major)) {
        Some(major) => {
            let minor = minor(&major, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            Ticks { major, minor, factor: String::new() }
        }
        // Not even two multiples of a power of ten: the axis is as good as linear.
        None => linear(lo, hi, fits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, limits: [f64; 2], length: f64) -> (Vec<String>, String) {
        let t = ticks(scale, limits, length, &|s| 6.0 * s.chars().count() as f64 + 4.0);
        (t.major.into_iter().map(|(_, s)| s).collect(), t.factor)
    }

    #[test]
    fn linear_ticks_are_round_numbers() {
        assert_eq!(labels(Scale::Linear, [0.0, 1.0], 200.0).0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::Linear, [-7.0, 7.0], 200.0).0, ["−6", "−4", "−2", "0", "2", "4", "6"]);
        assert_eq!(labels(Scale::Linear, [0.0, 100.0], 100.0).0, ["0", "20", "40", "60", "80", "100"]);
    }

    #[test]
    fn large_and_small_ranges_share_a_factor() {
        let (l, factor) = labels(Scale::Linear, [0.0, 4e-5], 200.0);
        assert_eq!((l[0].as_str(), l.last().unwrap().as_str(), factor.as_str()), ("0", "4", "×10⁻⁵"));
        assert_eq!(labels(Scale::Linear, [0.0, 2e6], 200.0).1, "×10⁶");
        let (l, factor) = labels(Scale::Linear, [1000.001, 1000.003], 300.0);
        assert_eq!(factor, "×10⁻³ +1000");
        assert_eq!((l[0].as_str(), l.last().unwrap().as_str()), ("1.0", "3.0"));
        assert_eq!(labels(Scale::Linear, [2e7, 2.0009e7], 300.0).1, "+2×10⁷");
        assert_eq!(labels(Scale::Linear, [99999.0, 100001.0], 300.0).1, "+1×10⁵");
    }

    #[test]
    fn an_offset_does_not_change_the_number_of_ticks() {
        let plain = ticks(Scale::Linear, [-0.9999, 0.9999], 45.0, &|_| 10.5);
        let shifted = ticks(Scale::Linear, [99999.0001, 100000.9999], 45.0, &|_| 10.5);
        let text = |t: &Ticks| t.major.iter().map(|(_, s)| s.clone()).collect::<Vec<_>>();
        assert_eq!(text(&plain), ["−0.5", "0.0", "0.5"]);
        assert_eq!(text(&plain), text(&shifted));
    }

    #[test]
    fn multiples_of_pi_are_written_as_such() {
        assert_eq!(labels(Scale::Linear, [0.0, 2.0 * PI], 120.0).0, ["0", "0.5π", "π", "1.5π", "2π"]);
        assert_eq!(labels(Scale::Linear, [0.0, 32.0 * PI], 120.0).0, ["0", "8π", "16π", "24π", "32π"]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten_with_minor_multiples() {
        let t = ticks(Scale::Log, [1.0, 1e3], 200.0, &|_| 20.0);
        let text: Vec<_> = t.major.iter().map(|(_, s)| s.as_str()).collect();
        assert_eq!(text, ["10⁰", "10¹", "10²", "10³"]);
        assert_eq!(t.minor.len(), 24);
    }

    #[test]
    fn crowded_decades_are_thinned_out() {
        let t = ticks(Scale::Log, [1e-16, 1e4], 200.0, &|_| 25.0);
        assert!(t.major.len() <= 8 && t.major.len() >= 4, "{t:?}");
        let steps: Vec<f64> = t.major.windows(2).map(|w| (w[1].0 / w[0].0).log10()).collect();
        assert!(steps.iter().all(|s| (s - steps[0]).abs() < 1e-9));
    }

    #[test]
    fn short_log_axes_still_have_two_labels() {
        for limits in [[1.2, 8.0], [0.3, 0.36], [4e-7, 3e-6], [9.0, 11.0], [1e-3, 9e-3]] {
            let (l, _) = labels(Scale::Log, limits, 200.0);
            assert!(l.len() >= 2, "{limits:?} {l:?}");
        }
    }

    #[test]
    fn labels_never_overlap_and_ticks_stay_inside() {
        for j in 0..400 {
            let span = 10f64.powf(f64::from(j % 40) - 20.0);
            let lo = span * (f64::from(j) * 0.37).sin() * f64::from(j % 7);
            let length = 40.0 + f64::from(j);
            let extent = |s: &str| 5.0 * s.chars().count() as f64 + 4.0;
            let t = ticks(Scale::Linear, [lo, lo + span], length, &extent);
            assert!(!t.major.is_empty(), "{lo} {span}");
            for (v, _) in &t.major {
                assert!((v - lo) / span > -1e-6 && (v - lo) / span < 1.0 + 1e-6);
            }
            for w in t.major.windows(2) {
                assert!((w[1].0 - w[0].0) / span * length >= 0.5 * (extent(&w[0].1) + extent(&w[1].1)));
            }
        }
    }

    #[test]
    fn bad_limits_are_refused() {
        assert!(Axis::new("x").limits(1.0, 1.0).resolve("x", std::iter::empty(), 0.0).is_err());
        assert!(Axis::new("x").log().limits(0.0, 1.0).resolve("x", std::iter::empty(), 0.0).is_err());
        assert!(Axis::new("x").limits(f64::NAN, 1.0).resolve("x", std::iter::empty(), 0.0).is_err());
    }
}
