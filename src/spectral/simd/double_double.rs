//! Reference functions for the tests, in pairs of doubles: about 30 digits, by series that share nothing with the code
//! under test.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// The unevaluated sum of two doubles; Dekker 1971, Hida, Li & Bailey 2001.
#[derive(Clone, Copy, Debug)]
pub struct Dd(pub f64, pub f64);

fn two_sum(a: f64, b: f64) -> Dd {
    let s = a + b;
    let t = s - a;
    Dd(s, (a - (s - t)) + (b - t))
}

fn fast_two_sum(a: f64, b: f64) -> Dd {
    let s = a + b;
    Dd(s, b - (s - a))
}

impl From<f64> for Dd {
    fn from(x: f64) -> Self {
        Dd(x, 0.0)
    }
}

impl Add for Dd {
    type Output = Dd;
    fn add(self, y: Dd) -> Dd {
        let (s, t) = (two_sum(self.0, y.0), two_sum(self.1, y.1));
        let v = fast_two_sum(s.0, s.1 + t.0);
        fast_two_sum(v.0, v.1 + t.1)
    }
}

impl Neg for Dd {
    type Output = Dd;
    fn neg(self) -> Dd {
        Dd(-self.0, -self.1)
    }
}

impl Sub for Dd {
    type Output = Dd;
    fn sub(self, y: Dd) -> Dd {
        self + -y
    }
}

impl Mul for Dd {
    type Output = Dd;
    fn mul(self, y: Dd) -> Dd {
        let p = self.0 * y.0;
        let e = self.0.mul_add(y.0, -p);
        fast_two_sum(p, e + (self.0 * y.1 + self.1 * y.0))
    }
}

impl Div for Dd {
    type Output = Dd;
    fn div(self, y: Dd) -> Dd {
        let q0 = self.0 / y.0;
        let r = self - y * q0.into();
        let q1 = r.0 / y.0;
        let r = r - y * q1.into();
        fast_two_sum(q0, q1) + (r.0 / y.0).into()
    }
}

/// `(m, n)` is `m 2^n`: tails keep their digits below the range of doubles.
pub type Scaled = (Dd, i32);

impl Dd {
    pub const ONE: Dd = Dd(1.0, 0.0);
    pub const LN_2: Dd = Dd(std::f64::consts::LN_2, 2.3190468138462996e-17);
    pub const SQRT_2: Dd = Dd(std::f64::consts::SQRT_2, -9.667293313452913e-17);
    pub const SQRT_PI: Dd = Dd(1.772453850905516, -7.666586499825799e-17);
    /// `pi / 2` to 160 bits.
    const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

    pub fn abs(self) -> Dd {
        if self.0 < 0.0 { -self } else { self }
    }

    /// `self` with the sign of `x`.
    fn signed(self, x: Dd) -> Dd {
        if x.0 < 0.0 { -self } else { self }
    }

    /// `self * 2^n`.
    pub fn times_power(self, n: i32) -> Dd {
        let power = f64::from(n).exp2();
        Dd(self.0 * power, self.1 * power)
    }

    /// `sum_k x^k / k!` over `k = start, start + step, ...`, with alternating signs if `step == 2`.
    fn series(self, start: usize, step: usize) -> Dd {
        let (mut term, mut sum) = (Dd::ONE, Dd(0.0, 0.0));
        for k in 0..40 {
            if k >= start && (k - start).is_multiple_of(step) {
                sum = if (k - start) % 4 == 2 && step == 2 { sum - term } else { sum + term };
            }
            term = term * self / (k as f64 + 1.0).into();
        }
        sum
    }

    pub fn exp(self) -> Scaled {
        let n = (self.0 / Dd::LN_2.0).round();
        ((self - Dd::LN_2 * n.into()).series(0, 1), n as i32)
    }

    pub fn tanh(self) -> Dd {
        let twice = self.abs() + self.abs();
        let value = if twice.0 < 0.5 {
            let e = twice.series(1, 1);
            e / (e + 2.0.into())
        } else {
            let (e, n) = (-twice).exp();
            let e = e.times_power(n);
            (Dd::ONE - e) / (Dd::ONE + e)
        };
        value.signed(self)
    }

    /// Logistic function.
    pub fn sigmoid(self) -> Scaled {
        let (e, n) = (-self.abs()).exp();
        let w = Dd::ONE / (Dd::ONE + e.times_power(n));
        if self.0 < 0.0 { (e * w, n) } else { (w, 0) }
    }

