use rand::SeedableRng;

use super::*;
use crate::autodiff::check;
use crate::spectral::simd::Isa;

fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Shapes of input and weight: one to three axes, unequal kernels, channels and lines that fill no vector, that fill some,
/// and that overlap; several tiles along an axis.
fn cases() -> Vec<(Vec<usize>, Vec<usize>)> {
    [
        (vec![2, 1, 7], vec![1, 1, 3]),
        (vec![1, 3, 37], vec![5, 3, 7]),
        (vec![1, 2, 1000], vec![3, 2, 5]),
        (vec![2, 17, 12, 16], vec![13, 17, 3, 3]),
        (vec![1, 2, 5, 21], vec![2, 2, 5, 1]),
        (vec![3, 4, 33, 9], vec![19, 4, 1, 5]),
        (vec![2, 5, 1, 6], vec![3, 5, 1, 1]),
        (vec![1, 3, 6, 5, 18], vec![4, 3, 3, 5, 1]),
        (vec![2, 16, 8, 9, 10], vec![16, 16, 3, 3, 3]),
        (vec![1, 1, 3, 7, 4], vec![9, 1, 1, 3, 3]),
    ]
    .to_vec()
}

fn three(axes: &[usize]) -> [usize; 3] {
    let mut all = [1; 3];
    all[3 - axes.len()..].copy_from_slice(axes);
    all
}

/// Calls `term(y, w, x)` with the flat indices of every product of the definition.
fn for_each_product(padding: Padding, x: &[usize], w: &[usize], mut term: impl FnMut(usize, usize, usize)) {
    let (n, k) = (three(&x[2..]), three(&w[2..]));
    let flat = |i: [usize; 3], n: [usize; 3]| (i[0] * n[1] + i[1]) * n[2] + i[2];
    let all = |n: [usize; 3]| {
        (0..n[0]).flat_map(move |i| (0..n[1]).flat_map(move |j| (0..n[2]).map(move |l| [i, j, l])))
    };
    for p in all(n) {
        for t in all(k) {
            let at: [isize; 3] = std::array::from_fn(|a| (p[a] + t[a]) as isize - (k[a] / 2) as isize);
            let inside = (0..3).all(|a| (0..n[a] as isize).contains(&at[a]));
            if padding == Padding::Zero && !inside {
                continue;
            }
            let q: [usize; 3] = std::array::from_fn(|a| at[a].rem_euclid(n[a] as isize) as usize);
            let (volume, taps): (usize, usize) = (n.iter().product(), k.iter().product());
            for b in 0..x[0] {
                for o in 0..w[0] {
                    for c in 0..x[1] {
                        term(
                            (b * w[0] + o) * volume + flat(p, n),
                            (o * x[1] + c) * taps + flat(t, k),
                            (b * x[1] + c) * volume + flat(q, n),
                        );
                    }
                }
            }
        }
    }
}

/// Value and gradients of `<y, g>` by the tape and by the definition; largest error relative to the largest value of each.
fn errors<T: Real>(padding: Padding, x_shape: &[usize], w_shape: &[usize]) -> [f64; 4] {
    let of = |values: Vec<f64>| -> Vec<T> { values.into_iter().map(T::of).collect() };
    let x = of(noise(x_shape.iter().product(), 1));
    let w = of(noise(w_shape.iter().product(), 2));
    let bias = of(noise(w_shape[0], 3));
    let mut tape = Tape::<T>::new(Parameters::new(), 2).unwrap();
    let vars = [
        tape.variable(x_shape, &x).unwrap(),
        tape.variable(w_shape, &w).unwrap(),
        tape.variable(&w_shape[..1], &bias).unwrap(),
    ];
    let y = tape.apply(Convolve { padding }, &vars).unwrap();
    let g = of(noise(tape.values(y).len(), 4));
    let gradients = tape.gradients(y, &g, &vars).unwrap();

    let volume: usize = x_shape[2..].iter().product();
    let channel = |i: usize| i / volume % w_shape[0];
    let mut exact = [(0..g.len()).map(|i| bias[channel(i)].as_f64()).collect(), vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; bias.len()]];
    for_each_product(padding, x_shape, w_shape, |i, j, k| {
        exact[0][i] += w[j].as_f64() * x[k].as_f64();
        exact[1][k] += w[j].as_f64() * g[i].as_f64();
        exact[2][j] += x[k].as_f64() * g[i].as_f64();
    });
    for (i, g) in g.iter().enumerate() {
        exact[3][channel(i)] += g.as_f64();
    }
    let error = |values: &[T], exact: &[f64]| {
        let largest = exact.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
        values.iter().zip(exact).fold(0.0, |m: f64, (v, e)| m.max((v.as_f64() - e).abs())) / largest
    };
    [
        error(tape.values(y), &exact[0]),
        error(&gradients[0], &exact[1]),
        error(&gradients[1], &exact[2]),
        error(&gradients[2], &exact[3]),
    ]
}

#[test]
fn values_and_gradients_are_those_of_the_definition() {
    for (x, w) in cases() {
        for padding in [Padding::Periodic, Padding::Zero] {
            if padding == Padding::Periodic && w[2..].iter().zip(&x[2..]).any(|(k, n)| k > n) {
                continue;
            }
            for (precision, errors) in [(f64::EPSILON, errors::<f64>(padding, &x, &w)), (f64::from(f32::EPSILON), errors::<f32>(padding, &x, &w))] {
                for error in errors {
                    // Roundings of up to a thousand terms add up like a random walk and relative to the largest of the
                    // values; measured: below 6 units.
                    assert!(error < 16.0 * precision, "{x:?} {w:?} {padding:?}: {errors:?} of {precision:e}");
                }
            }
        }
    }
}
