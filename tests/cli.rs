//! The programs as a user meets them: help, messages, exit codes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SIMULATE: &str = env!("CARGO_BIN_EXE_simulate");
const DATASET: &str = env!("CARGO_BIN_EXE_dataset");
const PLOT: &str = env!("CARGO_BIN_EXE_plot");
const QUICKSTART: &str = env!("CARGO_BIN_EXE_quickstart");

const RECIPE: &str = r#"
[dataset]
name = "tiny"
samples = 3
[equation]
id = "kuramoto_sivashinsky"
[grid]
n = 32
length = 22
[initial]
kind = "random_fourier"
cut = 4
[time]
dt = 0.1
t_end = 2
save_every = 0.5
"#;

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(folder).output().expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Exit code and standard error.
fn failure(output: &Output) -> String {
    format!("{} {}", output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).trim_end())
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn help_is_stable() {
    let here = Path::new(".");
    insta::assert_snapshot!("simulate_help", stdout(&run(SIMULATE, here, &["--help"])));
    insta::assert_snapshot!("dataset_help", stdout(&run(DATASET, here, &["--help"])));
    insta::assert_snapshot!("plot_help", stdout(&run(PLOT, here, &["--help"])));
    insta::assert_snapshot!("quickstart_help", stdout(&run(QUICKSTART, here, &["--help"])));
}

#[test]
fn bad_recipes_are_refused_with_the_key_at_fault() {
    let (_guard, folder) = folder();
    let mut messages = String::new();
    for set in [
        "time.dtt=1",
        "time.dt=fast",
        "time.dt=-0.1",
        "time.dt=nan",
        "time.dt=0.3",
        "time.t_end=0.7",
        "time.scheme=etdrk5",
        "tiem.dt=1",
        "equation.id=kuramoto",
        "equation.nu=-1",
        "equation.mu=1",
        "equation.id=navier_stokes_2d",
        "grid.n=3",
        "grid.n=[32,32]",
        "grid.n=many",
        "grid.length=-22",
        "grid.length=2 pie",
        "dataset.samples=0",
        "dataset.samples=-3",
        "dataset.name=../evil",
        "dataset.seed=-1",
        "initial.kind=solitons",
        "initial.cut=100",
        "initial.amplitude=cubic",
        "output.precision=f16",
        "output.stride=5",
        "accuracy=1",
        "time.dt",
        "=",
    ] {
        let output = run(SIMULATE, &folder, &["tiny.toml", "--set", set]);
        messages += &format!("{set:<30} {}\n", failure(&output));
    }
    insta::assert_snapshot!("bad_recipes", messages);
}

#[test]
fn files_that_are_not_there_or_not_right_are_bad_input() {
    let (_guard, folder) = folder();
    fs::write(folder.join("binary.toml"), [0xff, 0xfe, 0x00]).unwrap();
    fs::write(folder.join("broken.toml"), "[dataset\nname = 1").unwrap();
    fs::write(folder.join("text.hdf5"), "not HDF5").unwrap();
    // Shape (7,) where 32 points are needed: header of NumPy's format 1.0.
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (7,), }".to_vec();
    npy.resize(127, b' ');
    npy.push(b'\n');
    npy.extend([0; 56]);
    fs::write(folder.join("seven.npy"), npy).unwrap();
    let from_file = |path: &str| format!("initial={{kind = 'file', path = '{path}'}}");
    let mut messages = String::new();
    for (program, arguments) in [
        (SIMULATE, vec!["nothing.toml"]),
        (SIMULATE, vec!["binary.toml"]),
        (SIMULATE, vec!["broken.toml"]),
        (SIMULATE, vec!["tiny.toml", "--set", &from_file("nothing.npy")]),
        (SIMULATE, vec!["tiny.toml", "--set", &from_file("seven.npy")]),
        (SIMULATE, vec!["tiny.toml", "--set", &from_file("text.hdf5")]),
        (DATASET, vec!["info", "nothing.hdf5"]),
        (DATASET, vec!["check", "text.hdf5"]),
        (DATASET, vec!["info", "tiny.toml"]),
        (PLOT, vec!["nothing.hdf5"]),
    ] {
        messages += &format!("{} => {}\n", arguments.join(" "), failure(&run(program, &folder, &arguments)));
    }
    insta::assert_snapshot!("bad_files", messages);
}

