//! One harness for all equations: every claim of the trait, checked on random data with the scalar lanes and against a
//! direct evaluation on small grids that shares no transform with the solver.

use std::f64::consts::TAU;

use ndarray::{ArrayD, Axis, IxDyn};
use num_complex::Complex64;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Runs a check on every equation with a box that it accepts: `check(&pde, &grid)`.
macro_rules! for_every_equation {
    ($check:ident) => {
        let (line, plane, space) = boxes();
        $check(&AdvectionDiffusion { velocity: [0.7, 0.0, 0.0], nu: 0.3 }, &line);
        $check(&AdvectionDiffusion { velocity: [0.7, -0.4, 1.1], nu: 0.3 }, &space);
        $check(&Burgers { nu: 0.2 }, &line);
        $check(&KortewegDeVries { a: -6.0, b: 0.7 }, &line);
        $check(&KuramotoSivashinsky { nu: 0.4 }, &line);
        $check(&KuramotoSivashinskyIntegral { nu: 0.4 }, &line);
        $check(&AllenCahn { eps2: 0.1, r: 1.7, s: 2.0 }, &line);
        $check(&AllenCahn { eps2: 0.1, r: 1.7, s: -1.0 }, &plane);
        $check(&GrayScott { diffusion_u: 0.2, diffusion_v: 0.1, feed: 0.3, kill: 0.6 }, &line);
        $check(&GinzburgLandau { c1: 1.5, c3: 0.8 }, &line);
        $check(&GinzburgLandau { c1: 1.5, c3: 0.8 }, &plane);
        $check(&NonlinearSchroedinger { dispersion: 0.7, cubic: 1.9 }, &line);
        $check(&vorticity(), &plane);
        $check(&NavierStokes2d { forcing: Forcing2d::None, ..vorticity() }, &plane);
        $check(&NavierStokes2d::fno(1e-3), &Grid::cube(2, 27, 1.0).unwrap());
        $check(&velocity(), &space);
    };
}

/// Large enough for products of degree 3 of modes up to [`K`] in one and two dimensions, 2 in three.
fn boxes() -> (Grid, Grid, Grid) {
    (
        Grid::new(&[27], &[5.0]).unwrap(),
        Grid::new(&[27, 26], &[4.0, 7.0]).unwrap(),
        Grid::new(&[11, 12, 10], &[5.0, 4.0, 7.0]).unwrap(),
    )
}

fn vorticity() -> NavierStokes2d {
    NavierStokes2d { mean_flow: [0.6, -0.2], ..NavierStokes2d::kolmogorov(0.1, 0.3, 1.3, 2, 7.0) }
}

fn velocity() -> NavierStokes3d {
    NavierStokes3d::kolmogorov(0.1, 1.3, 1, 4.0)
}

/// Highest mode of random states.
const K: i64 = 2;

// Direct evaluation.

type Field = ArrayD<f64>;
type Spectrum = ArrayD<Complex64>;

/// Coefficients of a field by the sum over all points, axis by axis; the full spectrum.
fn coefficients(field: &Field) -> Spectrum {
    let scale = 1.0 / field.len() as f64;
    dft(field.mapv(|u| Complex64::from(u * scale)), -1.0)
}

/// Values of coefficients; the field must come out real.
fn values(spectrum: &Spectrum) -> Field {
    let field = dft(spectrum.clone(), 1.0);
    let size = field.iter().map(|z| z.norm()).fold(1.0, f64::max);
    assert!(field.iter().all(|z| z.im.abs() < 1e-12 * size), "coefficients of a real field are conjugate symmetric");
    field.mapv(|z| z.re)
}

fn dft(mut a: Spectrum, sign: f64) -> Spectrum {
    for axis in 0..a.ndim() {
        for mut lane in a.lanes_mut(Axis(axis)) {
            let (n, line) = (lane.len(), lane.to_vec());
            for (m, to) in lane.iter_mut().enumerate() {
                let term =
                    |(j, u): (usize, &Complex64)| u * Complex64::cis(sign * TAU * ((j * m) % n) as f64 / n as f64);
                *to = line.iter().enumerate().map(term).sum();
            }
        }
    }
    a
}

fn signed_modes(grid: &Grid, index: &IxDyn) -> [i64; 3] {
    let mut m = [0; 3];
    for (axis, &n) in grid.shape().iter().enumerate() {
        let i = index[axis] as i64;
        m[axis] = if 2 * i < n as i64 { i } else { i - n as i64 };
    }
    m
}

