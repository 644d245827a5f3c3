//! Linear combinations with diagonal coefficients: the stage updates of every scheme.

use super::super::team::Shared;
use super::{Coefficient, MAX_TERMS, Term};
use crate::field::Real;
use crate::spectral::simd::{Complex, Lanes};

/// See [`Rhs::combine`].
///
/// # Safety
///
/// As [`Rhs::combine`].
pub(super) unsafe fn combine<V: Lanes>(out: Shared<V::Real>, offset: usize, terms: &[Term<V::Real>], conjugate: bool) {
    let group = 2 * V::WIDTH;
    let groups = out.len() / group;
    assert!(terms.iter().all(|t| t.x.len() == out.len()));
    let mut reals = [(std::ptr::null::<V::Real>(), std::ptr::null::<V::Real>()); MAX_TERMS];
    let mut count = 0;
    let all_real = terms.iter().all(|t| matches!(t.coefficient, Coefficient::Real(_)));
    if all_real {
        for term in terms {
            if let Coefficient::Real(c) = term.coefficient {
                assert!(offset / 2 + out.len() / 2 <= c.len());
                // SAFETY: just checked.
                reals[count] = (unsafe { c.as_ptr().add(offset / 2) }, term.x.as_ptr().cast_const());
                count += 1;
            }
        }
        // SAFETY: all pointers are valid for `groups` groups.
        unsafe {
            match count {
                1 => combine_real::<V, 1>(out.as_ptr(), &reals, groups),
                2 => combine_real::<V, 2>(out.as_ptr(), &reals, groups),
                3 => combine_real::<V, 3>(out.as_ptr(), &reals, groups),
                4 => combine_real::<V, 4>(out.as_ptr(), &reals, groups),
                5 => combine_real::<V, 5>(out.as_ptr(), &reals, groups),
                6 => combine_real::<V, 6>(out.as_ptr(), &reals, groups),
                _ => unreachable!("a scheme has at most 6 terms"),
            }
        }
        return;
    }
    V::vectorize(
        #[inline(always)]
        || {
            let sign = V::splat(V::Real::of(if conjugate { -1.0 } else { 1.0 }));
            for g in 0..groups {
                let mut sum = Complex::<V>::zero();
                for term in terms {
                    // SAFETY: lengths were checked; coefficients cover the sample.
                    unsafe {
                        let x = Complex::<V>::load(term.x.as_ptr().add(g * group));
                        sum = match term.coefficient {
                            Coefficient::One => sum + x,
                            Coefficient::Real(c) => {
                                sum.add_scaled(V::load(c.as_ptr().add(offset / 2 + g * V::WIDTH)), x)
                            }
                            Coefficient::Complex(c) => {
                                let c = Complex::<V>::load(c.as_ptr().add(offset + g * group));
                                sum.add_product(Complex::new(c.re, c.im * sign), x)
                            }
                        };
                    }
                }
                // SAFETY: as above.
                unsafe { sum.store(out.as_ptr().add(g * group)) };
            }
        },
    );
}

/// # Safety
///
/// The first `N` pairs point to `groups` groups of coefficients (`W` reals) and operands (`2 W` reals).
unsafe fn combine_real<V: Lanes, const N: usize>(
    out: *mut V::Real,
    terms: &[(*const V::Real, *const V::Real); MAX_TERMS],
    groups: usize,
) {
    V::vectorize(
        #[inline(always)]
        || {
            for g in 0..groups {
                let mut sum = Complex::<V>::zero();
                for (c, x) in &terms[..N] {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let x = Complex::<V>::load(x.add(g * 2 * V::WIDTH));
                        sum = sum.add_scaled(V::load(c.add(g * V::WIDTH)), x);
                    }
                }
                // SAFETY: the caller's promise.
                unsafe { sum.store(out.add(g * 2 * V::WIDTH)) };
            }
        },
    );
}
