use rand::SeedableRng;

use super::*;
use crate::autodiff::check;
use crate::spectral::simd::Isa;

fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Shapes of input and weight: one to three axes, unequal kernels, channels and lines that fill no vector, that fill some,
/// and that overlap; several tiles along an axis; a kernel
/// larger than the grid.
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
        (vec![1, 2, 3], vec![2, 2, 9]),
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
    let all =
        |n: [usize; 3]| (0..n[0]).flat_map(move |i| (0..n[1]).flat_map(move |j| (0..n[2]).map(move |l| [i, j, l])));
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
    let mut exact = [
        (0..g.len()).map(|i| bias[channel(i)].as_f64()).collect(),
        vec![0.0; x.len()],
        vec![0.0; w.len()],
        vec![0.0; bias.len()],
    ];
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
            for (precision, errors) in [
                (f64::EPSILON, errors::<f64>(padding, &x, &w)),
                (f64::from(f32::EPSILON), errors::<f32>(padding, &x, &w)),
            ] {
                for error in errors {
                    // Sums of up to four hundred terms, relative to the largest of the sums, which cancel; measured: below
                    // 16 units.
                    assert!(error < 32.0 * precision, "{x:?} {w:?} {padding:?}: {errors:?} of {precision:e}");
                }
            }
        }
    }
}

#[test]
fn derivatives_are_adjoint_and_those_of_the_values() {
    for (x, w) in cases().into_iter().filter(|(x, _)| x.iter().product::<usize>() < 10_000) {
        let input = |shape: &[usize], seed| (shape.to_vec(), noise(shape.iter().product(), seed));
        let inputs = [input(&x, 1), input(&w, 2), input(&w[..1], 3)];
        for inputs in [&inputs[..], &inputs[..2]] {
            let check = check(|| Convolve { padding: Padding::Zero }, inputs, 7).unwrap();
            // Round-off of sums of at most a few thousand terms; the map is bilinear, so that differences of sixth order
            // err by the round-off over their step.
            assert!(check.adjoint.unwrap() < 1e-14, "{x:?} {w:?}: {check:?}");
            assert!(check.difference < 1e-11, "{x:?} {w:?}: {check:?}");
        }
    }
}

/// Value and all gradients, one after the other.
fn everything<T: Real>(x_shape: &[usize], w_shape: &[usize], threads: usize) -> Vec<T> {
    let mut tape = Tape::<T>::new(Parameters::new(), threads).unwrap();
    let mut variable = |shape: &[usize], seed| {
        let values: Vec<T> = noise(shape.iter().product(), seed).into_iter().map(T::of).collect();
        tape.variable(shape, &values).unwrap()
    };
    let vars = [variable(x_shape, 1), variable(w_shape, 2), variable(&w_shape[..1], 3)];
    let y = tape.apply(Convolve { padding: Padding::Periodic }, &vars).unwrap();
    let mut all = tape.values(y).to_vec();
    all.extend(tape.gradients(y, &all, &vars).unwrap().concat());
    all
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    for (x, w) in [(vec![3, 20, 24, 20], vec![12, 20, 3, 5]), (vec![2, 4, 9, 10, 12], vec![5, 4, 3, 3, 3])] {
        assert_eq!(everything::<f32>(&x, &w, 1), everything::<f32>(&x, &w, 2));
        assert_eq!(everything::<f64>(&x, &w, 1), everything::<f64>(&x, &w, 5));
    }
}

/// Value, input gradient and weight gradient on one instruction set.
fn passes_on<T: Real>(isa: Isa, x_shape: &[usize], w_shape: &[usize]) -> [Vec<f64>; 3] {
    let of = |len: usize, seed| -> Vec<T> { noise(len, seed).into_iter().map(T::of).collect() };
    let geometry = Geometry::new(Padding::Periodic, x_shape, w_shape, size_of::<T>());
    let (x, w) = (of(x_shape.iter().product(), 1), of(w_shape.iter().product(), 2));
    let g = of(geometry.batch * geometry.c_out * geometry.volume(), 3);
    let workers = Workers::new(1).unwrap();
    let (mut y, mut gx, mut gw) = (g.clone(), x.clone(), w.clone());
    let forward = passes::forward_weight(&geometry, &w);
    passes::convolve(&workers, isa, &geometry, &x, &forward, None, &mut y, false);
    let backward = passes::backward_weight(&geometry, &w);
    passes::convolve(&workers, isa, &geometry.transposed(), &g, &backward, None, &mut gx, true);
    passes::weight_gradient(&workers, isa, &geometry, &x, &g, &mut gw, true);
    [y, gx, gw].map(|values| values.into_iter().map(T::as_f64).collect())
}

#[test]
fn all_instruction_sets_agree() {
    fn agree<T: Real>() {
        for (x, w) in cases() {
            let scalar = passes_on::<T>(Isa::Scalar, &x, &w);
            for isa in [Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available()) {
                for (pass, (a, b)) in passes_on::<T>(isa, &x, &w).iter().zip(&scalar).enumerate() {
                    let largest = b.iter().fold(0.0, |m: f64, b| m.max(b.abs()));
                    let error = a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest;
                    // As against the definition, from both sides.
                    assert!(error < 64.0 * T::epsilon().as_f64(), "{x:?} {w:?} {isa:?} pass {pass}: {error:e}");
                }
            }
        }
    }
    agree::<f32>();
    agree::<f64>();
}