fn wave(grid: &Grid, index: &IxDyn) -> Wave<f64> {
    let m = signed_modes(grid, index);
    let mut k = [0.0; 3];
    (0..grid.dim()).for_each(|axis| k[axis] = m[axis] as f64 * TAU / grid.lengths()[axis]);
    let k2 = Mode(k).square();
    Wave { k, inverse_k2: if k2 == 0.0 { 0.0 } else { 1.0 / k2 } }
}

fn map_modes(grid: &Grid, field: &Field, symbol: impl Fn(Wave<f64>) -> Complex64) -> Field {
    let mut spectrum = coefficients(field);
    spectrum.indexed_iter_mut().for_each(|(index, z)| *z *= symbol(wave(grid, &index)));
    values(&spectrum)
}

fn derivative(grid: &Grid, field: &Field, axis: usize) -> Field {
    map_modes(grid, &truncated(grid, field, (grid.shape()[axis] as i64 - 1) / 2), |w| Complex64::new(0.0, w.k[axis]))
}

fn truncated(grid: &Grid, field: &Field, cut: i64) -> Field {
    let mut spectrum = coefficients(field);
    for (index, z) in spectrum.indexed_iter_mut() {
        if signed_modes(grid, &index).iter().any(|m| m.abs() > cut) {
            *z = Complex64::default();
        }
    }
    values(&spectrum)
}

/// `L u` and `N(u)`, both truncated to `cut`, composed from the trait's maps by direct transforms.
fn direct<P: Pde>(pde: &P, grid: &Grid, cut: i64, state: &[Field]) -> [Vec<Field>; 2] {
    let zero = Spectrum::zeros(grid.shape());
    let spectra: Vec<Spectrum> = state.iter().map(coefficients).collect();
    let (mut linear, mut nonlinear) = (vec![zero.clone(); P::CHANNELS], vec![zero.clone(); P::CHANNELS]);
    let mut fields = vec![zero.clone(); P::FIELDS];
    let loaded = |index: &IxDyn| {
        let mut u: Vec<Complex64> = spectra.iter().map(|s| s[index]).collect();
        pde.load_channels(&mut u);
        u
    };
    let stored = |mut u: Vec<Complex64>, index: &IxDyn, to: &mut [Spectrum]| {
        pde.store_channels(&mut u);
        to.iter_mut().zip(u).for_each(|(to, z)| to[index] = z);
    };
    for (index, _) in zero.indexed_iter() {
        let (w, u) = (wave(grid, &index), loaded(&index));
        let mut f = vec![Complex::zero(); P::FIELDS];
        pde.fields(&w, &lanes(&u), &mut f);
        fields.iter_mut().zip(f).for_each(|(to, f)| to[&index] = Complex64::new(f.re, f.im));
        let lu = u.iter().enumerate().map(|(c, u)| pde.linear_symbol(c, w.k) * u).collect();
        stored(lu, &index, &mut linear);
    }
    let fields: Vec<Field> = fields.iter().map(values).collect();
    let mut products = vec![Field::zeros(grid.shape()); P::PRODUCTS];
    for (index, _) in zero.indexed_iter() {
        let f: Vec<f64> = fields.iter().map(|f| f[&index]).collect();
        let mut p = vec![0.0; P::PRODUCTS];
        pde.products(&f, &mut p);
        products.iter_mut().zip(p).for_each(|(to, p)| to[&index] = p);
    }
    let products: Vec<Spectrum> = products.iter().map(coefficients).collect();
    for (index, _) in zero.indexed_iter() {
        let p: Vec<Complex64> = products.iter().map(|p| p[&index]).collect();
        let mut n = vec![Complex::zero(); P::CHANNELS];
        pde.tendency(&wave(grid, &index), &lanes(&p), &mut n);
        stored(n.iter().map(|z| Complex64::new(z.re, z.im)).collect(), &index, &mut nonlinear);
    }
    [linear, nonlinear].map(|channels| {
        channels
            .iter()
            .map(|spectrum| {
                let mut cut_off = spectrum.clone();
                cut_off.indexed_iter_mut().for_each(|(index, z)| {
                    if signed_modes(grid, &index).iter().any(|m| m.abs() > cut) {
                        *z = Complex64::default();
                    }
                });
                values(&cut_off)
            })
            .collect()
    })
}

fn lanes(z: &[Complex64]) -> Vec<Complex<f64>> {
    z.iter().map(|z| Complex::new(z.re, z.im)).collect()
}

