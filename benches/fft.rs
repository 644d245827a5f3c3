//! Speed of the two transform kernels beside rustfft and realfft on the same work, one thread.
//!
//! `cargo bench --bench fft [-- LENGTH ...]`. Work is counted as `5 n log2 n` per complex and `2.5 n log2 n` per real
//! transform, in GFLOP/s; `x` is the ratio to rustfft (columns) and realfft (lines), which choose their own
//! instruction set. The peak is the measured rate of independent fused multiply-adds, two operations each. Lines keep
//! `m <= n / 3`.

use std::hint::black_box;
use std::time::Instant;

use aligned_vec::{AVec, ConstAlign};
use parseval::field::Real;
use parseval::spectral::fft::{ColumnFft, LineFft};
use parseval::spectral::simd::{Complex, Isa, Lanes};
use realfft::RealFftPlanner;
use rustfft::FftPlanner;

const LENGTHS: [usize; 10] = [32, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096];

fn main() {
    let lengths: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let lengths = if lengths.is_empty() { LENGTHS.to_vec() } else { lengths };
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().filter(|isa| isa.is_available()) {
        match isa {
            Isa::Avx512 => {
                table::<<f64 as Real>::Avx512>(isa, &lengths);
                table::<<f32 as Real>::Avx512>(isa, &lengths);
            }
            Isa::Avx2 => {
                table::<<f64 as Real>::Avx2>(isa, &lengths);
                table::<<f32 as Real>::Avx2>(isa, &lengths);
            }
            _ => {
                table::<<f64 as Real>::Neon>(isa, &lengths);
                table::<<f32 as Real>::Neon>(isa, &lengths);
            }
        }
    }
}

fn table<V: Lanes>(isa: Isa, lengths: &[usize]) {
    println!("\n{} {isa:?}, {} lanes, peak {:.1} GFLOP/s", V::Real::NAME, V::WIDTH, peak::<V>());
    println!(
        "{:>5} | {:>7} {:>7} {:>7} {:>5} | {:>7} {:>7} {:>7} {:>5}",
        "n", "column", "inverse", "rustfft", "x", "line", "inverse", "realfft", "x"
    );
    for &n in lengths.iter().filter(|&&n| ColumnFft::<V>::supports(n)) {
        let work = 5.0 * n as f64 * (n as f64).log2();
        let [forward, inverse] = [false, true].map(|i| work * V::WIDTH as f64 / column::<V>(n, i));
        let plain = work / rustfft_line::<V::Real>(n);
        print!("{n:>5} | {forward:>7.1} {inverse:>7.1} {plain:>7.1} {:>5.2} |", forward / plain);
        if LineFft::<V>::supports(n) {
            let [forward, inverse] = [false, true].map(|i| 0.5 * work / line::<V>(n, i));
            let plain = 0.5 * work / realfft_line::<V::Real>(n);
            print!(" {forward:>7.1} {inverse:>7.1} {plain:>7.1} {:>5.2}", forward / plain);
        }
        println!();
    }
}

/// Nanoseconds of one call: the median of samples short enough that most are not interrupted.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut sample = |calls: usize| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / calls as f64
    };
    sample(10);
    let calls = (1e5 / sample(10)) as usize + 1;
    let mut samples: Vec<f64> = (0..101).map(|_| sample(calls)).collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Rate of twelve independent chains of fused multiply-adds.
fn peak<V: Lanes>() -> f64 {
    const CHAINS: usize = 12;
    let of = |x: f64| V::splat(V::Real::of(x));
    let calls = 1000;
    let time = nanoseconds(|| {
        V::vectorize(
            #[inline(always)]
            || {
                let (a, b) = (black_box(of(0.5)), black_box(of(1.0)));
                let mut x = [a; CHAINS];
                for _ in 0..calls {
                    for x in &mut x {
                        *x = x.madd(a, b);
                    }
                }
                black_box(x);
            },
        );
    });
    (2 * CHAINS * V::WIDTH * calls) as f64 / time
}

/// Zeros: they stay zeros under repeated transforms without normalisation, and the kernels have no branch on values.
fn zeros<T: Real>(len: usize) -> AVec<T, ConstAlign<64>> {
    AVec::from_iter(64, std::iter::repeat_n(T::of(0.0), len))
}

fn column<V: Lanes>(n: usize, inverse: bool) -> f64 {
    let plan = ColumnFft::<V>::plan(n);
    let len = 2 * n + plan.scratch_len();
    let mut memory = zeros::<V::Real>(2 * V::WIDTH * len);
    // SAFETY: the memory holds that many elements, each of which is `2 W` reals.
    let all = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<Complex<V>>(), len) };
    let (data, rest) = all.split_at_mut(n);
    let (out, scratch) = rest.split_at_mut(n);
    nanoseconds(|| {
        if inverse {
            plan.inverse(data, out, scratch);
        } else {
            plan.forward(data, out, scratch);
        }
        black_box(out.as_mut_ptr());
    })
}

fn rustfft_line<T: Real>(n: usize) -> f64 {
    let plan = FftPlanner::<T>::new().plan_fft_forward(n);
    let mut data = vec![Default::default(); n];
    let mut scratch = vec![Default::default(); plan.get_inplace_scratch_len()];
    nanoseconds(|| {
        plan.process_with_scratch(&mut data, &mut scratch);
        black_box(data.as_mut_ptr());
    })
}

fn line<V: Lanes>(n: usize, inverse: bool) -> f64 {
    let plan = LineFft::<V>::plan(n, n / 3, 1.0);
    let mut line = zeros::<V::Real>(n);
    let mut scratch = zeros::<V::Real>(plan.scratch_len());
    let mut half = zeros::<V::Real>(2 * V::WIDTH * plan.groups());
    let stride = 2 * V::WIDTH;
    nanoseconds(|| {
        // SAFETY: `half` has all groups at that stride.
        unsafe {
            if inverse {
                plan.inverse(half.as_ptr(), stride, &mut line, &mut scratch);
            } else {
                plan.forward(&mut line, half.as_mut_ptr(), stride, &mut scratch);
            }
        }
        black_box((line.as_mut_ptr(), half.as_mut_ptr()));
    })
}

fn realfft_line<T: Real>(n: usize) -> f64 {
    let plan = RealFftPlanner::<T>::new().plan_fft_forward(n);
    let (mut line, mut half) = (plan.make_input_vec(), plan.make_output_vec());
    let mut scratch = plan.make_scratch_vec();
    nanoseconds(|| {
        plan.process_with_scratch(&mut line, &mut half, &mut scratch).expect("lengths fit the plan");
        black_box(half.as_mut_ptr());
    })
}
