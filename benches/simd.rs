//! Cost of the elementary functions and of the slopes of the activations, nanoseconds per element, one thread:
//! `cargo bench --bench simd`. Best of many passes over a slice in the first-level cache; the last column is `std`.

use std::hint::black_box;
use std::time::Instant;

use parseval::field::Real;
use parseval::spectral::simd::{Activation, Isa, Lanes, math};

const LENGTH: usize = 1024;
const PASSES: usize = 3000;

/// Best time of `f` in nanoseconds per element.
fn best(mut f: impl FnMut()) -> f64 {
    let pass = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64() * 1e9 / LENGTH as f64
    };
    (0..PASSES).map(|_| pass(&mut f)).fold(f64::INFINITY, f64::min)
}

fn inputs<T: Real>() -> Vec<T> {
    (0..LENGTH).map(|i| T::of((0.37 * i as f64) % 6.0 - 3.0)).collect()
}

fn function<V: Lanes>(f: impl Fn(V) -> V) -> f64 {
    let (x, mut y) = (inputs::<V::Real>(), inputs::<V::Real>());
    best(|| {
        V::vectorize(
            #[inline(always)]
            || {
                for (x, y) in black_box(&x).chunks_exact(V::WIDTH).zip(y.chunks_exact_mut(V::WIDTH)) {
                    // SAFETY: both chunks have the width of the vector.
                    unsafe { f(V::load(x.as_ptr())).store(y.as_mut_ptr()) }
                }
            },
        );
        black_box(&mut y);
    })
}

fn table<T: Real>() {
    println!("\n{:>16} {:>8} {:>8} {:>8}   ns per {}", "", "avx512", "avx2", "std", T::NAME);
    macro_rules! row {
        ($name:literal, $f:path, $std:expr) => {
            let ours = [
                Isa::Avx512.is_available().then(|| {
                    function::<T::Avx512>(
                        #[inline(always)]
                        |x| $f(x),
                    )
                }),
                Isa::Avx2.is_available().then(|| {
                    function::<T::Avx2>(
                        #[inline(always)]
                        |x| $f(x),
                    )
                }),
            ];
            print!("{:>16}", $name);
            ours.into_iter().for_each(|t| print!(" {:>8.2}", t.unwrap_or(f64::NAN)));
            println!(" {:>8.2}", function::<T>($std));
        };
    }
    use num_traits::Float;
    row!("exp", math::exp, |x| Float::exp(x));
    row!("tanh", math::tanh, |x| Float::tanh(x));
    row!("sigmoid", math::sigmoid, |x: T| (T::one() + Float::exp(-x)).recip());
    row!("erf", math::erf, |_| T::nan()); // none in std
    row!("sin", math::sin, |x| Float::sin(x));
    for f in
        [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Tanh, Activation::Sin]
    {
        for isa in [Isa::Avx512, Isa::Avx2].into_iter().filter(|isa| isa.is_available()) {
            let (x, dy, mut y) = (inputs::<T>(), inputs::<T>(), inputs::<T>());
            let value = best(|| f.apply(isa, black_box(&x), black_box(&mut y)));
            let slope = best(|| f.vjp(isa, black_box(&x), &dy, black_box(&mut y)));
            println!(
                "{:>16} {:>8}: value {value:.2}, vector-Jacobian product {slope:.2}",
                format!("{f:?}"),
                format!("{isa:?}")
            );
        }
    }
}

fn main() {
    table::<f32>();
    table::<f64>();
}
