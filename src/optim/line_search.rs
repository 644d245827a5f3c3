//! Line search for the strong Wolfe conditions.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Constants of the line search along `phi(alpha) = f(theta + alpha p)`:
///
/// ```text
/// phi(alpha) <= phi(0) + c1 alpha phi'(0),        |phi'(alpha)| <= c2 |phi'(0)|.
/// ```
///
/// A bracketing phase lengthens the step, then a zoom phase narrows the bracket by cubic interpolation. A value that is
/// not finite counts as too long a step. Near a minimum the first condition drowns in the rounding of `phi`; if the
/// value has not changed by more than 8 rounding units, the slope decides, `phi'(alpha) <= (2 c1 - 1) phi'(0)`, which is
/// the same condition for a parabola.
///
/// # Source
///
/// Nocedal & Wright, *Numerical Optimization*, 2nd ed. (2006), Algorithms 3.5 and 3.6 and Eq. (3.59). The last condition
/// is the "approximate Wolfe" one of Hager & Zhang, *SIAM J. Optim.* 16 (2005), Eq. (4.1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wolfe {
    /// Part of the predicted decrease that is asked for.
    pub c1: f64,
    /// Part of the slope that may be left.
    pub c2: f64,
    /// Evaluations in one search.
    pub max_evaluations: usize,
}

impl Default for Wolfe {
    /// `c1 = 1e-4`, `c2 = 0.9`, 25 evaluations.
    fn default() -> Self {
        Self { c1: 1e-4, c2: 0.9, max_evaluations: 25 }
    }
}

impl Wolfe {
    pub(super) fn validate(&self) -> Result<()> {
        if !(self.c1 > 0.0 && self.c1 < 0.5) {
            return Err(Error::parameter("c1", self.c1, "must be in (0, 0.5)"));
        }
        if !(self.c2 > self.c1 && self.c2 < 1.0) {
            return Err(Error::parameter("c2", self.c2, "must be in (c1, 1)"));
        }
        if self.max_evaluations == 0 {
            return Err(Error::parameter("max_evaluations", 0, "must be > 0"));
        }
        Ok(())
    }
}

/// A place on the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub alpha: f64,
    pub value: f64,
    pub slope: f64,
}

impl Point {
    fn is_finite(&self) -> bool {
        self.value.is_finite() && self.slope.is_finite()
    }
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The conditions hold at this point, which was the last to be evaluated.
    Wolfe(Point),
    /// The value decreased enough at this point, but the slope is still too steep.
    Decrease(Point),
    /// No decrease was found.
    Failed,
    /// No trial had a finite value.
    NonFinite,
}

/// Searches from `start` (`alpha = 0`, negative slope) with `first` as first trial and at most `budget` evaluations.
pub(super) fn search(
    wolfe: &Wolfe,
    start: Point,
    first: f64,
    budget: usize,
    mut phi: impl FnMut(f64) -> (f64, f64),
) -> Outcome {
    let rounding = 8.0 * f64::EPSILON * start.value.abs();
    let wanted = |p: &Point| start.value + wolfe.c1 * p.alpha * start.slope;
    let accepts = |p: &Point| {
        p.is_finite()
            && p.slope.abs() <= -wolfe.c2 * start.slope
            && (p.value <= wanted(p)
                || ((p.value - start.value).abs() <= rounding && p.slope <= (2.0 * wolfe.c1 - 1.0) * start.slope))
    };
    // Whether the minimum lies between `low` and `p` by their values; if those are equal, the slope has to tell.
    let is_high = |p: &Point, low: &Point| !p.is_finite() || p.value > wanted(p).min(low.value) + rounding;
    let mut left = budget;
    let mut seen_finite = false;
    let mut evaluate = |alpha: f64| {
        let (value, slope) = phi(alpha);
        let point = Point { alpha, value, slope };
        seen_finite |= point.is_finite();
        left -= 1;
        (point, left == 0)
    };
    let give_up = |low: Point, seen_finite: bool| match (low.alpha > 0.0 && low.value < start.value, seen_finite) {
        (true, _) => Outcome::Decrease(low),
        (false, true) => Outcome::Failed,
        (false, false) => Outcome::NonFinite,
    };

    // Algorithm 3.5: lengthen the step until [low, high] brackets acceptable ones. `low` has the least value so far.
    let (mut low, mut alpha) = (start, first);
    let mut high = loop {
        let (trial, exhausted) = evaluate(alpha);
        if accepts(&trial) {
            return Outcome::Wolfe(trial);
        }
        let too_long = is_high(&trial, &low);
        if exhausted {
            return give_up(if too_long { low } else { trial }, seen_finite);
        }
        if too_long {
            break trial;
        }
        let previous = std::mem::replace(&mut low, trial);
        if trial.slope >= 0.0 {
            break previous;
        }
        alpha = cubic_minimum(previous, trial).unwrap_or(f64::INFINITY).clamp(2.0 * alpha, 10.0 * alpha);
    };

    // Algorithm 3.6: narrow the bracket, in whichever order its ends lie.
    let mut width_before = f64::INFINITY;
    loop {
        let width = high.alpha - low.alpha;
        let alpha = if !high.is_finite() {
            // Down in decades as long as nothing is known, then up by halves.
            low.alpha + if low.alpha > 0.0 { 0.5 } else { 0.1 } * width
        } else if width.abs() > 0.66 * width_before {
            low.alpha + 0.5 * width // interpolation narrows too slowly
        } else {
            let (least, most) = (low.alpha + 0.1 * width, low.alpha + 0.9 * width);
            let cubic = cubic_minimum(low, high).unwrap_or(low.alpha + 0.5 * width);
            cubic.clamp(least.min(most), least.max(most))
        };
        width_before = width.abs();
        if alpha == low.alpha || alpha == high.alpha {
            return give_up(low, seen_finite); // nothing between them
        }
        let (trial, exhausted) = evaluate(alpha);
        if accepts(&trial) {
            return Outcome::Wolfe(trial);
        }
        if is_high(&trial, &low) {
            high = trial;
        } else {
            if trial.slope * (high.alpha - low.alpha) >= 0.0 {
                high = low;
            }
            low = trial;
        }
        if exhausted {
            return give_up(low, seen_finite);
        }
    }
}

