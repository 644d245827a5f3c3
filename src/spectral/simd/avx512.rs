//! 512-bit vectors of x86-64.

use std::arch::x86_64::*;

use super::vector::vector;

vector! {
    /// Eight `f64`.
    F64x8(__m512d): 8 x f64, Avx512, "avx512f,avx512dq,avx512vl,avx2,fma";
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd,
    neg_pd, _mm512_fmadd_pd, _mm512_fmsub_pd, _mm512_fnmadd_pd;
    _mm512_max_pd, _mm512_min_pd, _mm512_abs_pd; copysign_pd, round_pd, _mm512_scalef_pd, select_less_pd;
    reverse_pd, deinterleave_pd, interleave_pd, exchange_pd
}

vector! {
    /// Sixteen `f32`.
    F32x16(__m512): 16 x f32, Avx512, "avx512f,avx512dq,avx512vl,avx2,fma";
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps,
    neg_ps, _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_fnmadd_ps;
    _mm512_max_ps, _mm512_min_ps, _mm512_abs_ps; copysign_ps, round_ps, _mm512_scalef_ps, select_less_ps;
    reverse_ps, deinterleave_ps, interleave_ps, exchange_ps
}

/// Sign, rounding and comparison of one lane type.
macro_rules! functions {
    ($raw:ident, $set1:ident, $xor:ident, $or:ident, $and:ident, $abs:ident, $round_to:ident, $cmp:ident, $blend:ident,
     $neg:ident, $copysign:ident, $round:ident, $select_less:ident) => {
        #[inline(always)]
        unsafe fn $neg(a: $raw) -> $raw {
            // SAFETY: AVX-512 is there by the condition on the vector types.
            unsafe { $xor(a, $set1(-0.0)) }
        }

        #[inline(always)]
        unsafe fn $copysign(a: $raw, sign: $raw) -> $raw {
            // SAFETY: the same condition.
            unsafe { $or($abs(a), $and(sign, $set1(-0.0))) }
        }

        #[inline(always)]
        unsafe fn $round(a: $raw) -> $raw {
            // SAFETY: the same condition.
            unsafe { $round_to::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }

        #[inline(always)]
        unsafe fn $select_less(a: $raw, b: $raw, yes: $raw, no: $raw) -> $raw {
            // SAFETY: the same condition.
            unsafe { $blend($cmp::<_CMP_LT_OQ>(a, b), no, yes) }
        }
    };
}

functions!(
    __m512d,
    _mm512_set1_pd,
    _mm512_xor_pd,
    _mm512_or_pd,
    _mm512_and_pd,
    _mm512_abs_pd,
    _mm512_roundscale_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    neg_pd,
    copysign_pd,
    round_pd,
    select_less_pd
);
functions!(
    __m512,
    _mm512_set1_ps,
    _mm512_xor_ps,
    _mm512_or_ps,
    _mm512_and_ps,
    _mm512_abs_ps,
    _mm512_roundscale_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    neg_ps,
    copysign_ps,
    round_ps,
    select_less_ps
);

// Shuffles pick lane `TABLE[l]` of the 2 W lanes of two vectors together, by one instruction each.

/// Shuffle functions of one lane type; `$exchange` is one round of a transpose.
macro_rules! shuffles {
    ($raw:ident, $index:ident, $width:literal, $pick:ident, $permute:ident,
     $reverse:ident, $deinterleave:ident, $interleave:ident, $exchange:ident) => {
        #[inline(always)]
        unsafe fn $pick(a: $raw, b: $raw, table: &[$index; $width]) -> $raw {
            // SAFETY: the table is one vector long; AVX-512 is there by the condition on the vector types.
            unsafe { $permute(a, _mm512_loadu_si512(table.as_ptr().cast()), b) }
        }

        #[inline(always)]
        unsafe fn $reverse(a: $raw) -> $raw {
            const REVERSED: [$index; $width] = {
                let mut table = [0; $width];
                let mut l = 0;
                while l < $width {
                    table[l] = ($width - 1 - l) as $index;
                    l += 1;
                }
                table
            };
            // SAFETY: the same condition.
            unsafe { $pick(a, a, &REVERSED) }
        }

        #[inline(always)]
        unsafe fn $deinterleave(a: $raw, b: $raw) -> ($raw, $raw) {
            const EVEN_ODD: [[$index; $width]; 2] = {
                let mut table = [[0; $width]; 2];
                let mut l = 0;
                while l < $width {
                    table[0][l] = 2 * l as $index;
                    table[1][l] = 2 * l as $index + 1;
                    l += 1;
                }
                table
            };
            // SAFETY: the same condition.
            unsafe { ($pick(a, b, &EVEN_ODD[0]), $pick(a, b, &EVEN_ODD[1])) }
        }

        #[inline(always)]
        unsafe fn $interleave(even: $raw, odd: $raw) -> ($raw, $raw) {
            const HALVES: [[$index; $width]; 2] = {
                let mut table = [[0; $width]; 2];
                let mut l = 0;
                while l < $width {
                    table[0][l] = (l / 2 + l % 2 * $width) as $index;
                    table[1][l] = table[0][l] + $width / 2;
                    l += 1;
                }
                table
            };
            // SAFETY: the same condition.
            unsafe { ($pick(even, odd, &HALVES[0]), $pick(even, odd, &HALVES[1])) }
        }

        #[inline(always)]
        unsafe fn $exchange(a: $raw, b: $raw, block: usize) -> ($raw, $raw) {
            // Entry `log2 block`: lanes whose bit `block` is clear in `a` beside the same of `b`, then those with it set.
            const BLOCKS: [[[$index; $width]; 2]; 4] = {
                let mut table = [[[0; $width]; 2]; 4];
                let mut bit = 0;
                while bit < 4 {
                    let mut l = 0;
                    while l < $width {
                        let low = l & !(1 << bit);
                        let from_b = if l == low { 0 } else { $width };
                        table[bit][0][l] = (low + from_b) as $index;
                        table[bit][1][l] = ((low | 1 << bit) % $width + from_b) as $index;
                        l += 1;
                    }
                    bit += 1;
                }
                table
            };
            let [clear, set] = &BLOCKS[block.trailing_zeros() as usize];
            // SAFETY: the same condition.
            unsafe { ($pick(a, b, clear), $pick(a, b, set)) }
        }
    };
}

shuffles!(__m512d, i64, 8, pick_pd, _mm512_permutex2var_pd, reverse_pd, deinterleave_pd, interleave_pd, exchange_pd);
shuffles!(__m512, i32, 16, pick_ps, _mm512_permutex2var_ps, reverse_ps, deinterleave_ps, interleave_ps, exchange_ps);
