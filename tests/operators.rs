//! The program `sfno`: trains, resumes to the bit, evaluates, refines, and refuses bad input.

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(folder).output().unwrap()
}

fn sfno(arguments: &[&str], folder: &Path) -> Output {
    run(env!("CARGO_BIN_EXE_sfno"), arguments, folder)
}

const RECIPE: &str = r#"
[dataset]
name = "flow"
samples = 6
[equation]
id = "navier_stokes_2d"
nu = 1e-3
forcing = { kind = "diagonal", amplitude = 0.1 }
[grid]
n = [16, 16]
length = 1
[initial]
kind = "gaussian_field"
sigma = 18.5
tau = 7
alpha = 2.5
mean_free = true
[time]
dt = 0.1
t_warmup = 10
t_end = 5.8
save_every = 0.2
[accuracy]
samples = 0
"#;

const CONFIG: &str = r#"
name = "tiny"
[data]
path = "flow.hdf5"
train = 4
test = 2
input_frames = 5
output_frames = 5
test_starts = [0, 10]
[model]
kind = "sfno"
width = 6
modes = 4
modes_time = 2
latent = 5
layers = 2
[rate]
kind = "one_cycle"
max_lr = 1e-2
[training]
steps = 1000
log_every = 5
checkpoint_every = 200
[evaluate]
repeat = 1
"#;

fn experiment() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flow.toml"), RECIPE).unwrap();
    std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
    let simulate = run(env!("CARGO_BIN_EXE_simulate"), &["flow.toml", "--out", "flow.hdf5", "-q"], folder.path());
    assert!(simulate.status.success(), "{}", String::from_utf8_lossy(&simulate.stderr));
    folder
}

fn model(folder: &Path, out: &str) -> Vec<u8> {
    let run = folder.join(out).join("seed-0000/checkpoints");
    let latest = std::fs::read_to_string(run.join("latest")).unwrap();
    std::fs::read(run.join(latest.trim()).join("model.safetensors")).unwrap()
}

#[test]
fn a_small_training_resumes_to_the_bit_beats_persistence_and_is_repaired() {
    let folder = experiment();
    let at = folder.path();
    let whole = sfno(&["train", "tiny.toml", "--out", "whole", "--json", "-q"], at);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));

    // Stopped after a second, and as often again as it takes.
    let mut arguments = vec!["train", "tiny.toml", "--out", "parts", "--json", "-q", "--max-wall", "1s"];
    for part in 0.. {
        assert!(part < 200, "the training does not come forward");
        let output = sfno(&arguments, at);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if !String::from_utf8_lossy(&output.stderr).contains("time is up") {
            break;
        }
        if part == 0 {
            arguments.push("--resume");
        }
    }
    assert_eq!(model(at, "whole"), model(at, "parts"));

    let evaluate = sfno(&["evaluate", "tiny.toml", "--out", "whole", "--json"], at);
    assert!(evaluate.status.success(), "{}", String::from_utf8_lossy(&evaluate.stderr));
    let results: serde_json::Value = serde_json::from_slice(&evaluate.stdout).unwrap();
    let rows = results["table"]["rows"].as_array().unwrap();
    let error = |row: usize| rows[row]["relative L2"].as_f64().unwrap();
    assert_eq!(rows[1]["method"], "persistence");
    // Four windows of two flows; measured: 0.02 of persistence.
    assert!(error(0) < 0.2 * error(1), "{} against {}", error(0), error(1));
    // The last row is the solver on the stored grid with a quarter of the time between frames.
    assert!(error(rows.len() - 1) < 1e-3);
    let report = std::fs::read_to_string(at.join("whole/report.html")).unwrap();
    assert!(report.contains("ETDRK4") && report.contains("<svg") && !report.contains("http://"));

    let export = sfno(&["export", "tiny.toml", "--out", "whole"], at);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let csv = std::fs::read_to_string(at.join("whole/seed-0000/metrics.csv")).unwrap();
    assert!(csv.lines().count() > 100 && csv.contains("loss"));
    assert_eq!(std::fs::read_dir(at.join("whole/seed-0000/tensorboard")).unwrap().count(), 1);

    for (mode, largest) in [("march", 0.02), ("newton", 0.02), ("last-layer", 0.9), ("paper", 1.1)] {
        let arguments = ["refine", "tiny.toml", "--out", "whole", "--json", "--tolerance", "1e-4", "--mode", mode];
        let refine = sfno(&arguments, at);
        assert!(refine.status.success(), "{}", String::from_utf8_lossy(&refine.stderr));
        let results: serde_json::Value = serde_json::from_slice(&refine.stdout).unwrap();
        for window in results["windows"].as_array().unwrap() {
            let value = |name: &str| window[name].as_f64().unwrap();
            // Every prediction of this small model fails the tolerance. Marches give the solver's accuracy, fifty steps of
            // a first-order method a part of it, and the published residual nothing.
            assert!(value("error") > 1e-3 && value("error_after") < largest * value("error"), "{mode}: {window}");
            // The published residual is as small for these predictions as for the truth.
            assert!(value("published") < 1e-8 && value("coupled") > 1e-3, "{window}");
        }
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let folder = experiment();
    let at = folder.path();
    for (set, message) in [
        ("model.width=2", "width = 2 is not allowed: must be >= 6"),
        ("model.modes=8", "modes of axis 1 = 8 is not allowed: must be from 1 to 7"),
        ("model.widht=8", "unknown key `widht`, did you mean `width`?"),
        ("data.path='none.hdf5'", "none.hdf5"),
        ("data.train=9", "must be at most the 6 samples"),
        ("data.test_starts=[25]", "must leave 10 of the 30 frames"),
        ("data.test=0", "data.test = 0 is not allowed: must be >= 1"),
        ("loss.clip=-1", "loss.clip = -1 is not allowed: must be >= 0"),
    ] {
        let output = sfno(&["train", "tiny.toml", "--set", set, "--out", "bad", "-q"], at);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{set}: {text}");
        assert!(text.contains(message), "{set}: {text}");
        let left = std::fs::read_dir(at.join("bad/seed-0000/checkpoints")).map(|d| d.count()).unwrap_or(0);
        assert_eq!(left, 0, "{set} left a checkpoint");
        let _ = std::fs::remove_dir_all(at.join("bad"));
    }
    let output = sfno(&["evaluate", "tiny.toml", "--out", "empty"], at);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_and_names_the_gradient() {
    let folder = experiment();
    let arguments = ["train", "tiny.toml", "--out", "nan", "-q", "--set", "rate={kind='constant',lr=1e30}"];
    let output = sfno(&arguments, folder.path());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("loss") && text.contains("step") && text.contains("gradient"), "{text}");
    assert!(folder.path().join("nan/seed-0000/checkpoints").read_dir().unwrap().count() > 0);
}
