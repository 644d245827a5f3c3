//! The program `causal_pinn` on small configurations.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn preset(name: &str) -> PathBuf {
    // Relative to this file, as the compiler was given it.
    Path::new(file!()).parent().expect("a folder").join("../experiments/causal_pinn").join(format!("{name}.toml"))
}

fn run(out: &Path, name: &str, command: &str, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_causal_pinn"));
    program.arg(command).arg(preset(name)).arg("--out").arg(out).args(["--threads", "1", "--quiet"]).args(more);
    program.output().expect("the program starts")
}

fn succeed(out: &Path, name: &str, command: &str, more: &[&str]) -> String {
    let output = run(out, name, command, more);
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn errors(results: &Value) -> Vec<f64> {
    let seeds = results["seeds"].as_array().expect("a list");
    seeds.iter().map(|seed| seed["relative_l2"].as_f64().unwrap_or(f64::NAN)).collect()
}

#[test]
fn small_problems_are_solved_evaluated_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    // Measured over seeds: 6e-5, 3e-5, 1e-5, 4e-6 and 4e-5.
    for (name, bound) in [
        ("small_burgers", 1e-3),
        ("small_ks", 1e-3),
        ("small_allen_cahn", 3e-4),
        ("small_lorenz", 1e-4),
        ("small_ns", 1e-3),
    ] {
        let out = dir.path().join(name);
        let error = errors(&json(&succeed(&out, name, "train", &["--json"])))[0];
        assert!(error < bound, "{name}: {error}");
    }
    let out = dir.path().join("small_burgers");
    assert!(out.join("report.html").exists());
    // A run that is there is not written over.
    assert_eq!(run(&out, "small_burgers", "train", &[]).status.code(), Some(2));

    let at = ["--at", "0.25,0.3", "--at", "-0.25,0.3", "--json"];
    let points = json(&succeed(&out, "small_burgers", "evaluate", &at));
    assert_eq!(points["components"], serde_json::json!(["u", "u_x", "u_xx", "u_t"]));
    let jet = |point: usize| -> Vec<f64> {
        let derivatives = points["points"][point]["derivatives"].as_array().expect("numbers");
        derivatives.iter().map(|u| u.as_f64().expect("a number")).collect()
    };
    let (right, left) = (jet(0), jet(1));
    // Odd to the rounding of numbers of size 1, and a solution of u_t = -u u_x + 0.1 u_xx to the held-out residual, 1e-3.
    assert!((right[0] + left[0]).abs() < 1e-14, "{right:?} {left:?}");
    assert!((right[3] + right[0] * right[1] - 0.1 * right[2]).abs() < 2e-2, "{right:?}");

    let flow = json(&succeed(&dir.path().join("small_ns"), "small_ns", "evaluate", &["--at", "1,2,0.1", "--json"]));
    let values: Vec<f64> = flow["points"][0]["values"]
        .as_array()
        .expect("numbers")
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect();
    let [_, u, v, _, omega_x, omega_y, lap_omega, omega_t] = values[..] else { panic!("{values:?}") };
    // The held-out residual is 3e-4.
    assert!((omega_t + u * omega_x + v * omega_y - 0.05 * lap_omega).abs() < 5e-3, "{values:?}");

    succeed(&out, "small_burgers", "export", &[]);
    let csv = std::fs::read_to_string(out.join("seed-0000/metrics.csv")).unwrap();
    assert!(csv.lines().count() > 80 && csv.contains("residual"), "{csv}");
}

#[test]
fn stopped_trainings_of_both_methods_resume_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let causal = ["--method", "causal", "--set", "causal.steps=150", "--set", "causal.times=4", "--set"];
    let causal = [&causal[..], &["causal.points=8", "--set", "causal.check_every=50"]].concat();
    for (name, preset, more) in
        [("default", "small_ks", vec![]), ("causal", "small_ks", causal), ("plane", "small_ns", vec![])]
    {
        let (whole, parts) = (dir.path().join(name), dir.path().join(format!("{name}-parts")));
        succeed(&whole, preset, "train", &more);
        succeed(&parts, preset, "train", &[&more[..], &["--max-wall", "0.03s"]].concat());
        let solution = |out: &Path| std::fs::read(out.join("seed-0000/solution.safetensors"));
        assert!(solution(&parts).is_err(), "{name}: was not stopped");
        succeed(&parts, preset, "train", &[&more[..], &["--resume"]].concat());
        assert!(solution(&whole).unwrap() == solution(&parts).unwrap(), "{name}");
    }
}