// Random data.

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(20)
}

fn reals(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn complexes(n: usize, rng: &mut ChaCha8Rng) -> Vec<Complex<f64>> {
    (0..n).map(|_| Complex::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0))).collect()
}

fn random_wave(grid: &Grid, rng: &mut ChaCha8Rng) -> Wave<f64> {
    let mut k = [0.0; 3];
    (0..grid.dim()).for_each(|axis| k[axis] = rng.random_range(-2.0..2.0));
    Wave { k, inverse_k2: 1.0 / Mode(k).square() }
}

/// Fields with random modes up to [`K`]; divergence-free if they are a velocity in three dimensions, of zero mean if
/// they are a vorticity.
fn random_state<P: Pde>(pde: &P, grid: &Grid) -> Vec<Field> {
    let mut rng = rng();
    let fields: Vec<Field> = (0..P::CHANNELS)
        .map(|_| truncated(grid, &Field::from_shape_fn(grid.shape(), |_| 5.0 * rng.random_range(-1.0..1.0)), K))
        .collect();
    match pde.id() {
        "navier_stokes_3d" => projected(grid, &fields),
        "navier_stokes_2d" => vec![&fields[0] - fields[0].mean().unwrap()],
        _ => fields,
    }
}

/// `u - grad (lap^-1 div u)`.
fn projected(grid: &Grid, u: &[Field]) -> Vec<Field> {
    let divergence = (0..3).map(|i| derivative(grid, &u[i], i)).reduce(|a, b| a + b).unwrap();
    let potential = map_modes(grid, &divergence, |w| Complex64::from(-w.inverse_k2));
    (0..3).map(|i| &u[i] - &derivative(grid, &potential, i)).collect()
}

fn curl(grid: &Grid, u: &[Field]) -> Vec<Field> {
    (0..3)
        .map(|i| {
            let (j, k) = ((i + 1) % 3, (i + 2) % 3);
            derivative(grid, &u[k], j) - derivative(grid, &u[j], k)
        })
        .collect()
}

fn largest(a: &[Field]) -> f64 {
    a.iter().flat_map(|f| f.iter()).fold(0.0, |m, x| x.abs().max(m))
}

fn difference(a: &[Field], b: &[Field]) -> f64 {
    assert_eq!(a.len(), b.len());
    largest(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// Round-off of sums of up to 1e3 terms in a few stages, relative to numbers of order one.
const ROUND_OFF: f64 = 1e-12;

// The claims.

#[test]
fn linear_maps_and_their_adjoints_agree() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        let mut rng = rng();
        let inner = |a: &[Complex<f64>], b: &[Complex<f64>]| -> f64 {
            a.iter().zip(b).map(|(a, b)| a.re * b.re + a.im * b.im).sum()
        };
        for _ in 0..20 {
            let w = random_wave(grid, &mut rng);
            let (u, f_bar) = (complexes(P::CHANNELS, &mut rng), complexes(P::FIELDS, &mut rng));
            let (mut f, mut u_bar) = (complexes(P::FIELDS, &mut rng), complexes(P::CHANNELS, &mut rng));
            pde.fields(&w, &u, &mut f);
            pde.fields_adjoint(&w, &f_bar, &mut u_bar);
            assert!((inner(&f, &f_bar) - inner(&u, &u_bar)).abs() < ROUND_OFF, "A of {}", pde.id());

            let (p, n_bar) = (complexes(P::PRODUCTS, &mut rng), complexes(P::CHANNELS, &mut rng));
            let (mut n, mut p_bar) = (complexes(P::CHANNELS, &mut rng), complexes(P::PRODUCTS, &mut rng));
            pde.tendency(&w, &p, &mut n);
            pde.tendency_adjoint(&w, &n_bar, &mut p_bar);
            assert!((inner(&n, &n_bar) - inner(&p, &p_bar)).abs() < ROUND_OFF, "B of {}", pde.id());
        }
    }
    for_every_equation!(check);
}

