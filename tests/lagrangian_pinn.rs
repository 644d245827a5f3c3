//! The program `lagrangian_pinn` on its small configuration.

use std::path::Path;
use std::process::{Command, Output};

fn run(out: &Path, arguments: &[&str]) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/lagrangian_pinn/small.toml");
    Command::new(env!("CARGO_BIN_EXE_lagrangian_pinn"))
        .arg(arguments[0])
        .arg(config)
        .args([
            "--out",
            out.to_str().expect("a temporary folder in plain letters"),
            "--threads",
            "2",
            "--quiet",
            "--json",
        ])
        .args(&arguments[1..])
        .output()
        .expect("the program starts")
}

fn error_of(table: &serde_json::Value, form: &str) -> f64 {
    let seeds = table["seeds"].as_array().expect("a list");
    let row = seeds.iter().find(|row| row["form"] == form).unwrap_or_else(|| panic!("no {form}"));
    row["error"].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn moving_coordinates_solve_what_coordinates_at_rest_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["train"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // Measured 1e-6, 1e-5, 2e-7 and 0.9.
    for (form, bound) in [("frame", 1e-4), ("trained_frame", 1e-3), ("paths", 1e-4)] {
        assert!(error_of(&results, form) < bound, "{form}: {}", error_of(&results, form));
    }
    assert!(error_of(&results, "eulerian") > 0.1);
    assert!(dir.path().join("report.html").exists());

    // A run that is there is not written over; a finished one is resumed to the same numbers.
    assert_eq!(run(dir.path(), &["train"]).status.code(), Some(2));
    let again: serde_json::Value = serde_json::from_slice(&run(dir.path(), &["train", "--resume"]).stdout).unwrap();
    assert_eq!(error_of(&again, "frame"), error_of(&results, "frame"));

    assert!(run(dir.path(), &["landscape"]).status.success());
    assert!(dir.path().join("landscape.png").exists());
}

#[test]
fn bad_input_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (assignment, message) in [
        ("problem.nu=-1", "problem.nu = -1 is not allowed: must be finite and not negative"),
        ("march.ends=[1.0, 0.5]", "march.ends = [1.0, 0.5] is not allowed"),
        ("problem.kind=heat", "unknown name `heat`"),
        ("march.width=0", "width = 0 is not allowed"),
    ] {
        let output = run(dir.path(), &["train", "--set", assignment]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{assignment}: {stderr}");
        assert!(stderr.contains(message), "{assignment}: {stderr}");
    }
    assert_eq!(run(dir.path(), &["evaluate"]).status.code(), Some(2), "nothing was trained");
}
