//! Whatever stops a run, what was finished is kept, and a resumed file has the content of an uninterrupted one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parseval::data::{Dataset, diff::diff};
use proptest::prelude::*;

const SIMULATE: &str = env!("CARGO_BIN_EXE_simulate");

/// Twelve samples of some 20 ms each.
const RECIPE: &str = r#"
[dataset]
name = "ks"
samples = 12
[equation]
id = "kuramoto_sivashinsky"
[grid]
n = 64
length = 22
[initial]
kind = "random_fourier"
cut = 4
[time]
dt = 0.02
t_end = 150
save_every = 1
"#;

fn start(folder: &Path, out: &str, more: &[&str]) -> Child {
    Command::new(SIMULATE)
        .args(["ks.toml", "--quiet", "--out", out])
        .args(more)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ks.toml"), RECIPE).unwrap();
    folder
}

/// Asserts that two files hold the same numbers, bit for bit, and the same seeds.
fn assert_same_content(a: &Path, b: &Path) {
    let [a, b] = [a, b].map(|path| Dataset::open(path, None).unwrap());
    assert!(a.complete().iter().chain(b.complete()).all(|c| *c));
    assert_eq!(a.sample_seeds(), b.sample_seeds());
    assert_eq!(a.error_curves(), b.error_curves());
    assert_eq!(a.error_curves().len(), 1);
    let difference = diff(&a, &b).unwrap();
    assert!(difference.fields.iter().flat_map(|f| &f.max).all(|max| *max == 0.0));
}

#[test]
fn a_killed_run_resumes_to_the_same_content() {
    let folder = folder();
    let folder = folder.path();
    let begin = Instant::now();
    assert!(start(folder, "whole.hdf5", &[]).wait().unwrap().success());
    let whole = begin.elapsed();
    // Moments from the first instruction to the last write, in an order that visits early and late ones.
    for (attempt, share) in [0.02, 0.9, 0.3, 0.6, 0.1, 0.75].into_iter().enumerate() {
        let out = format!("killed{attempt}.hdf5");
        let mut killed = 0;
        for round in 0..40 {
            let mut child = start(folder, &out, &["--resume", "--threads", if round % 2 == 0 { "1" } else { "2" }]);
            std::thread::sleep(whole.mul_f64(share));
            if child.try_wait().unwrap().is_some_and(|status| status.success()) {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
            if folder.join(&out).exists() {
                // A reader can open the file at any time.
                Dataset::open(&folder.join(&out), None).unwrap();
            }
            if killed == 3 {
                break;
            }
        }
        assert!(start(folder, &out, &["--resume"]).wait().unwrap().success());
        assert_same_content(&folder.join("whole.hdf5"), &folder.join(&out));
    }
}

#[cfg(unix)]
#[test]
fn signals_end_the_run_after_the_current_samples() {
    let folder = folder();
    let folder = folder.path();
    assert!(start(folder, "whole.hdf5", &[]).wait().unwrap().success());
    for (signal, out) in [(libc::SIGINT, "int.hdf5"), (libc::SIGTERM, "term.hdf5")] {
        let long = ["--threads", "1", "--resume", "--samples", "12"];
        let mut child = start(folder, out, &long);
        // The file appears before the first sample is computed.
        let begin = Instant::now();
        while !folder.join(out).exists() && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: the child is ours and has not been waited for, so its id is not reused.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let complete = Dataset::open(&folder.join(out), None).unwrap().complete().iter().filter(|c| **c).count();
        assert!(complete < 12, "the run was over before the signal came");
        assert!(start(folder, out, &["--resume"]).wait().unwrap().success());
        assert_same_content(&folder.join("whole.hdf5"), &folder.join(out));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_a_recipe_panic(text in ".{0,300}", key in "[a-z.]{0,20}", value in ".{0,30}") {
        let _ = parseval::simulate::Recipe::parse(&text, &[format!("{key}={value}")]);
    }

    /// Values of all types at all places of a good recipe, small enough to be simulated at once where they are legal.
    #[test]
    fn no_value_makes_a_simulation_panic(place in 0..PLACES.len(), value in 0..VALUES.len()) {
        let set = format!("{}={}", PLACES[place], VALUES[value]);
        if let Ok(recipe) = parseval::simulate::Recipe::parse(RECIPE, &[set]) {
            if let Ok(simulation) = parseval::simulate::Simulation::new(recipe, Path::new(".")) {
                prop_assert!(simulation.times().len() > 1);
            }
        }
    }
}

const PLACES: [&str; 21] = [
    "dataset.name",
    "dataset.samples",
    "dataset.seed",
    "dataset.title",
    "dataset",
    "equation.id",
    "equation.nu",
    "equation.forcing",
    "equation",
    "grid.n",
    "grid.length",
    "grid.dim",
    "initial.kind",
    "initial.cut",
    "initial.amplitude",
    "initial.max",
    "time.dt",
    "time.t_end",
    "time.save_every",
    "output.stride",
    "accuracy.samples",
];

const VALUES: [&str; 30] = [
    "0",
    "1",
    "2",
    "-1",
    "7",
    "64",
    "1e-300",
    "1e300",
    "nan",
    "inf",
    "-inf",
    "0.1",
    "''",
    "'x'",
    "'2 pi'",
    "'pi'",
    "'infpi'",
    "'navier_stokes_2d'",
    "'burgers'",
    "'kolmogorov'",
    "'taylor_green'",
    "'mcwilliams'",
    "[]",
    "[4]",
    "[8,8]",
    "[8,8,8,8]",
    "['x']",
    "{}",
    "{kind = 'none'}",
    "true",
];