#[test]
fn jacobian_products_are_the_derivative_and_its_transpose() {
    fn check<P: Pde>(pde: &P, _grid: &Grid) {
        let mut rng = rng();
        for _ in 0..20 {
            let (f, df, p_bar) = (reals(P::FIELDS, &mut rng), reals(P::FIELDS, &mut rng), reals(P::PRODUCTS, &mut rng));
            let at = |h: f64| {
                let mut p = vec![0.0; P::PRODUCTS];
                pde.products(&f.iter().zip(&df).map(|(f, df)| f + h * df).collect::<Vec<_>>(), &mut p);
                p
            };
            let (mut dp, mut f_bar) = (vec![0.0; P::PRODUCTS], vec![0.0; P::FIELDS]);
            pde.products_jvp(&f, &df, &mut dp);
            pde.products_vjp(&f, &p_bar, &mut f_bar);
            // This difference is exact for polynomials of degree 4.
            let (near, far) = ([at(0.5), at(-0.5)], [at(1.0), at(-1.0)]);
            for i in 0..P::PRODUCTS {
                let exact = (8.0 * (near[0][i] - near[1][i]) - (far[0][i] - far[1][i])) / 6.0;
                assert!((dp[i] - exact).abs() < ROUND_OFF, "p' of {}", pde.id());
            }
            let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            assert!((dot(&dp, &p_bar) - dot(&df, &f_bar)).abs() < ROUND_OFF, "p'^T of {}", pde.id());
        }
    }
    for_every_equation!(check);
}

#[test]
fn parameter_derivatives_equal_differences() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        let mut rng = rng();
        // All coefficients enter linearly or bilinearly, so that central differences have round-off error only.
        let (h, tolerance) = (0.1, 1e-11);
        for parameter in 0..pde.parameters().len() {
            let name = format!("{} of {}", pde.parameters()[parameter], pde.id());
            let [plus, minus] = [h, -h].map(|h| {
                let mut moved = pde.clone();
                *moved.parameter_mut(parameter) += h;
                moved
            });
            let w = random_wave(grid, &mut rng);
            let f = reals(P::FIELDS, &mut rng);
            let nonlinear = |pde: &P| {
                let (mut p, mut n) = (vec![0.0; P::PRODUCTS], vec![Complex::zero(); P::CHANNELS]);
                pde.products(&f, &mut p);
                let p: Vec<_> = p.into_iter().map(|p| Complex::new(p, 0.5 * p)).collect();
                pde.tendency(&w, &p, &mut n);
                (p, n)
            };
            let ((p, _), (_, n_plus), (_, n_minus)) = (nonlinear(pde), nonlinear(&plus), nonlinear(&minus));
            let mut dn = complexes(P::CHANNELS, &mut rng);
            pde.tendency_derivative(parameter, &w, &p, &mut dn);
            let mut depends = false;
            for c in 0..P::CHANNELS {
                let dl = (plus.linear_symbol(c, w.k) - minus.linear_symbol(c, w.k)) / (2.0 * h);
                let ours = pde.linear_symbol_derivative(parameter, c, w.k);
                assert!((dl - ours).norm() < tolerance * (1.0 + dl.norm()), "dL: {name}: {dl} {ours}");

                let exact = (n_plus[c] - n_minus[c]).scale(0.5 / h);
                let error = dn[c] - exact;
                assert!(error.re.hypot(error.im) < tolerance, "dN: {name}");
                depends |= exact.re.hypot(exact.im) > 1e-6;

                let x = [0.3, 0.2, 0.1];
                let [f_plus, f_minus] = [&plus, &minus].map(|pde| pde.forcing(c, x).unwrap_or(0.0));
                let df = (f_plus - f_minus) / (2.0 * h);
                assert!((df - pde.forcing_derivative(parameter, c, x)).abs() < tolerance, "df: {name}");
            }
            assert_eq!(depends, pde.tendency_depends_on(parameter), "{name}");
        }
    }
    for_every_equation!(check);
}

#[test]
fn channels_are_loaded_by_a_unitary_map() {
    fn check<P: Pde>(pde: &P, _grid: &Grid) {
        let physical: Vec<Complex64> =
            complexes(P::CHANNELS, &mut rng()).iter().map(|z| Complex64::new(z.re, z.im)).collect();
        let mut state = physical.clone();
        pde.load_channels(&mut state);
        let norm = |z: &[Complex64]| z.iter().map(|z| z.norm_sqr()).sum::<f64>();
        assert!((norm(&state) - norm(&physical)).abs() < 1e-15, "{}", pde.id());
        pde.store_channels(&mut state);
        assert!(state.iter().zip(&physical).all(|(a, b)| (a - b).norm() < 1e-15), "{}", pde.id());
    }
    for_every_equation!(check);
}

