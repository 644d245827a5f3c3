//! Learning rates over the course of a training.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Learning rate as a function of the step; plain data.
///
/// With `warmup_steps = w`, step `s < w` has the first rate of the schedule times `(s + 1) / (w + 1)`, and the schedule
/// begins at step `w` with `total - w` steps left. [`Schedule::OneCycle`] has its own way up.
///
/// # Example
///
/// ```
/// use parseval::optim::Schedule;
/// let schedule: Schedule = toml::from_str("cosine = { lr = 1e-3, warmup_steps = 9 }")?;
/// assert_eq!(schedule.at(0, 100), 1e-4);
/// assert_eq!(schedule.at(9, 100), 1e-3);
/// assert_eq!(schedule.at(100, 100), 0.0);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always `lr`.
    Constant {
        /// The rate.
        lr: f64,
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup_steps: u64,
    },
    /// From `max_lr / div_factor` up to `max_lr`, then down to `max_lr / (div_factor final_div_factor)`, both by half a
    /// cosine: PyTorch's `OneCycleLR(anneal_strategy="cos")` without momentum cycling. The top is at step
    /// `pct_start total - 1`, the bottom at `total - 1`.
    OneCycle {
        /// Largest rate.
        max_lr: f64,
        /// Part of the steps on the way up.
        #[serde(default = "three_tenths")]
        pct_start: f64,
        /// Largest rate over first.
        #[serde(default = "twenty_five")]
        div_factor: f64,
        /// First rate over last.
        #[serde(default = "ten_thousand")]
        final_div_factor: f64,
    },
    /// From `lr` to `min_lr` by half a cosine, `min_lr + (lr - min_lr) (1 + cos(pi s / total)) / 2`: PyTorch's
    /// `CosineAnnealingLR` with `T_max = total`, which reaches `min_lr` just after the last step.
    Cosine {
        /// First rate.
        lr: f64,
        /// Rate at the end.
        #[serde(default)]
        min_lr: f64,
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup_steps: u64,
    },
    /// `lr rate^(s / every)`, with the exponent rounded down if `staircase`.
    Exponential {
        /// First rate.
        lr: f64,
        /// Factor over `every` steps, in `(0, 1]`.
        rate: f64,
        /// Steps of one factor.
        every: u64,
        /// Whether the rate jumps once in `every` steps instead of falling at each.
        #[serde(default)]
        staircase: bool,
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup_steps: u64,
    },
    /// Halved once in `every` steps.
    Halving {
        /// First rate.
        lr: f64,
        /// Steps between halvings.
        every: u64,
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup_steps: u64,
    },
}

fn three_tenths() -> f64 {
    0.3
}

fn twenty_five() -> f64 {
    25.0
}

fn ten_thousand() -> f64 {
    1e4
}

impl Schedule {
    /// The rate of step `step = 0, 1, ..` of `total`; from `total` on that of the end.
    pub fn at(&self, step: u64, total: u64) -> f64 {
        let warmup = self.warmup_steps();
        if step < warmup {
            return self.after_warmup(0, total.saturating_sub(warmup)) * (step + 1) as f64 / (warmup + 1) as f64;
        }
        self.after_warmup(step - warmup, total.saturating_sub(warmup))
    }

    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a rate is negative, a factor or `every` not positive, or a fraction outside its range.
    pub fn validate(&self) -> Result<()> {
        let rate = |name: &str, x: f64| {
            if x >= 0.0 && x.is_finite() { Ok(()) } else { Err(Error::parameter(name, x, "must be >= 0")) }
        };
        let positive = |name: &str, x: f64| {
            if x > 0.0 && x.is_finite() { Ok(()) } else { Err(Error::parameter(name, x, "must be > 0")) }
        };
        match *self {
            Self::Constant { lr, .. } => rate("lr", lr),
            Self::OneCycle { max_lr, pct_start, div_factor, final_div_factor } => {
                rate("max_lr", max_lr)?;
                positive("div_factor", div_factor)?;
                positive("final_div_factor", final_div_factor)?;
                if !(0.0..=1.0).contains(&pct_start) {
                    return Err(Error::parameter("pct_start", pct_start, "must be in [0, 1]"));
                }
                Ok(())
            }
            Self::Cosine { lr, min_lr, .. } => {
                rate("lr", lr)?;
                rate("min_lr", min_lr)
            }
            Self::Exponential { lr, rate: factor, every, .. } => {
                rate("lr", lr)?;
                positive("every", every as f64)?;
                if factor > 0.0 && factor <= 1.0 {
                    Ok(())
                } else {
                    Err(Error::parameter("rate", factor, "must be in (0, 1]"))
                }
            }
            Self::Halving { lr, every, .. } => {
                rate("lr", lr)?;
                positive("every", every as f64)
            }
        }
    }