#[test]
fn an_unknown_coefficient_is_found_with_its_uncertainty() {
    let dir = tempfile::tempdir().unwrap();
    let inverse = "inverse={unknown=['nu'],guess=[0.3],samples=100,noise=0.01,weight=1.0}";
    let more = ["--json", "--set", inverse, "--set", "ansatz.lifting=state", "--set", "march.ends=[0.5]"];
    let results = json(&succeed(dir.path(), "small_burgers", "train", &more));
    let coefficients = &results["seeds"][0]["coefficients"];
    let [nu, deviation] = ["nu", "nu, standard deviation"].map(|name| coefficients[name].as_f64().expect("a number"));
    // One percent of noise in a hundred samples.
    assert!(deviation > 1e-5 && deviation < 5e-3, "{coefficients}");
    assert!((nu - 0.1).abs() < 5.0 * deviation, "{coefficients}");
}

#[test]
fn bad_input_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, values: Vec<f64>| {
        let path = dir.path().join(name);
        ndarray_npy::write_npy(&path, &ndarray::Array1::from(values)).unwrap();
        format!("initial={{kind=\"file\",path={:?}}}", path.to_str().expect("a folder in plain letters"))
    };
    let ramp = write("ramp.npy", (0..64).map(f64::from).collect());
    let hole = write("hole.npy", (0..64).map(|j| if j == 7 { f64::NAN } else { 1.0 }).collect());
    let fifth = "equation={kind=\"polynomial\",fields=1,terms=[{coefficient=1.0,factors=[[0,5]]}]}";
    let order = "equation={kind=\"lorenz\",sigma=10.0,rho=28.0,beta=2.0}";
    for (assignment, message) in [
        ("equation.kind=heat", "equation.kind: unknown name `heat`"),
        ("equation.mu=1.0", "equation: unknown key `mu`, did you mean `nu`?"),
        ("marhc.points=1", "unknown key `marhc`, did you mean `march`?"),
        (fifth, "order of a factor = 5 is not allowed: must be at most 4"),
        (order, "interval = given is not allowed: must be absent"),
        (&ramp, "must be periodic and resolved"),
        (&hole, "value of a state = NaN is not allowed: must be finite"),
        ("initial={kind=\"file\",path=\"none.npy\"}", "none.npy"),
        ("march.ends=[0.5,0.25]", "march.ends = [0.5, 0.25] is not allowed: must be positive and ascending"),
        ("network.width=0", "width = 0 is not allowed"),
        ("march.features={state={}}", "march.features = state is not allowed: must be uniform unless"),
        ("march.features={state={width=1.0}}", "unknown key `width`"),
        ("inverse={unknown=['mu'],guess=[1.0],samples=10,weight=1.0}", "must be one of advection, nu"),
    ] {
        let output = run(&dir.path().join("run"), "small_burgers", "train", &["--set", assignment]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{assignment}: {stderr}");
        assert!(stderr.contains(message), "{assignment}: {stderr}");
    }
    for (assignment, message) in [
        ("vorticity.modes=40", "mode of a vorticity"),
        ("vorticity={kind=\"random\",seed=1,modes=0,peak=1.0,speed=1.0}", "vorticity.modes = 0 is not allowed"),
        ("initial={kind=\"cosine\"}", "initial = given is not allowed: must be absent for navier_stokes"),
        ("ansatz.lifting=none", "lifting = none is not allowed"),
        ("interval.from=1.0", "interval.from = 1 is not allowed"),
        ("equation.nu=-1.0", "nu = -1 is not allowed"),
    ] {
        let output = run(&dir.path().join("run"), "small_ns", "train", &["--set", assignment]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{assignment}: {stderr}");
        assert!(stderr.contains(message), "{assignment}: {stderr}");
    }
    let missing = run(&dir.path().join("none"), "small_burgers", "evaluate", &[]);
    assert_eq!(missing.status.code(), Some(2), "nothing was trained");
}