/// Minimum of the cubic with the values and slopes of two points, Nocedal & Wright (3.59); `None` if it has none.
fn cubic_minimum(a: Point, b: Point) -> Option<f64> {
    let d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.alpha - b.alpha);
    let d2 = (b.alpha - a.alpha).signum() * (d1 * d1 - a.slope * b.slope).sqrt();
    let alpha = b.alpha - (b.alpha - a.alpha) * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    alpha.is_finite().then_some(alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(phi: &impl Fn(f64) -> (f64, f64)) -> Point {
        let (value, slope) = phi(0.0);
        Point { alpha: 0.0, value, slope }
    }

    type Line = Box<dyn Fn(f64) -> (f64, f64)>;

    /// The lines of More & Thuente, *ACM Trans. Math. Softw.* 20 (1994), Eqs. (5.1) and (5.2), and two more.
    fn lines() -> [(&'static str, Line); 4] {
        [
            ("5.1", Box::new(|a| (-a / (a * a + 2.0), (a * a - 2.0) / (a * a + 2.0).powi(2)))),
            (
                "5.2",
                Box::new(|a: f64| {
                    ((a + 0.004).powi(5) - 2.0 * (a + 0.004).powi(4), (a + 0.004).powi(3) * (5.0 * (a + 0.004) - 8.0))
                }),
            ),
            ("parabola", Box::new(|a| ((a - 3.0) * (a - 3.0), 2.0 * (a - 3.0)))),
            ("logarithm", Box::new(|a: f64| (-(1.0 - a).ln() - 5.0 * a, 1.0 / (1.0 - a) - 5.0))), // NaN beyond 1
        ]
    }

    #[test]
    fn strong_wolfe_conditions_hold_from_any_first_step() {
        for (name, phi) in lines() {
            for c2 in [0.9, 0.1, 1e-3] {
                for first in [1e-3, 1e-1, 10.0, 1e3] {
                    let wolfe = Wolfe { c2, max_evaluations: 60, ..Wolfe::default() };
                    let start = start(&phi);
                    let mut evaluated = (f64::NAN, 0);
                    let outcome = search(&wolfe, start, first, 60, |a| {
                        evaluated = (a, evaluated.1 + 1);
                        phi(a)
                    });
                    let Outcome::Wolfe(p) = outcome else { panic!("{name} from {first}: {outcome:?}") };
                    assert_eq!(p.alpha, evaluated.0, "the accepted point is the last evaluated");
                    let (value, slope) = phi(p.alpha);
                    assert!(value <= start.value + wolfe.c1 * p.alpha * start.slope, "{name} from {first}");
                    assert!(slope.abs() <= -c2 * start.slope, "{name} from {first}");
                    // More & Thuente need up to 12 at c2 = 0.1 (their Tables I and II). The smallest c2 asks line 5.2 for
                    // its minimum to 1e-11, where the values no longer tell and half of the steps are bisections.
                    let most = if c2 < 0.1 { 30 } else { 15 };
                    assert!(evaluated.1 <= most, "{name} from {first} took {}", evaluated.1);
                }
            }
        }
    }

    #[test]
    fn cubic_is_minimised_exactly() {
        // (alpha - 2)^2 (alpha + 1) has its minimum at 2.
        let phi = |a: f64| ((a - 2.0).powi(2) * (a + 1.0), 2.0 * (a - 2.0) * (a + 1.0) + (a - 2.0).powi(2));
        let at = |alpha| Point { alpha, value: phi(alpha).0, slope: phi(alpha).1 };
        for (a, b) in [(1.0, 3.0), (3.0, 1.0), (1.0, 1.5)] {
            assert!((cubic_minimum(at(a), at(b)).unwrap() - 2.0).abs() < 1e-13);
        }
        // A descending line has none.
        assert_eq!(
            cubic_minimum(
                Point { alpha: 0.0, value: 0.0, slope: -1.0 },
                Point { alpha: 1.0, value: -1.0, slope: -1.0 }
            ),
            None
        );
    }

    #[test]
    fn hopeless_lines_are_told_apart() {
        let wolfe = Wolfe::default();
        let down = Point { alpha: 0.0, value: 0.0, slope: -1.0 };
        assert_eq!(search(&wolfe, down, 1.0, 25, |_| (f64::NAN, 0.0)), Outcome::NonFinite);
        assert_eq!(search(&wolfe, down, 1.0, 25, |a| (a, 1.0)), Outcome::Failed, "the slope at 0 is a lie");
        let unbounded = search(&wolfe, down, 1.0, 4, |a| (-a, -1.0));
        assert!(matches!(unbounded, Outcome::Decrease(p) if p.alpha >= 8.0));
        assert_eq!(search(&wolfe, down, 1.0, 1, |_| (1.0, 0.0)), Outcome::Failed);
    }

    #[test]
    fn constants_outside_their_range_are_refused() {
        for wolfe in [
            Wolfe { c1: 0.0, ..Wolfe::default() },
            Wolfe { c2: 1.0, ..Wolfe::default() },
            Wolfe { c1: 0.4, c2: 0.3, ..Wolfe::default() },
            Wolfe { max_evaluations: 0, ..Wolfe::default() },
        ] {
            assert!(wolfe.validate().is_err());
        }
    }
}