    fn warmup_steps(&self) -> u64 {
        match *self {
            Self::OneCycle { .. } => 0,
            Self::Constant { warmup_steps, .. }
            | Self::Cosine { warmup_steps, .. }
            | Self::Exponential { warmup_steps, .. }
            | Self::Halving { warmup_steps, .. } => warmup_steps,
        }
    }

    fn after_warmup(&self, step: u64, total: u64) -> f64 {
        let s = step.min(total) as f64;
        match *self {
            Self::Constant { lr, .. } => lr,
            Self::OneCycle { max_lr, pct_start, div_factor, final_div_factor } => {
                let first = max_lr / div_factor;
                let (top, bottom) = (pct_start * total as f64 - 1.0, total as f64 - 1.0);
                if s < top {
                    half_cosine(first, max_lr, s / top)
                } else {
                    half_cosine(max_lr, first / final_div_factor, (s - top) / (bottom - top))
                }
            }
            Self::Cosine { lr, min_lr, .. } => half_cosine(lr, min_lr, s / total as f64),
            Self::Exponential { lr, rate, every, staircase, .. } => {
                let exponent = step as f64 / every as f64;
                lr * rate.powf(if staircase { exponent.floor() } else { exponent })
            }
            Self::Halving { lr, every, .. } => lr * 0.5f64.powf((step / every) as f64),
        }
    }
}