#[test]
fn balances_hold_along_the_right_hand_side() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        let state = random_state(pde, grid);
        // Beyond the highest mode that the products have: nothing is lost.
        let [linear, nonlinear] = direct(pde, grid, K * P::DEGREE as i64, &state);
        let rates: Vec<Field> = (0..P::CHANNELS)
            .map(|c| {
                let forcing = Field::from_shape_fn(grid.shape(), |i| {
                    let mut x = [0.0; 3];
                    (0..grid.dim()).for_each(|axis| x[axis] = i[axis] as f64 * grid.spacing(axis));
                    pde.forcing(c, x).unwrap_or(0.0)
                });
                &linear[c] + &nonlinear[c] + &forcing
            })
            .collect();
        let h = 0.1 / largest(&rates).max(1e-3);
        let at = |h: f64| {
            let moved: Vec<Field> = state.iter().zip(&rates).map(|(u, rate)| u + &(h * rate)).collect();
            let views: Vec<_> = moved.iter().map(|u| u.view()).collect();
            Snapshot::new(pde, grid, ndarray::stack(Axis(0), &views).unwrap().view()).unwrap()
        };
        for invariant in pde.invariants() {
            // Exact for functionals of degree 4.
            let [a, b, c, d] = [h, -h, 2.0 * h, -2.0 * h].map(|h| invariant.value(&at(h)));
            let observed = (8.0 * (a - b) - (c - d)) / (12.0 * h);
            let expected = invariant.rate(&at(0.0));
            let scale = 1.0 + expected.abs() + a.abs() / h;
            let name = format!("{} of {}", invariant.name(), pde.id());
            assert!((observed - expected).abs() < ROUND_OFF * scale, "{name}: {observed} {expected}");
        }
    }
    for_every_equation!(check);
}

#[test]
fn boxes_of_the_wrong_dimension_are_refused() {
    fn check<P: Pde>(pde: &P, grid: &Grid) {
        pde.validate(grid).unwrap();
        assert_eq!(pde.channel_names().len(), P::CHANNELS);
        let any = matches!(
            pde.id(),
            "advection_diffusion" | "allen_cahn" | "gray_scott" | "ginzburg_landau" | "nonlinear_schroedinger"
        );
        let other = Grid::cube(grid.dim() % 3 + 1, 8, 1.0).unwrap();
        assert!(any || pde.validate(&other).is_err(), "{}", pde.id());
    }
    for_every_equation!(check);
}

/// `N` composed from the maps equals `reference(state)` after truncation.
fn assert_nonlinear<P: Pde>(pde: &P, grid: &Grid, reference: impl Fn(&[Field]) -> Vec<Field>) {
    let state = random_state(pde, grid);
    let [_, nonlinear] = direct(pde, grid, K, &state);
    let expected: Vec<Field> = reference(&state).iter().map(|f| truncated(grid, f, K)).collect();
    let scale = 1.0 + largest(&expected);
    assert!(difference(&nonlinear, &expected) < ROUND_OFF * scale, "N of {}", pde.id());
    assert!(P::PRODUCTS == 0 || largest(&expected) > 0.1, "the state of {} exercises N", pde.id());
}

#[test]
fn nonlinear_terms_equal_their_plain_forms() {
    let (line, plane, _) = boxes();
    let advection = |u: &[Field]| vec![-&u[0] * &derivative(&line, &u[0], 0)];
    assert_nonlinear(&AdvectionDiffusion { velocity: [1.0, 0.0, 0.0], nu: 1.0 }, &line, |u| vec![0.0 * &u[0]]);
    assert_nonlinear(&Burgers { nu: 0.1 }, &line, advection);
    assert_nonlinear(&KuramotoSivashinsky::unit(), &line, advection);
    assert_nonlinear(&KortewegDeVries::classic_minus(), &line, |u| vec![-6.0 * &advection(u)[0]]);
    assert_nonlinear(&KuramotoSivashinskyIntegral::unit(), &line, |h| {
        vec![derivative(&line, &h[0], 0).mapv(|u| -0.5 * u * u)]
    });
    for grid in [&line, &plane] {
        assert_nonlinear(&AllenCahn { eps2: 1.0, r: 1.7, s: 0.5 }, grid, |u| {
            vec![u[0].mapv(|u| 1.7 * (1.5 * u - u.powi(3)))]
        });
        assert_nonlinear(&GrayScott::pearson(0.1, 0.2), grid, |c| {
            let reaction = &c[0] * &c[1] * &c[1];
            vec![-&reaction, reaction]
        });
        let cubic = |g: Complex64, a: &[Field]| {
            let mut both = a.to_vec();
            for (index, r) in a[0].indexed_iter() {
                let z = Complex64::new(*r, a[1][&index]);
                let n = g * z.norm_sqr() * z;
                (both[0][&index], both[1][&index]) = (n.re, n.im);
            }
            both
        };
        let cgl = GinzburgLandau { c1: 2.0, c3: 1.3 };
        assert_nonlinear(&cgl, grid, |a| cubic(-Complex64::new(1.0, -1.3), a));
        assert_nonlinear(&NonlinearSchroedinger::focusing(), grid, |a| cubic(Complex64::new(0.0, 2.0), a));
    }
}

