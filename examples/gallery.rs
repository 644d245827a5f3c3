//! Writes one figure of every kind into a folder: `cargo run --release --example gallery -- FOLDER`.
//!
//! The data are synthetic.

use std::f64::consts::{PI, TAU};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ndarray::{Array1, Array2};
use parseval::plot::{Axis, Curve, Figure, HeatMap, LinePlot, Panel, Quantity, Slope, Stroke, Symbol, animate};

/// Vorticity of a few vortices of either sign that turn about the centre.
fn vorticity(n: usize, t: f64) -> Array2<f64> {
    Array2::from_shape_fn((n, n), |(i, j)| {
        let [x, y] = [i, j].map(|i| TAU * i as f64 / n as f64 - PI);
        let vortex = |v: u32| {
            let angle = t + TAU * f64::from(v) / 5.0;
            let [dx, dy] = [x - 1.7 * angle.cos(), y - 1.7 * angle.sin()];
            let sign = if v.is_multiple_of(2) { 5.0 } else { -4.0 };
            sign * (-(2.0 - dx.cos() - dy.cos()) / 0.16).exp()
        };
        (0..5).map(vortex).sum::<f64>() + 0.4 * (3.0 * x + t).sin() * (4.0 * y).cos()
    })
}

/// A space-time pattern, `[time, x]`.
fn waves() -> Array2<f64> {
    Array2::from_shape_fn((300, 256), |(t, x)| {
        let (t, x) = (t as f64 / 299.0 * 150.0, x as f64 / 256.0 * 32.0 * PI);
        2.2 * ((0.75 * x + 2.0 * (0.06 * t).sin()).sin() * (0.5 + 0.5 * (0.0625 * x - 0.04 * t).cos())
            + 0.3 * (x - 0.3 * t).cos())
    })
}

fn spectrum() -> LinePlot {
    let k: Vec<f64> = (1..=128).map(f64::from).collect();
    let energy = |tail: f64| -> Vec<f64> {
        k.iter().map(|k| 3e-2 * k.powi(4) / (1.0 + (k / 5.0).powi(7)) * (-(k / tail).powi(2)).exp()).collect()
    };
    LinePlot::new(Axis::new("k").log(), Axis::new("E(k)").unit("m³/s²").log().limits(1e-8, 1e2))
        .curve(Curve::new(&k, &energy(90.0), "DNS 1024²"))
        .curve(Curve::new(&k, &energy(60.0), "learned 64²").stroke(Stroke::Dashed))
        .slope(Slope::new("k", -3.0, [12.0, 60.0], 8.0))
        .vertical(85.0, "2/3 cut-off")
}

fn errors() -> LinePlot {
    let t = Array1::linspace(0.0, 20.0, 81).to_vec();
    let seeds = |rate: f64, start: f64| {
        Array2::from_shape_fn((9, t.len()), |(s, j)| {
            let wobble = (s as f64 * 2.4).sin() * 0.6 + 0.1 * (t[j] * (1.0 + s as f64)).sin();
            (start * (rate * t[j] + wobble).exp()).min(1.3)
        })
    };
    LinePlot::new(Axis::new("t").unit("s"), Axis::new("relative L² error").log())
        .curve(Curve::quantiles(&t, seeds(0.45, 1e-3).view(), "FNO"))
        .curve(Curve::quantiles(&t, seeds(0.4, 1e-5).view(), "hybrid"))
        .curve(Curve::quantiles(&t, seeds(0.42, 1e-8).view(), "ETDRK4"))
}

fn cost() -> LinePlot {
    let axes = LinePlot::new(Axis::new("wall time").unit("ms").log(), Axis::new("error").log());
    axes.curve(Curve::new(&[0.2, 0.9, 4.1, 19.0], &[2e-1, 1e-2, 6e-4, 4e-5], "finite volumes").symbol(Symbol::Square))
        .curve(Curve::new(&[0.3, 1.0, 3.8, 16.0], &[5e-2, 4e-4, 2e-7, 3e-11], "spectral").symbol(Symbol::Circle))
        .curve(
            Curve::new(&[0.15, 0.5, 2.0], &[3e-2, 9e-3, 2e-3], "learned").symbol(Symbol::Triangle).stroke(Stroke::None),
        )
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("give the folder for the figures")?);
    std::fs::create_dir_all(&folder)?;
    let save = |name: &str, figure: &Figure| -> Result<()> {
        figure.save(folder.join(format!("{name}.png")))?;
        Ok(figure.save(folder.join(format!("{name}.svg")))?)
    };

    let field =
        |t: f64| HeatMap::field(vorticity(128, t).view(), [TAU, TAU], Quantity::Signed).smooth().label("ω (1/s)");
    let space_time = HeatMap::space_time(waves().view(), 32.0 * PI, [0.0, 150.0], Quantity::Signed).label("u(x, t)");
    save("field", &Figure::single_column().row([field(0.3)]))?;
    save("spectrum", &Figure::single_column().row([spectrum()]))?;

    let mut prediction = field(0.0);
    prediction.values = 0.98 * vorticity(128, 0.03);
    save("triptych", &Figure::triptych(field(0.0), prediction)?)?;

    let times = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8];
    save("snapshots", &Figure::snapshots(times.map(|t| field(t).title(format!("t = {t:.1} s"))).into(), 4)?)?;

    let mut gaps = HeatMap::field(vorticity(24, 0.0).mapv(|w| 3e-5 * w * w).view(), [1.0, 1.0], Quantity::Positive);
    gaps.label = "enstrophy (1/s²)".into();
    gaps.values.slice_mut(ndarray::s![3..6, 10..14]).fill(f64::NAN);
    let mixed = Figure::double_column()
        .row([Panel::from(field(1.0).title("vorticity")), spectrum().title("spectrum").into()])
        .row([Panel::from(errors().title("error, quartiles of 9 seeds")), cost().title("accuracy per cost").into()])
        .row([Panel::from(gaps.title("positive, with gaps")), Panel::from(space_time.title("space-time diagram"))]);
    save("mixed", &mixed.lettered())?;

    let t = Array1::linspace(0.0, 4e5, 200).to_vec();
    let energy: Vec<f64> = t.iter().map(|t: &f64| 1e-4 * (1.0 + 1e-2 * (t / 3e4).sin())).collect();
    let energy = LinePlot::new(Axis::new("t").unit("s"), Axis::new("energy")).curve(Curve::new(&t, &energy, ""));
    save("factors", &Figure::single_column().row([energy]).title("Common factors"))?;

    let frames: Vec<_> = (0..40).map(|j| vorticity(256, TAU / 5.0 * f64::from(j) / 40.0)).collect();
    let views: Vec<_> = frames.iter().map(|f| f.view()).collect();
    let times: Vec<f64> = (0..40).map(|j| 0.05 * f64::from(j)).collect();
    let start = std::time::Instant::now();
    animate(
        folder.join("vortices.gif"),
        &field(0.0).with_values(frames[0].view()),
        &views,
        &times,
        Default::default(),
    )?;
    println!("40 frames of 256² in {:.2?}", start.elapsed());
    Ok(())
}
