//! The program `conjugate_direction`: from a training to a table and a simulation, and what it says of bad input.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/conjugate_direction/small.toml");
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_conjugate_direction"))
        .arg(command)
        .arg(config)
        .args(["--threads", "1", "--quiet", "--out"])
        .arg(folder)
        .args(rest)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Settings that make every part take a second at most.
const SHORT: &[&str] = &[
    "--set",
    "training.steps=6",
    "--set",
    "training.checkpoint_every=3",
    "--set",
    "validate.limit=5",
    "--set",
    "generations.steps=3",
    "--set",
    "cycle.sizes=[12]",
    "--set",
    "cycle.scenes=2",
    "--set",
    "compare.scenes=[\"pillars\"]",
    "--set",
    "compare.published_limit=5",
    "--set",
    "plume.steps=8",
];

#[test]
fn a_training_ends_in_a_table_with_every_solver_and_in_a_simulation() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["network", "cycle"] {
        let trained = run(folder.path(), &[&["train", "--model", model], SHORT].concat());
        assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    }
    let table = json(&run(folder.path(), &[&["compare", "--json"], SHORT].concat()));
    let rows = table["rows"].as_array().unwrap();
    // All solvers but the direct one, which wants a box.
    assert_eq!(rows.len(), 12);
    for row in rows.iter().filter(|row| row["solver"] != "deep, published") {
        assert_eq!(row["stop"], "Converged", "{}", row["solver"]);
        assert!(row["relative_residual"].as_f64().unwrap() <= 1e-8);
    }
    let plume = json(&run(folder.path(), &[&["plume", "--json"], SHORT].concat()));
    assert!(plume["table"].to_string().contains("multigrid, learned"));
    for file in ["report.html", "plume.gif", "plume.png", "plume.html", "compare.json"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn a_training_that_was_stopped_and_resumed_ends_in_the_same_bits() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let train = |folder: &Path, more: &[&str]| {
        let trained = run(folder, &[&["train"], SHORT, more].concat());
        assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    };
    train(whole.path(), &[]);
    train(parts.path(), &["--max-wall", "0.02s"]);
    train(parts.path(), &["--resume"]);
    let model = |folder: &Path| {
        std::fs::read(folder.join("network/seed-0000/checkpoints/step-00000006/model.safetensors")).unwrap()
    };
    assert!(model(whole.path()) == model(parts.path()));
}

#[test]
fn bad_input_is_named_and_gives_exit_code_two() {
    let folder = tempfile::tempdir().unwrap();
    let flags = folder.path().join("flags.npy");
    ndarray_npy::write_npy(&flags, &ndarray::arr2(&[[1u8, 7], [1, 1]])).unwrap();
    let flags = flags.to_str().unwrap();
    for (arguments, word) in [
        (&["solve", "--scene", "sphere", "--solver", "magic"][..], "magic"),
        (&["solve", "--scene", "castle"], "castle"),
        (&["solve", "--solver", "deep, guarded"], "train"),
        (&["solve", "--flags", flags], "flags.npy"),
        (&["compare", "--set", "compare.tolerance=0"], "compare.tolerance"),
        (&["plume", "--set", "plume.solver=none"], "plume.solver"),
        (&["train", "--set", "network.cells=7"], "cells"),
    ] {
        let output = run(folder.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
}

#[test]
fn a_matrix_is_written_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mtx");
    let solved = json(&run(folder.path(), &["solve", "--size", "8", "--json", "--matrix", path.to_str().unwrap()]));
    let text = std::fs::read_to_string(&path).unwrap();
    let sizes: Vec<u64> = text.lines().nth(1).unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    assert_eq!(sizes[0], solved["unknowns"].as_u64().unwrap());
    assert_eq!(text.lines().count() as u64, sizes[2] + 2);
    assert!(folder.path().join("a.rhs.mtx").exists());
}