#[test]
fn symbol_of_a_complex_amplitude_acts_on_its_modes() {
    let (line, _, _) = boxes();
    let cgl = GinzburgLandau { c1: 2.0, c3: 1.3 };
    let state = random_state(&cgl, &line);
    let [linear, _] = direct(&cgl, &line, K, &state);
    let laplacian: Vec<Field> = state.iter().map(|f| derivative(&line, &derivative(&line, f, 0), 0)).collect();
    let expected =
        [&state[0] + &laplacian[0] - &(2.0 * &laplacian[1]), &state[1] + &laplacian[1] + &(2.0 * &laplacian[0])];
    assert!(difference(&linear, &expected) < ROUND_OFF * (1.0 + largest(&expected)));
}

#[test]
fn vorticity_form_equals_advection_by_the_velocity_of_the_stream_function() {
    let (_, plane, _) = boxes();
    assert_nonlinear(&vorticity(), &plane, |w| {
        let psi = map_modes(&plane, &w[0], |wave| Complex64::from(wave.inverse_k2));
        let (u, v) = (derivative(&plane, &psi, 1), -derivative(&plane, &psi, 0));
        let curl = derivative(&plane, &v, 0) - derivative(&plane, &u, 1);
        assert!(difference(&[curl], w) < ROUND_OFF * largest(w), "omega = v_x - u_y");
        vec![-(u * derivative(&plane, &w[0], 0) + v * derivative(&plane, &w[0], 1))]
    });
}

#[test]
fn velocity_form_equals_the_rotational_form_and_is_divergence_free() {
    let (_, _, space) = boxes();
    assert_nonlinear(&velocity(), &space, |u| {
        let w = curl(&space, u);
        let lamb: Vec<Field> = (0..3)
            .map(|i| {
                let (j, k) = ((i + 1) % 3, (i + 2) % 3);
                &u[j] * &w[k] - &u[k] * &w[j]
            })
            .collect();
        projected(&space, &lamb)
    });
    let [_, n] = direct(&velocity(), &space, K, &random_state(&velocity(), &space));
    let divergence = (0..3).map(|i| derivative(&space, &n[i], i)).reduce(|a, b| a + b).unwrap();
    assert!(largest(&[divergence]) < ROUND_OFF * largest(&n));
    assert!(n.iter().all(|n| n.mean().unwrap().abs() < ROUND_OFF), "mean velocity keeps");
}

#[test]
fn exact_flows_have_no_nonlinear_term() {
    let plane = Grid::cube(2, 12, TAU).unwrap();
    let at =
        |i: IxDyn, grid: &Grid| [0, 1, 2].map(|a| if a < grid.dim() { i[a] as f64 * grid.spacing(a) } else { 0.0 });
    let vortices = NavierStokes2d::decaying(0.1);
    let w = Field::from_shape_fn(plane.shape(), |i| {
        let [x, y, _] = at(i, &plane);
        vortices.taylor_green(2.0, [x, y], 0.0)
    });
    let [_, n] = direct(&vortices, &plane, 5, &[w]);
    assert!(largest(&n) < ROUND_OFF, "Taylor-Green");

    let space = Grid::cube(3, 8, TAU).unwrap();
    let flow = NavierStokes3d::decaying(0.1);
    let u: Vec<Field> = (0..3)
        .map(|c| Field::from_shape_fn(space.shape(), |i| flow.abc_flow([1.0, 0.7, 0.4], 1.0, at(i, &space), 0.0)[c]))
        .collect();
    assert!(difference(&curl(&space, &u), &u) < ROUND_OFF, "Beltrami");
    let [linear, n] = direct(&flow, &space, 3, &u);
    assert!(largest(&n) < ROUND_OFF, "ABC");
    assert!(difference(&linear, &[-0.1 * &u[0], -0.1 * &u[1], -0.1 * &u[2]]) < ROUND_OFF);
}