/// From `start` at 0 to `end` at 1; a fraction beyond, or of an empty interval (NaN), counts as 1.
fn half_cosine(start: f64, end: f64, fraction: f64) -> f64 {
    let weight = 0.5 * (1.0 + (PI * fraction.min(1.0)).cos());
    weight * start + (1.0 - weight) * end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        // A few roundings, and cos(pi) to round-off of its argument.
        (a - b).abs() <= 1e-14 * a.abs().max(b.abs())
    }

    #[test]
    fn one_cycle_has_the_numbers_of_pytorch() {
        // The published FNO setting: max 1e-2, first max / 1e3, last first / 1e4.
        let cycle = Schedule::OneCycle { max_lr: 1e-2, pct_start: 0.3, div_factor: 1e3, final_div_factor: 1e4 };
        // Phases of OneCycleLR(total_steps=100): [0, 29] and [29, 99].
        assert!(close(cycle.at(0, 100), 1e-5));
        assert!(close(cycle.at(29, 100), 1e-2));
        assert!(close(cycle.at(99, 100), 1e-9));
        // On the way up, a seventh of the way down, and half of it.
        let quarter = |start: f64, end: f64, p: f64| end + (start - end) / 2.0 * (1.0 + (PI * p).cos());
        assert!(close(cycle.at(10, 100), quarter(1e-5, 1e-2, 10.0 / 29.0)));
        assert!(close(cycle.at(39, 100), quarter(1e-2, 1e-9, 1.0 / 7.0)));
        assert!(close(cycle.at(64, 100), (1e-2 + 1e-9) / 2.0));
        // The top lies between steps if pct_start total is no integer: 0.3 * 55 - 1 = 15.5.
        assert!(close(cycle.at(15, 55), quarter(1e-5, 1e-2, 15.0 / 15.5)));
        assert!(close(cycle.at(16, 55), quarter(1e-2, 1e-9, 0.5 / 38.5)));
        assert_eq!(cycle.at(500, 100), cycle.at(99, 100));
        let defaults: Schedule = toml::from_str("one_cycle = { max_lr = 1.0 }").unwrap();
        assert!(close(defaults.at(0, 1000), 0.04) && close(defaults.at(999, 1000), 4e-6));
    }

    #[test]
    fn short_one_cycles_are_finite() {
        let cycle = Schedule::OneCycle { max_lr: 1.0, pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        for total in 0..8 {
            for step in 0..=total {
                let lr = cycle.at(step, total);
                assert!(lr > 0.0 && lr <= 1.0, "{step} of {total}: {lr}");
            }
        }
    }

    #[test]
    fn end_points_are_known() {
        let cosine = Schedule::Cosine { lr: 2e-3, min_lr: 1e-5, warmup_steps: 0 };
        assert!(close(cosine.at(0, 50), 2e-3) && close(cosine.at(25, 50), 1.005e-3) && close(cosine.at(50, 50), 1e-5));
        let smooth = Schedule::Exponential { lr: 1.0, rate: 0.9, every: 5000, staircase: false, warmup_steps: 0 };
        assert!(close(smooth.at(2500, 0), 0.9f64.sqrt()) && close(smooth.at(10_000, 0), 0.81));
        let stairs = Schedule::Exponential { lr: 1.0, rate: 0.9, every: 10, staircase: true, warmup_steps: 0 };
        assert_eq!([stairs.at(9, 0), stairs.at(10, 0), stairs.at(19, 0)], [1.0, 0.9, 0.9]);
        let halving = Schedule::Halving { lr: 1.0, every: 100, warmup_steps: 0 };
        assert_eq!([halving.at(99, 500), halving.at(100, 500), halving.at(499, 500)], [1.0, 0.5, 0.0625]);
        assert_eq!(Schedule::Constant { lr: 3.0, warmup_steps: 0 }.at(7, 8), 3.0);
    }

    #[test]
    fn warm_up_is_linear_and_joins_the_schedule() {
        for schedule in [
            Schedule::Constant { lr: 1.0, warmup_steps: 20 },
            Schedule::Cosine { lr: 1.0, min_lr: 0.0, warmup_steps: 20 },
            Schedule::Exponential { lr: 1.0, rate: 0.5, every: 50, staircase: false, warmup_steps: 20 },
            Schedule::Halving { lr: 1.0, every: 1000, warmup_steps: 20 },
        ] {
            for step in 0..=20 {
                assert!(close(schedule.at(step, 200), (step + 1) as f64 / 21.0), "{schedule:?} {step}");
            }
            // No jump anywhere: the steepest is the warm-up itself.
            for step in 0..200 {
                assert!(
                    (schedule.at(step + 1, 200) - schedule.at(step, 200)).abs() < 1.0 / 20.9,
                    "{schedule:?} {step}"
                );
            }
        }
        assert_eq!(Schedule::Cosine { lr: 1.0, min_lr: 0.0, warmup_steps: 20 }.at(200, 200), 0.0);
    }

    #[test]
    fn one_cycle_is_continuous() {
        let cycle = Schedule::OneCycle { max_lr: 1.0, pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        for step in 0..999 {
            // Steepest slope of half a cosine over 299 steps.
            assert!((cycle.at(step + 1, 1000) - cycle.at(step, 1000)).abs() < PI / 2.0 / 298.0);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "cosine = { lr = -1.0 }",
            "exponential = { lr = 1.0, rate = 1.5, every = 10 }",
            "halving = { lr = 1.0, every = 0 }",
            "one_cycle = { max_lr = 1.0, pct_start = 2.0 }",
        ] {
            assert!(toml::from_str::<Schedule>(text).unwrap().validate().is_err(), "{text}");
        }
        assert!(toml::from_str::<Schedule>("constant = { lr = 1.0, rate = 0.5 }").is_err());
        let schedule = Schedule::Halving { lr: 1e-3, every: 100, warmup_steps: 5 };
        assert!(schedule.validate().is_ok());
        assert_eq!(toml::from_str::<Schedule>(&toml::to_string(&schedule).unwrap()).unwrap(), schedule);
    }
}
