//! The peak of matrix products, measured beside what is compared with it.

use std::time::Instant;

use gemm::{Parallelism, gemm};
use parseval::field::Real;

/// Rate of a matrix product of three million entries in the cache, on each thread, in GFLOP/s.
pub fn peak<T: Real>(threads: usize) -> f64 {
    const N: usize = 512;
    const PRODUCTS: usize = 4;
    let products = || {
        let (a, b, mut c) = (vec![T::one(); N * N], vec![T::one(); N * N], vec![T::one(); N * N]);
        let mut product = || {
            let n = N as isize;
            // SAFETY: all three have `N x N` entries.
            unsafe {
                gemm(
                    N,
                    N,
                    N,
                    c.as_mut_ptr(),
                    1,
                    n,
                    false,
                    a.as_ptr(),
                    1,
                    n,
                    b.as_ptr(),
                    1,
                    n,
                    T::zero(),
                    T::one(),
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        };
        product();
        let start = Instant::now();
        (0..PRODUCTS).for_each(|_| product());
        (2 * PRODUCTS * N * N * N) as f64 / start.elapsed().as_secs_f64() * 1e-9
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(products)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a product does not panic")).sum()
    })
}

/// Middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