#[test]
fn single_precision_sums_of_many_points_are_accurate() {
    // All terms have one sign, so that the relative error shows every rounding: a plain sum of 65536 would lose 1e-4.
    let (x_shape, w_shape) = ([16, 1, 4096], [1, 1, 3]);
    let ones = vec![1.1f32; 16 * 4096];
    let mut tape = Tape::<f32>::new(Parameters::new(), 1).unwrap();
    let x = tape.variable(&x_shape, &ones).unwrap();
    let w = tape.variable(&w_shape, &[1.0; 3]).unwrap();
    let b = tape.variable(&[1], &[0.0]).unwrap();
    let y = tape.apply(Convolve { padding: Padding::Periodic }, &[x, w, b]).unwrap();
    let gradients = tape.gradients(y, &ones, &[w, b]).unwrap();
    let term = f64::from(1.1f32);
    for (gradient, exact) in gradients.iter().zip([65536.0 * term * term, 65536.0 * term]) {
        for &g in gradient {
            // Sums of 128 terms, of the 32 chunks of a group, of 16 groups: at worst 88 units on average.
            assert!((f64::from(g) / exact - 1.0).abs() < 88.0 * f64::from(f32::EPSILON), "{g} {exact}");
        }
    }
}

#[test]
fn results_are_added_to_what_is_there() {
    // x is used twice: y = w * x + w * x.
    let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
    let x = tape.variable(&[1, 2, 19], &noise(38, 1)).unwrap();
    let w = tape.variable(&[2, 2, 3], &noise(12, 2)).unwrap();
    let b = tape.variable(&[2], &[0.0; 2]).unwrap();
    let inner = tape.apply(Convolve { padding: Padding::Zero }, &[x, w, b]).unwrap();
    let outer = tape.apply(Convolve { padding: Padding::Zero }, &[inner, w, b]).unwrap();
    let g = noise(38, 3);
    let both = tape.gradients(outer, &g, &[w, b, inner]).unwrap();
    let first = tape.gradients(inner, &both[2], &[w, b]).unwrap();
    // The same chain with another variable in the second place.
    let v = tape.variable(&[2, 2, 3], &noise(12, 2)).unwrap();
    let a = tape.variable(&[2], &[0.0; 2]).unwrap();
    let apart = tape.apply(Convolve { padding: Padding::Zero }, &[inner, v, a]).unwrap();
    let second = tape.gradients(apart, &g, &[v, a]).unwrap();
    for i in 0..2 {
        for ((both, first), second) in both[i].iter().zip(&first[i]).zip(&second[i]) {
            // One addition of numbers below 64.
            assert!((both - (first + second)).abs() <= 64.0 * f64::EPSILON);
        }
    }
}

#[test]
fn misfits_are_refused_with_both_shapes() {
    let message = |x: &[usize], w: &[usize], bias: &[usize]| {
        let operation = Convolve { padding: Padding::Periodic };
        Operation::<f64>::shape(&operation, &[x, w, bias]).unwrap_err().to_string()
    };
    assert_eq!(
        message(&[1, 2, 8, 8], &[4, 3, 3, 3], &[4]),
        "weight of a convolution of [1, 2, 8, 8]: expected shape [4, 2, 3, 3], got [4, 3, 3, 3]"
    );
    assert_eq!(message(&[1, 2, 8], &[4, 2, 3], &[3]), "bias of a convolution: expected shape [4], got [3]");
    assert_eq!(
        message(&[1, 2, 8, 8], &[4, 2, 3, 4], &[4]),
        "kernel = [3, 4] is not allowed: must be odd along every axis"
    );
    assert_eq!(
        message(&[1, 2, 8, 4], &[4, 2, 3, 5], &[4]),
        "kernel = [3, 5] is not allowed: must not be larger than the periodic grid [8, 4]"
    );
    let rank = message(&[1, 2, 8, 8], &[4, 2, 3], &[4]);
    assert!(rank.contains("[4, 2, 3]") && rank.contains("[1, 2, 8, 8]"), "{rank}");
    assert!(message(&[1, 2], &[4, 2], &[4]).contains("[1, 2]"));
    assert!(message(&[0, 2, 8], &[4, 2, 3], &[4]).contains("not empty"));
}

#[test]
fn a_new_layer_has_the_names_shapes_and_bounds_of_pytorch() {
    let mut parameters = Parameters::<f64>::new();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut new = |parameters: &mut _, name, kernel: &[usize], bias| {
        Convolution::new(parameters, name, (4, 32), kernel, Padding::Zero, bias, &mut rng)
    };
    let layer = new(&mut parameters, "lift", &[5, 5], true).unwrap();
    let plain = new(&mut parameters, "plain", &[1], false).unwrap();
    assert!(new(&mut parameters, "even", &[2], true).is_err() && new(&mut parameters, "none", &[], true).is_err());
    let names: Vec<&str> = parameters.views().iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["lift.weight", "lift.bias", "plain.weight"]);
    assert_eq!(parameters.views()[0].shape, [32, 4, 5, 5]);
    // 1 / sqrt(4 * 25); of 3200 uniform values the largest is closer than one in a hundred.
    let largest = parameters.values(layer.weight).iter().fold(0.0, |m: f64, w| m.max(w.abs()));
    assert!(largest <= 0.1 && largest > 0.099);
    assert!(plain.bias.is_none());
}
