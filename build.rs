//! Records compiler and commit, so that every file can say what made it.

use std::process::Command;

/// First line of a command's output; `None` if it cannot be run or fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    // Of a crate unpacked inside another project, git would report that project.
    let top = output("git", &["rev-parse", "--show-toplevel"]);
    let is_checkout = top.is_some_and(|top| {
        std::path::Path::new(&top).canonicalize().ok() == std::path::Path::new(".").canonicalize().ok()
    });
    let git = |arguments: &[&str]| is_checkout.then(|| output("git", arguments)).flatten();
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"])).unwrap_or_default();
    println!("cargo:rustc-env=PARSEVAL_GIT_COMMIT={commit}");
    println!("cargo:rustc-env=PARSEVAL_GIT_DIRTY={dirty}");
    println!("cargo:rustc-env=PARSEVAL_RUSTC={rustc}");
    println!("cargo:rerun-if-changed=src");
    for name in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