#[test]
fn invariants_of_exact_flows_have_their_known_values() {
    let value = |invariants: &[Invariant], name: &str, snapshot: &Snapshot| {
        invariants.iter().find(|i| i.name() == name).map(|i| i.value(snapshot)).unwrap()
    };
    let plane = Grid::cube(2, 12, TAU).unwrap();
    let vortices = NavierStokes2d::decaying(0.1);
    let x = plane.coordinates(0);
    let w = Field::from_shape_fn(IxDyn(&[1, 12, 12]), |i| vortices.taylor_green(2.0, [x[i[1]], x[i[2]]], 0.0));
    let snapshot = Snapshot::new(&vortices, &plane, w.view()).unwrap();
    // omega = 2 k cos cos and k = 2: Z = k^2 / 2, E = Z / (2 k^2).
    assert!((value(&vortices.invariants(), "energy", &snapshot) - 0.25).abs() < 1e-14);
    assert!((value(&vortices.invariants(), "enstrophy", &snapshot) - 2.0).abs() < 1e-14);

    let space = Grid::cube(3, 8, TAU).unwrap();
    let (flow, x) = (NavierStokes3d::decaying(0.1), space.coordinates(0));
    let u = Field::from_shape_fn(IxDyn(&[3, 8, 8, 8]), |i| {
        flow.abc_flow([1.0, 0.7, 0.4], 2.0, [x[i[1]], x[i[2]], x[i[3]]], 0.0)[i[0]]
    });
    let snapshot = Snapshot::new(&flow, &space, u.view()).unwrap();
    // E = (A^2 + B^2 + C^2) / 2, and curl u = 2 u.
    assert!((value(&flow.invariants(), "energy", &snapshot) - 0.825).abs() < 1e-14);
    assert!((value(&flow.invariants(), "helicity", &snapshot) - 3.3).abs() < 1e-14);

    assert!(Snapshot::new(&flow, &plane, w.view()).is_err(), "a state of other shape is refused");
}

#[test]
fn laminar_flows_are_steady() {
    fn residual<P: Pde>(pde: &P, grid: &Grid, laminar: impl Fn([f64; 3], usize) -> f64) -> f64 {
        let at = |i: IxDyn| [0, 1, 2].map(|a| if a < grid.dim() { i[a] as f64 * grid.spacing(a) } else { 0.0 });
        let state: Vec<Field> =
            (0..P::CHANNELS).map(|c| Field::from_shape_fn(grid.shape(), |i| laminar(at(i), c))).collect();
        assert!(largest(&state) > 1.0);
        let [linear, nonlinear] = direct(pde, grid, 3, &state);
        let total: Vec<Field> = (0..P::CHANNELS)
            .map(|c| {
                let f = Field::from_shape_fn(grid.shape(), |i| pde.forcing(c, at(i)).unwrap_or(0.0));
                &linear[c] + &nonlinear[c] + f
            })
            .collect();
        largest(&total)
    }
    let plane = Grid::new(&[8, 12], &[4.0, 7.0]).unwrap();
    let flow = NavierStokes2d { mean_flow: [0.6, -0.2], ..NavierStokes2d::kolmogorov(0.1, 0.3, 1.3, 2, 7.0) };
    assert!(residual(&flow, &plane, |x, _| flow.laminar([x[0], x[1]])) < ROUND_OFF);
    let unit = Grid::cube(2, 8, 1.0).unwrap();
    let flow = NavierStokes2d::fno(1e-3);
    assert!(residual(&flow, &unit, |x, _| flow.laminar([x[0], x[1]])) < ROUND_OFF);
    let space = Grid::new(&[8, 8, 8], &[4.0, 5.0, 7.0]).unwrap();
    let flow = NavierStokes3d::kolmogorov(0.1, 1.3, 1, 5.0);
    assert!(residual(&flow, &space, |x, c| flow.laminar(x)[c]) < ROUND_OFF);
}