    pub fn sin_cos(self) -> (Dd, Dd) {
        let q = (self.0 / Dd::HALF_PI[0]).round();
        let r = Dd::HALF_PI.into_iter().fold(self, |r, part| r - Dd(part, 0.0) * q.into());
        let (s, c) = (r.series(1, 2), r.series(0, 2));
        match q.rem_euclid(4.0) as i32 {
            0 => (s, c),
            1 => (c, -s),
            2 => (-s, -c),
            _ => (-c, s),
        }
    }

    /// `sum_k x^(2k+1) / (2k+1)!!`.
    fn odd_series(self) -> Dd {
        let (mut term, mut sum) = (self, self);
        for k in 1..100 {
            term = term * self * self / (2.0 * k as f64 + 1.0).into();
            sum = sum + term;
        }
        sum
    }

    /// Mills ratio `(1 - Phi(a)) / phi(a)` for `a >= 0`.
    pub fn mills(self) -> Dd {
        if self.0 < 2.5 {
            let (e, n) = (self * self * 0.5.into()).exp();
            return Dd::SQRT_PI / Dd::SQRT_2 * e.times_power(n) - self.odd_series();
        }
        // Laplace's continued fraction 1/(a + 1/(a + 2/(a + 3/(a + ...)))).
        Dd::ONE / (1..=400).rev().fold(self, |tail, k| self + Dd(k as f64, 0.0) / tail)
    }

    /// Density of the normal distribution.
    pub fn normal_density(self) -> Scaled {
        let (e, n) = (self * self * (-0.5).into()).exp();
        (e / (Dd::SQRT_PI * Dd::SQRT_2), n)
    }

    /// Distribution function of the normal distribution.
    pub fn normal_cdf(self) -> Scaled {
        let (density, n) = self.normal_density();
        let tail = density * self.abs().mills();
        if self.0 < 0.0 { (tail, n) } else { (Dd::ONE - tail.times_power(n), 0) }
    }

    /// Error function.
    pub fn erf(self) -> Dd {
        let a = self.abs() * Dd::SQRT_2;
        let (density, n) = a.normal_density();
        let density = density.times_power(n + 1);
        // Phi(a) - 1/2 = phi(a) (a + a^3/3 + a^5/15 + ...) has no cancellation.
        let value = if a.0 < 2.5 { density * a.odd_series() } else { Dd::ONE - density * a.mills() };
        value.signed(self)
    }
}

#[test]
fn references_agree_with_tables() {
    // mpmath, 40 digits, as sums of two doubles.
    let check = |name: &str, (value, exponent): Scaled, high: f64, low: f64| {
        let difference = ((value.times_power(exponent)) - Dd(high, low)).0.abs();
        assert!(difference < 1e-29 * high.abs(), "{name}: {value:?} {difference:e}");
    };
    check("exp", Dd(-7.3, 0.0).exp(), 0.0006755387751938444, -2.9077504938462766e-20);
    check("exp", Dd(41.7, 0.0).exp(), 1.2884865674535201e+18, 15.175088612956538);
    check("tanh", (Dd(0.01, 0.0).tanh(), 0), 0.00999966667999946, 2.249494707259477e-19);
    check("tanh", (Dd(-2.7, 0.0).tanh(), 0), -0.9910074536781176, -4.2502645318925924e-17);
    check("sigmoid", Dd(-33.3, 0.0).sigmoid(), 3.4513877443742044e-15, -3.7040310809347735e-32);
    check("sine", (Dd(1e5, 0.0).sin_cos().0, 0), 0.03574879797201651, 1.5429743706109861e-18);
    check("sine", (Dd(355.0, 0.0).sin_cos().0, 0), -3.014435335948845e-05, 1.3012643991046347e-21);
    check("cosine", (Dd(-99.9, 0.0).sin_cos().1, 0), 0.80745865769955, -4.5373819609151685e-17);
    check("erf", (Dd(1e-3, 0.0).erf(), 0), 0.0011283787909692365, -7.88735357945236e-20);
    check("erf", (Dd(-1.1, 0.0).erf(), 0), -0.8802050695740817, 3.550744643146631e-18);
    check("erf", (Dd(2.2, 0.0).erf(), 0), 0.9981371537020182, -5.4872057312796384e-17);
    check("cdf", Dd(-2.4, 0.0).normal_cdf(), 0.008197535924596131, 2.8735148198353897e-19);
    check("cdf", Dd(-2.6, 0.0).normal_cdf(), 0.004661188023718749, -2.790816282955537e-19);
    check("cdf", Dd(-21.0, 0.0).normal_cdf(), 3.279278018979036e-98, -1.344768380468785e-114);
}
