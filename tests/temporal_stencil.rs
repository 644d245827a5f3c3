//! A small temporal stencil model beats the scheme without learning, resumes to the bit, and refuses bad input clearly.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use parseval::data::well::Writer;
use serde_json::Value;

fn preset(name: &str) -> PathBuf {
    // Relative to this file, as the compiler was given it.
    Path::new(file!()).parent().expect("a folder").join("../experiments/temporal_stencil").join(name)
}

fn program_of(name: &str, command: &str, out: &Path, more: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_temporal_stencil"));
    program.arg(command).arg(preset(name)).arg("--out").arg(out).args(["--threads", "1", "--quiet"]).args(more);
    program
}

fn program(command: &str, out: &Path, more: &[&str]) -> Command {
    program_of("small.toml", command, out, more)
}

fn run(command: &str, out: &Path, more: &[&str]) -> Output {
    program(command, out, more).output().expect("the program starts")
}

fn succeed(command: &str, out: &Path, more: &[&str]) -> String {
    let output = run(command, out, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_small_model_follows_the_truth_twice_as_long_as_the_scheme_without_learning() {
    let dir = tempfile::tempdir().unwrap();
    succeed("train", dir.path(), &[]);
    let results: Value = serde_json::from_str(&succeed("evaluate", dir.path(), &["--json"])).unwrap();
    let rows = results["table"]["rows"].as_array().expect("rows").clone();
    let duration = |name: &str| {
        let is_it = |row: &&Value| row["method"].as_str().is_some_and(|label| label.starts_with(name));
        rows.iter().find(is_it).unwrap_or_else(|| panic!("no row {name} in {rows:?}"))["T80"].as_f64().expect("T80")
    };
    // Measured: 17.0 against 6.9 time units; the spread over trajectories is a tenth of that.
    assert!(duration("learned, seed 0") > 2.0 * duration("no model"), "{rows:?}");
    // A perfect model of what the cells resolve is far ahead of so small a training: the rows are not mixed up.
    assert!(duration("learned, seed 0") < duration("perfect model from modes"), "{rows:?}");
    for file in ["report.html", "correlation.png", "error_cost.png", "spectrum.png", "fields.png"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn an_interrupted_training_resumes_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, cut) = (dir.path().join("whole"), dir.path().join("cut"));
    let short = ["--set", "training.steps=60", "--set", "training.log_every=1", "--set", "data.train=4"];
    succeed("train", &whole, &short);
    let mut child = program("train", &cut, &short).spawn().unwrap();
    let (begin, metrics) = (Instant::now(), cut.join("seed-0000/metrics.jsonl"));
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 15 {
        assert!(begin.elapsed() < Duration::from_secs(60), "no steps were made");
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: the child is ours and has not been waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    succeed("train", &cut, &[&short[..], &["--resume"]].concat());
    let model = |out: &Path| std::fs::read(out.join("seed-0000/checkpoints/step-00000060/model.safetensors")).unwrap();
    assert!(model(&whole) == model(&cut), "parameters differ");
}

#[test]
fn bad_input_is_refused_with_its_name_and_rule() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("scheme.cells=100", "data.points = 128 is not allowed: must be at least twice scheme.cells = 100"),
        ("data.train_time=1.0", "data.train_time = 1 is not allowed: must hold the window of the model"),
        ("model.stencil=5", "stencil = 5 is not allowed: must be even"),
        ("model.order=3", "order = 3 is not allowed: must be in 1..=1"),
        ("model.wdith=3", "wdith"),
        ("equation.length=-1.0", "length = -1 is not allowed: must be finite and > 0"),
    ];
    for (i, (set, expected)) in cases.into_iter().enumerate() {
        let output = run("train", &dir.path().join(i.to_string()), &["--set", set]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(expected), "{set}: {message}");
    }
    let output = run("evaluate", &dir.path().join("empty"), &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("empty"), "{message}");
}

#[test]
fn a_small_correction_follows_the_truth_longer_than_its_solver_also_in_flows_it_was_not_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("data.path={}", dir.path().join("data.safetensors").display());
    let run = |command: &str, more: &[&str]| {
        let more = [&["--set", &path][..], more].concat();
        program_of("small_plane.toml", command, &dir.path().join("out"), &more).output().expect("the program starts")
    };
    let succeed = |command: &str, more: &[&str]| {
        let output = run(command, more);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    // Data of other values are refused, as is what no model can be.
    let refused = |more: &[&str], expected: &str| {
        let output = run("train", more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(expected), "{more:?}: {message}");
    };
    refused(&[], "data.safetensors");
    succeed("data", &[]);
    refused(&["--set", "flow.nu=1e-3"], "run `temporal_stencil data` again");
    refused(&["--set", "model.interval=0.07"], "model.interval = 0.07 is not allowed: must be a multiple");
    refused(&["--set", "model.base=volume"], "did you mean `volumes`?");
    refused(&["--set", "model.steps=0"], "steps = 0 is not allowed: must be at least 1");
    refused(&["--set", "unroll.curriculum=[{unroll=50,share=1}]"], "unroll.curriculum = 50 is not allowed: must fit");
    succeed("train", &[]);
    let results: Value = serde_json::from_str(&succeed("evaluate", &["--json"])).unwrap();
    let t95 = |table: &Value, name: &str| {
        let rows = table["rows"].as_array().expect("rows");
        let is_it = |row: &&Value| row["method"].as_str().is_some_and(|label| label.starts_with(name));
        rows.iter().find(is_it).unwrap_or_else(|| panic!("no row {name}"))["T95"].as_f64().expect("T95")
    };
    // Measured: 1.51, 1.00 and 0.33 in the flow of the training; 2.0 (the end) and 1.6, 1.3 and 0.8 in the others. The
    // intervals over trajectories are a tenth of that.
    let table = &results["table"];
    assert!(
        t95(table, "learned") > 1.3 * t95(table, "base") && t95(table, "base") > 2.0 * t95(table, "FV-16"),
        "{table}"
    );
    let flows = results["flows"].as_array().expect("flows");
    assert_eq!(flows.len(), 2);
    for flow in flows {
        assert!(t95(&flow["table"], "learned") > 1.1 * t95(&flow["table"], "base"), "{flow}");
    }
    assert_eq!(results["stability"][0]["finite"], 8);
    // The trajectories of the other flows are kept, one file each.
    for name in ["decaying", "larger-box"] {
        assert!(dir.path().join(format!("data_{name}.safetensors")).exists(), "{name}");
    }
}

/// Runs `simulate` on a small recipe of the repository.
fn simulate(recipe: &str, file: &Path, more: &[&str]) {
    let recipes = Path::new(file!()).parent().expect("a folder").join("../datasets/small");
    let mut program = Command::new(env!("CARGO_BIN_EXE_simulate"));
    program.arg(recipes.join(recipe)).arg("--out").arg(file).args(["--threads", "1", "--quiet"]).args(more);
    let output = program.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `T80` of the row that begins so.
fn t80(table: &Value, name: &str) -> f64 {
    let rows = table["rows"].as_array().expect("rows");
    let is_it = |row: &&Value| row["method"].as_str().is_some_and(|label| label.starts_with(name));
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no row {name}"))["T80"].as_f64().expect("T80")
}

#[test]
fn a_line_model_is_trained_and_tested_on_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ks.hdf5");
    simulate("stencil_ks.toml", &file, &[]);
    let files = format!("data.source.files={}", file.display());
    let run = |command: &str, more: &[&str]| {
        let more = [&["--set", &files][..], more].concat();
        program_of("small_file.toml", command, &dir.path().join("out"), &more).output().expect("the program starts")
    };
    let refused = |more: &[&str], expected: &[&str]| {
        let output = run("train", more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        assert!(expected.iter().all(|part| message.contains(part)), "{more:?}: {message}");
    };
    let name = file.to_str().expect("a name");
    refused(&["--set", "data.source.files=none.hdf5"], &["none.hdf5"]);
    refused(&["--set", "equation.length=22.0"], &[name, "64", "equation.length = 22"]);
    refused(&["--set", "scheme.dt=0.3"], &[name, "a frame every 0.25", "scheme.dt = 0.3"]);
    refused(&["--set", "data.test=64"], &["data.test: samples = 32..96", "64 samples", name]);
    refused(&["--set", "data.train_time=60.0"], &["data.train_time = 60", "needs 241 frames", "has 201", name]);
    refused(&["--set", "data.test_time=60.0"], &["data.test_time = 60", "needs 241 frames", name]);
    refused(&["--set", "data.source.starts=[0,0,16]"], &["data.source.starts = [0, 0, 16]", "must not overlap"]);
    refused(&["--set", "data.source.fields=w"], &[name, "field = w", "must be one of u"]);
    refused(&["--set", "data.source.skip=0.1"], &["data.source.skip = 0.1", "multiple of the 0.25"]);
    refused(&["--set", "scheme.cells=100"], &["data.points = 128", "twice scheme.cells = 100"]);
    let succeed = |command: &str, more: &[&str]| {
        let output = run(command, more);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    succeed("train", &[]);
    let results: Value = serde_json::from_str(&succeed("evaluate", &["--json"])).unwrap();
    let table = &results["table"];
    // Measured: 17.4 against 6.4 time units; the spread over trajectories is a tenth of that.
    assert!(t80(table, "learned, seed 0") > 2.0 * t80(table, "no model"), "{table}");
    // The reference from the file's own points follows the file.
    assert!(t80(table, "perfect model from modes") > 30.0, "{table}");
    // One value that is no number in the training, and then a sample that was not finished.
    let (mut writer, _) = Writer::resume(&file).unwrap();
    writer.write_part(3, 0, 5 * 128 + 7, (&[f64::NAN][..]).into()).unwrap();
    writer.complete_sample(3, 0, 0.0).unwrap();
    refused(&[], &[name, "u: sample 3, frame 5: NaN, must be finite"]);
    writer.write_part(2, 0, 0, (&[0.0f64][..]).into()).unwrap();
    drop(writer);
    refused(&[], &[name, "sample 2 is incomplete"]);
}

#[test]
fn a_plane_model_is_trained_and_tested_on_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flow.hdf5");
    simulate("stencil_kolmogorov_16.toml", &file, &[]);
    let path = format!("data.path={}", dir.path().join("data.safetensors").display());
    let files = format!("data.source.files={}", file.display());
    let run = |command: &str, more: &[&str]| {
        let more = [&["--set", &path, "--set", &files][..], more].concat();
        program_of("small_plane_file.toml", command, &dir.path().join("out"), &more).output().expect("it starts")
    };
    let refused = |command: &str, more: &[&str], expected: &[&str]| {
        let output = run(command, more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        assert!(expected.iter().all(|part| message.contains(part)), "{more:?}: {message}");
    };
    let name = file.to_str().expect("a name");
    refused("data", &["--set", "flow.nu=1e-3"], &[name, "nu = 0.005", "flow.nu = 0.001"]);
    refused("data", &["--set", "flow.forcing.mode=2"], &[name, "forcing_mode = 4", "flow.forcing.mode = 2"]);
    refused("data", &["--set", "data.dt=0.03"], &["model.interval"]);
    refused("data", &["--set", "data.dt=0.04"], &[name, "a frame every 0.05", "data.dt = 0.04"]);
    refused("data", &["--set", "data.time=5.0"], &["data.time = 5", "needs 101 frames", "has 89", name]);
    refused("data", &["--set", "data.train=12"], &["data.test: samples = 12..20", "16 samples", name]);
    refused("data", &["--set", "data.n=128"], &["data.n = 128", "64 points"]);
    refused("train", &[], &["data.safetensors"]);
    let succeed = |command: &str, more: &[&str]| {
        let output = run(command, more);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    succeed("data", &[]);
    succeed("train", &[]);
    let other = format!("evaluate.flows=[{{name=\"again\",test=4,source={{files=\"{name}\",starts=[0,0,8]}}}}]");
    let results: Value = serde_json::from_str(&succeed("evaluate", &["--json", "--set", &other])).unwrap();
    let (table, again) = (&results["table"], &results["flows"][0]["table"]);
    // Measured: 3.10, 2.67 and 1.25, and 4 (the end) for the spectral solver from the file's own field; the intervals over
    // trajectories are a tenth of that.
    assert!(
        t80(table, "learned") > 1.05 * t80(table, "base") && t80(table, "base") > 1.5 * t80(table, "FV-16"),
        "{table}"
    );
    assert!(t80(table, "PS-32, 20 steps") > 3.5, "{table}");
    // Half of the same trajectories as another flow: the mean of the first four is within the spread of all eight.
    assert!((t80(again, "learned") - t80(table, "learned")).abs() < 0.5, "{again}");
    // Every second frame of the file would do as well, but the data that were made have all.
    refused("train", &["--set", "data.dt=0.1"], &["other values", "run `temporal_stencil data` again"]);
    // What was made suffices without the file, and does not belong to another one of the same name.
    std::fs::remove_file(&file).unwrap();
    succeed("evaluate", &["--json"]);
    simulate("stencil_kolmogorov_16.toml", &file, &["--seed", "5"]);
    refused("evaluate", &[], &["files of other content", "run `temporal_stencil data` again"]);
    succeed("data", &["--set", "data.dt=0.1", "--set", "data.past=5"]);
}