#[test]
fn kuramoto_sivashinsky_scalings_are_one_flow() {
    let (length, n) = (22.0, 16);
    let (long, fixed) = (Grid::new(&[n], &[length]).unwrap(), Grid::new(&[n], &[TAU]).unwrap());
    let rate = |[linear, nonlinear]: [Vec<Field>; 2]| &linear[0] + &nonlinear[0];
    let v = random_state(&KuramotoSivashinsky::unit(), &fixed);

    // The same samples are v on the fixed box and u = v / amplitude on the long one, and u_t = v_tau time / amplitude.
    let pde = KuramotoSivashinsky::fixed_box(length);
    let units = pde.units();
    let v_tau = rate(direct(&pde, &fixed, 5, &v));
    let u_t = rate(direct(&KuramotoSivashinsky::unit(), &long, 5, &[&v[0] / units.amplitude]));
    assert!((length * units.length - TAU).abs() < 1e-14);
    assert!(difference(&[u_t], &[v_tau * (units.time / units.amplitude)]) < ROUND_OFF);

    let pde = KuramotoSivashinskyIntegral::fixed_box(length);
    let units = pde.units();
    let g_tau = rate(direct(&pde, &fixed, 5, &v));
    let h_t = rate(direct(&KuramotoSivashinskyIntegral::unit(), &long, 5, &v));
    assert!(difference(std::slice::from_ref(&h_t), &[g_tau * units.time]) < ROUND_OFF);

    // u = h_x.
    let u = derivative(&long, &v[0], 0);
    let u_t = rate(direct(&KuramotoSivashinsky::unit(), &long, 5, &[u]));
    assert!(difference(&[u_t], &[derivative(&long, &h_t, 0)]) < ROUND_OFF);
}

#[test]
fn exact_waves_satisfy_their_equations() {
    // d/dt by central differences of order 4 with step 1e-3: relative error about 1e-12 * frequency^5 plus round-off 1e-13.
    fn residual<P: Pde>(pde: &P, grid: &Grid, exact: impl Fn(f64, f64) -> Complex64) -> f64 {
        let (x, t, h) = (grid.coordinates(0), 0.3, 1e-3);
        let sample = |t: f64| -> Vec<Field> {
            let z: Vec<Complex64> = x.iter().map(|&x| exact(x, t)).collect();
            let re = z.iter().map(|z| z.re).collect::<ndarray::Array1<f64>>().into_dyn();
            let im = z.iter().map(|z| z.im).collect::<ndarray::Array1<f64>>().into_dyn();
            vec![re, im]
        };
        let [a, b, c, d] = [h, -h, 2.0 * h, -2.0 * h].map(|h| sample(t + h));
        let [linear, nonlinear] = direct(pde, grid, (grid.shape()[0] as i64 - 1) / 2, &sample(t));
        let rates: Vec<Field> = (0..2).map(|i| (8.0 * (&a[i] - &b[i]) - (&c[i] - &d[i])) / (12.0 * h)).collect();
        assert!(largest(&rates) > 0.1);
        difference(&rates, &[&linear[0] + &nonlinear[0], &linear[1] + &nonlinear[1]])
    }
    let ring = Grid::new(&[16], &[TAU * 2.0]).unwrap();
    let cgl = GinzburgLandau { c1: 1.4, c3: -0.6 };
    assert!(residual(&cgl, &ring, |x, t| cgl.plane_wave(0.5, x, t)) < 1e-10);
    let nls = NonlinearSchroedinger { dispersion: 0.7, cubic: 1.9 };
    assert!(residual(&nls, &ring, |x, t| nls.plane_wave(0.8, 1.5, x, t)) < 1e-10);
    // The tails are exp(-30) at the seam and in the spectrum; the phase c x / 2 d must have the period of the box.
    let wide = Grid::new(&[384], &[60.0]).unwrap();
    let c = 2.0 * nls.dispersion * TAU / 60.0 * 3.0;
    let centred = |x: f64, t: f64| nls.bright_soliton(1.0, c, x - 30.0, t);
    assert!(residual(&nls, &wide, centred) < 1e-9);
}

#[test]
fn allen_cahn_profiles_satisfy_the_equation() {
    let pde = AllenCahn::new(0.02, 3.0);
    let h = 1e-3;
    for x in [-0.3, 0.05, 0.2] {
        // Central differences: error h^2 u'''' / 12 with u'''' about 1e4.
        let [left, u, right] = [x - h, x, x + h].map(|x| pde.front(x));
        assert!((pde.eps2 * (right - 2.0 * u + left) / (h * h) + pde.r * (u - u.powi(3))).abs() < 1e-3);
        let [before, u, after] = [-h, 0.0, h].map(|dt| pde.homogeneous(0.4, 0.2 + dt));
        assert!(((after - before) / (2.0 * h) - pde.r * (u - u.powi(3))).abs() < 1e-4);
    }
}
