//! 128-bit vectors of AArch64.

use std::arch::aarch64::*;

use super::vector::vector;

vector! {
    /// Two `f64`.
    F64x2(float64x2_t): 2 x f64, Neon, "neon";
    vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vnegq_f64,
    fmadd_f64, fmsub_f64, fnmadd_f64;
    max_f64, min_f64, vabsq_f64; copysign_f64, vrndnq_f64, scale2_f64, select_less_f64;
    reverse_f64, deinterleave_f64, interleave_f64, exchange_f64
}

vector! {
    /// Four `f32`.
    F32x4(float32x4_t): 4 x f32, Neon, "neon";
    vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vnegq_f32,
    fmadd_f32, fmsub_f32, fnmadd_f32;
    max_f32, min_f32, vabsq_f32; copysign_f32, vrndnq_f32, scale2_f32, select_less_f32;
    reverse_f32, deinterleave_f32, interleave_f32, exchange_f32
}

// SAFETY of the functions below: NEON is part of every AArch64 target.

/// Fused products, `vfmaq(c, a, b) = c + a b` and `vfmsq(c, a, b) = c - a b`, and the shuffles that both types share.
macro_rules! functions {
    ($raw:ident, $fma:ident, $fms:ident, $neg:ident, $uzp1:ident, $uzp2:ident, $zip1:ident, $zip2:ident,
     $fmadd:ident, $fmsub:ident, $fnmadd:ident, $deinterleave:ident, $interleave:ident) => {
        #[inline(always)]
        unsafe fn $fmadd(a: $raw, b: $raw, c: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $fma(c, a, b) }
        }

        #[inline(always)]
        unsafe fn $fmsub(a: $raw, b: $raw, c: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $fma($neg(c), a, b) }
        }

        #[inline(always)]
        unsafe fn $fnmadd(a: $raw, b: $raw, c: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $fms(c, a, b) }
        }

        #[inline(always)]
        unsafe fn $deinterleave(a: $raw, b: $raw) -> ($raw, $raw) {
            // SAFETY: see above.
            unsafe { ($uzp1(a, b), $uzp2(a, b)) }
        }

        #[inline(always)]
        unsafe fn $interleave(even: $raw, odd: $raw) -> ($raw, $raw) {
            // SAFETY: see above.
            unsafe { ($zip1(even, odd), $zip2(even, odd)) }
        }
    };
}

functions!(
    float64x2_t,
    vfmaq_f64,
    vfmsq_f64,
    vnegq_f64,
    vuzp1q_f64,
    vuzp2q_f64,
    vzip1q_f64,
    vzip2q_f64,
    fmadd_f64,
    fmsub_f64,
    fnmadd_f64,
    deinterleave_f64,
    interleave_f64
);
functions!(
    float32x4_t,
    vfmaq_f32,
    vfmsq_f32,
    vnegq_f32,
    vuzp1q_f32,
    vuzp2q_f32,
    vzip1q_f32,
    vzip2q_f32,
    fmadd_f32,
    fmsub_f32,
    fnmadd_f32,
    deinterleave_f32,
    interleave_f32
);

/// Comparisons, and powers of two; `$magic` is `1.5 * 2^(MANTISSA_DIGITS - 1)` plus the exponent bias.
macro_rules! selections {
    ($raw:ident, $set1:ident, $add:ident, $sub:ident, $mul:ident, $round:ident, $less:ident, $greater:ident, $select:ident,
     $sign:expr, $to_int:ident, $from_int:ident, $shift:ident, $magic:literal, $mantissa:literal,
     $max:ident, $min:ident, $copysign:ident, $scale2:ident, $select_less:ident) => {
        // `vmaxq` and `vminq` differ from the other instruction sets where an operand is NaN.
        #[inline(always)]
        unsafe fn $max(a: $raw, b: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $select($greater(a, b), a, b) }
        }

        #[inline(always)]
        unsafe fn $min(a: $raw, b: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $select($less(a, b), a, b) }
        }

        #[inline(always)]
        unsafe fn $copysign(a: $raw, sign: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $select($sign, sign, a) }
        }

        #[inline(always)]
        unsafe fn $scale2(a: $raw, n: $raw) -> $raw {
            // In two steps: the exponent range is smaller than the range of `n`. The sum with the magic number has the
            // biased exponent in its lowest bits, from where it is shifted into place.
            // SAFETY: see above.
            unsafe {
                let half = $round($mul(n, $set1(0.5)));
                let power = |k: $raw| $from_int($shift::<$mantissa>($to_int($add(k, $set1($magic)))));
                $mul($mul(a, power(half)), power($sub(n, half)))
            }
        }

        #[inline(always)]
        unsafe fn $select_less(a: $raw, b: $raw, yes: $raw, no: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $select($less(a, b), yes, no) }
        }
    };
}

selections!(
    float64x2_t,
    vdupq_n_f64,
    vaddq_f64,
    vsubq_f64,
    vmulq_f64,
    vrndnq_f64,
    vcltq_f64,
    vcgtq_f64,
    vbslq_f64,
    vdupq_n_u64(1 << 63),
    vreinterpretq_s64_f64,
    vreinterpretq_f64_s64,
    vshlq_n_s64,
    6755399441056767.0,
    52,
    max_f64,
    min_f64,
    copysign_f64,
    scale2_f64,
    select_less_f64
);
selections!(
    float32x4_t,
    vdupq_n_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    vrndnq_f32,
    vcltq_f32,
    vcgtq_f32,
    vbslq_f32,
    vdupq_n_u32(1 << 31),
    vreinterpretq_s32_f32,
    vreinterpretq_f32_s32,
    vshlq_n_s32,
    12583039.0,
    23,
    max_f32,
    min_f32,
    copysign_f32,
    scale2_f32,
    select_less_f32
);

#[inline(always)]
unsafe fn reverse_f64(a: float64x2_t) -> float64x2_t {
    // SAFETY: see above.
    unsafe { vextq_f64::<1>(a, a) }
}

#[inline(always)]
unsafe fn reverse_f32(a: float32x4_t) -> float32x4_t {
    // SAFETY: see above. Pairs are swapped, then halves.
    unsafe {
        let pairs = vrev64q_f32(a);
        vextq_f32::<2>(pairs, pairs)
    }
}

/// The one round of a 2x2 transpose.
#[inline(always)]
unsafe fn exchange_f64(a: float64x2_t, b: float64x2_t, _block: usize) -> (float64x2_t, float64x2_t) {
    // SAFETY: see above.
    unsafe { (vtrn1q_f64(a, b), vtrn2q_f64(a, b)) }
}

/// One round of a 4x4 transpose: blocks of one lane, then of two.
#[inline(always)]
unsafe fn exchange_f32(a: float32x4_t, b: float32x4_t, block: usize) -> (float32x4_t, float32x4_t) {
    // SAFETY: see above.
    unsafe {
        if block == 1 {
            return (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
        }
        let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
        (vreinterpretq_f32_f64(vtrn1q_f64(a, b)), vreinterpretq_f32_f64(vtrn2q_f64(a, b)))
    }
}
