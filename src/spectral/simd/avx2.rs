//! 256-bit vectors of x86-64, with fused multiply-add.

use std::arch::x86_64::*;

use super::vector::vector;

vector! {
    /// Four `f64`.
    F64x4(__m256d): 4 x f64, Avx2, "avx2,fma";
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd,
    neg_pd, _mm256_fmadd_pd, _mm256_fmsub_pd, _mm256_fnmadd_pd;
    _mm256_max_pd, _mm256_min_pd, abs_pd; copysign_pd, round_pd, scale2_pd, select_less_pd;
    reverse_pd, deinterleave_pd, interleave_pd, exchange_pd
}

vector! {
    /// Eight `f32`.
    F32x8(__m256): 8 x f32, Avx2, "avx2,fma";
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps,
    neg_ps, _mm256_fmadd_ps, _mm256_fmsub_ps, _mm256_fnmadd_ps;
    _mm256_max_ps, _mm256_min_ps, abs_ps; copysign_ps, round_ps, scale2_ps, select_less_ps;
    reverse_ps, deinterleave_ps, interleave_ps, exchange_ps
}

// SAFETY of the functions below: AVX2 is there, by the condition on the vector types. Lanes are written as letters
// with an index, `|` separates the two 128-bit halves that most shuffles stay within.

/// The functions that both types share; `$magic` is `1.5 * 2^(MANTISSA_DIGITS - 1)` plus the exponent bias.
macro_rules! functions {
    ($raw:ident, $set1:ident, $add:ident, $sub:ident, $mul:ident, $xor:ident, $or:ident, $and:ident, $andnot:ident,
     $round_to:ident, $cmp:ident, $blend:ident, $to_int:ident, $from_int:ident, $shift:ident, $magic:literal, $mantissa:literal,
     $neg:ident, $abs:ident, $copysign:ident, $round:ident, $scale2:ident, $select_less:ident) => {
        #[inline(always)]
        unsafe fn $neg(a: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $xor(a, $set1(-0.0)) }
        }

        #[inline(always)]
        unsafe fn $abs(a: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $andnot($set1(-0.0), a) }
        }

        #[inline(always)]
        unsafe fn $copysign(a: $raw, sign: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $or($abs(a), $and(sign, $set1(-0.0))) }
        }

        #[inline(always)]
        unsafe fn $round(a: $raw) -> $raw {
            // SAFETY: see above.
            unsafe { $round_to::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
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
            unsafe { $blend(no, yes, $cmp::<_CMP_LT_OQ>(a, b)) }
        }
    };
}

functions!(
    __m256d,
    _mm256_set1_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_xor_pd,
    _mm256_or_pd,
    _mm256_and_pd,
    _mm256_andnot_pd,
    _mm256_round_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_slli_epi64,
    6755399441056767.0,
    52,
    neg_pd,
    abs_pd,
    copysign_pd,
    round_pd,
    scale2_pd,
    select_less_pd
);
functions!(
    __m256,
    _mm256_set1_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_xor_ps,
    _mm256_or_ps,
    _mm256_and_ps,
    _mm256_andnot_ps,
    _mm256_round_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_slli_epi32,
    12583039.0,
    23,
    neg_ps,
    abs_ps,
    copysign_ps,
    round_ps,
    scale2_ps,
    select_less_ps
);

#[inline(always)]
unsafe fn reverse_pd(a: __m256d) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_permute4x64_pd::<0b00_01_10_11>(a) }
}

#[inline(always)]
unsafe fn reverse_ps(a: __m256) -> __m256 {
    // SAFETY: see above.
    unsafe { _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0)) }
}

#[inline(always)]
unsafe fn deinterleave_pd(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    // SAFETY: see above.
    unsafe {
        // a0 b0 | a2 b2 and a1 b1 | a3 b3, then the middle lanes change places.
        let even = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_unpacklo_pd(a, b));
        let odd = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_unpackhi_pd(a, b));
        (even, odd)
    }
}

#[inline(always)]
unsafe fn deinterleave_ps(a: __m256, b: __m256) -> (__m256, __m256) {
    // SAFETY: see above.
    unsafe {
        // a0 a2 b0 b2 | a4 a6 b4 b6 and its odd twin, then the middle pairs change places.
        let even = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
        let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
        (
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even)),
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(odd)),
        )
    }
}

#[inline(always)]
unsafe fn interleave_pd(even: __m256d, odd: __m256d) -> (__m256d, __m256d) {
    // SAFETY: see above.
    unsafe {
        let (a, b) = (_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd));
        (_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b))
    }
}

#[inline(always)]
unsafe fn interleave_ps(even: __m256, odd: __m256) -> (__m256, __m256) {
    // SAFETY: see above.
    unsafe {
        let (a, b) = (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
        (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    }
}

/// One round of a transpose: the off-diagonal blocks of `block` lanes of the 2x2 block matrix `(a; b)` are exchanged.
#[inline(always)]
unsafe fn exchange_pd(a: __m256d, b: __m256d, block: usize) -> (__m256d, __m256d) {
    // SAFETY: see above.
    unsafe {
        match block {
            1 => (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)),
            _ => (_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b)),
        }
    }
}

/// One round of a transpose: the off-diagonal blocks of `block` lanes of the 2x2 block matrix `(a; b)` are exchanged.
#[inline(always)]
unsafe fn exchange_ps(a: __m256, b: __m256, block: usize) -> (__m256, __m256) {
    // SAFETY: see above.
    unsafe {
        match block {
            1 => (
                _mm256_blend_ps::<0b10101010>(a, _mm256_moveldup_ps(b)),
                _mm256_blend_ps::<0b10101010>(_mm256_movehdup_ps(a), b),
            ),
            2 => {
                let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
                (_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
            }
            _ => (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)),
        }
    }
}
