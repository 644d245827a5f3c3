//! Normal equations, QR and Cholesky factors of a Gauss-Newton step beside the peak of matrix products.
//!
//! ```text
//! cargo bench --bench gauss_newton [-- THREADS]
//! ```

mod peak;

use std::ops::Range;
use std::time::Instant;

use parseval::optim::{Damping, Factorization, GaussNewton, GaussNewtonOptions, LeastSquares};
use peak::{median, peak};

/// A problem whose rows cost nothing.
struct Rows {
    p: usize,
    m: usize,
    values: Vec<f64>,
}

impl LeastSquares for Rows {
    fn parameters(&self) -> usize {
        self.p
    }
    fn residuals(&self) -> usize {
        self.m
    }
    fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
        r.iter_mut().enumerate().for_each(|(i, r)| *r = (i as f64).sin() * (1.0 + theta[0]));
    }
    fn rows(&mut self, _: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
        jacobian.copy_from_slice(&self.values[..rows.len() * self.p]);
        rows.zip(r).for_each(|(i, r)| *r = (i as f64).sin());
    }
}

fn main() {
    let threads = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1);
    println!("{threads} threads; rates in GFLOP/s of useful operations, and their fraction of the peak beside\n");
    println!("|    p |     m | decomposition |  step s |  rate | of peak |");
    println!("|-----:|------:|---------------|--------:|------:|--------:|");
    for (p, m) in [(341, 8192), (1361, 8192), (2500, 8192)] {
        for (name, factorization, work) in [("gram", Factorization::Normal, 1.0), ("qr", Factorization::Qr, 2.0)] {
            let values = (0..512 * p).map(|i| (0.7 * (i as f64).powf(1.1)).sin()).collect();
            let mut problem = Rows { p, m, values };
            let options =
                GaussNewtonOptions { factorization, damping: Damping::Nielsen, max_probes: 3, ..Default::default() };
            let mut method = GaussNewton::new(p, m, options, threads).expect("sizes are positive");
            let (mut times, mut rates) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                let before = peak::<f64>(threads);
                let start = Instant::now();
                method.step(&mut problem, &mut vec![0.0; p]).expect("values are finite");
                times.push(start.elapsed().as_secs_f64());
                rates.push(0.5 * (before + peak::<f64>(threads)));
            }
            let (m, p) = (m as f64, p as f64);
            let operations = work * (m * p * p + p * p * p / 3.0);
            let (time, peak) = (median(times), median(rates));
            let rate = 1e-9 * operations / time;
            println!("| {p:4} | {m:5} | {name:<13} | {time:7.3} | {rate:5.1} | {:6.0}% |", 100.0 * rate / peak);
        }
    }
}