#[test]
fn a_data_set_is_simulated_checked_compared_and_drawn() {
    let (_guard, folder) = folder();
    let output = run(SIMULATE, &folder, &["tiny.toml", "--json"]);
    assert_eq!(failure(&output), "0 ");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["samples"], &report["computed"]), (&3.into(), &3.into()));
    // The start sets off transients of rate 60 in the highest modes, for which dt = 0.1 is coarse: 1.1e-3 was measured.
    assert!(report["accuracy"][0]["error_time"].as_f64().unwrap() < 5e-3);

    // The same command again does not touch the file.
    let again = run(SIMULATE, &folder, &["tiny.toml"]);
    assert_eq!(
        failure(&again),
        "2 error: --out = out/tiny.hdf5 is not allowed: exists already: add --resume to go on with it, or remove it"
    );
    let other = run(SIMULATE, &folder, &["tiny.toml", "--resume", "--seed", "1"]);
    assert_eq!(other.status.code(), Some(2));
    assert_eq!(run(SIMULATE, &folder, &["tiny.toml", "--resume"]).status.code(), Some(0));

    let threads = run(SIMULATE, &folder, &["tiny.toml", "--threads", "1", "--out", "one.hdf5", "--quiet"]);
    assert_eq!(failure(&threads), "0 ");
    let seed = run(SIMULATE, &folder, &["tiny.toml", "--seed", "9", "--out", "nine.hdf5", "--quiet"]);
    assert_eq!(failure(&seed), "0 ");
    let check = run(DATASET, &folder, &["check", "out/tiny.hdf5"]);
    assert_eq!((failure(&check).as_str(), stdout(&check).lines().last().unwrap()), ("0 ", "out/tiny.hdf5: sound"));
    assert_eq!(run(DATASET, &folder, &["diff", "out/tiny.hdf5", "one.hdf5"]).status.code(), Some(0));
    assert_eq!(run(DATASET, &folder, &["diff", "out/tiny.hdf5", "nine.hdf5"]).status.code(), Some(1));
    let info = run(DATASET, &folder, &["info", "out/tiny.hdf5", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&stdout(&info)).unwrap();
    assert_eq!((&info["complete"], &info["frames"]), (&3.into(), &5.into()));
    let convert = run(DATASET, &folder, &["convert", "out/tiny.hdf5", "copy.hdf5", "--quiet"]);
    assert_eq!(failure(&convert), "0 ");
    assert_eq!(run(DATASET, &folder, &["diff", "out/tiny.hdf5", "copy.hdf5"]).status.code(), Some(0));
    let plot = run(PLOT, &folder, &["out/tiny.hdf5", "--out", "figures", "--kind", "field,spectrum,errors"]);
    assert_eq!(failure(&plot), "0 ");
    assert_eq!(stdout(&plot).lines().count(), 6);
    for figure in stdout(&plot).lines() {
        assert!(folder.join(figure).exists());
    }
}

#[test]
fn a_blow_up_names_sample_step_and_time_and_keeps_the_file() {
    let (_guard, folder) = folder();
    // Burgers with a step far beyond the stability limit of the nonlinear term.
    let sets = ["equation={id = 'burgers', nu = 0.0}", "time={dt = 2.0, t_end = 200.0, save_every = 2.0}"];
    let output =
        run(SIMULATE, &folder, &["tiny.toml", "--quiet", "--threads", "1", "--set", sets[0], "--set", sets[1]]);
    assert_eq!(output.status.code(), Some(1));
    let message = failure(&output);
    assert!(message.contains("out/tiny.hdf5 is kept; to go on, repeat the command with --resume"), "{message}");
    assert!(message.contains("solution became non-finite in sample 0 at step "), "{message}");
    assert!(folder.join("out/tiny.hdf5").exists());
}

#[test]
fn the_dry_run_prints_a_recipe_that_means_the_same() {
    let (_guard, folder) = folder();
    let first = run(SIMULATE, &folder, &["tiny.toml", "--dry-run", "--set", "grid.length=7 pi"]);
    fs::write(folder.join("resolved.toml"), &first.stdout).unwrap();
    let second = run(SIMULATE, &folder, &["resolved.toml", "--dry-run"]);
    assert_eq!(failure(&second), "0 ");
    assert_eq!(stdout(&first), stdout(&second));
    assert!(!folder.join("out").exists());
}

#[test]
fn every_recipe_in_the_repository_is_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
    let small = folder.join("small");
    let mut recipes = 0;
    for folder in [&folder, &small] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let output = run(SIMULATE, folder, &[path.to_str().unwrap(), "--dry-run"]);
                assert_eq!(failure(&output), "0 ", "{}", path.display());
                recipes += 1;
            }
        }
    }
    assert_eq!(recipes, 38);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let (_guard, folder) = folder();
    for (program, arguments) in [
        (SIMULATE, vec!["tiny.toml", "--dry-run"]),
        (SIMULATE, vec!["--help"]),
        (SIMULATE, vec!["tiny.toml", "--quiet"]),
        (DATASET, vec!["info", "out/tiny.hdf5"]),
    ] {
        let mut child = Command::new(program)
            .args(&arguments)
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!((child.wait().unwrap().code(), message.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
