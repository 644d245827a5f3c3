//! A training that is interrupted and killed by real signals ends in the same bits as one that is left alone.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parseval::Result;
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::tensor_file::Tensor;
use parseval::run::training::{Options, Scalars, Schedule, Stop, Train, train};
use parseval::run::{Interrupt, RunDirectory, metrics, seed};
use rand::RngExt;

/// Folder of the run, for the child process.
const FOLDER: &str = "PARSEVAL_TEST_RUN";

/// What the child says once signals are handled.
const READY: &str = "signals are handled";

const STEPS: u64 = 400;

/// A random walk that depends on all of its steps.
struct Walk(Vec<f64>);

impl Train for Walk {
    fn name(&self) -> &str {
        "walk"
    }

    fn step(&mut self, step: u64) -> Result<Scalars> {
        let mut rng = seed::stream(1, "walk", step);
        self.0.iter_mut().for_each(|x| *x = (*x + rng.random::<f64>()).sin());
        // Long enough for signals to arrive in the middle.
        std::thread::sleep(Duration::from_millis(2));
        Ok(vec![("loss".into(), self.0[0])])
    }

    fn save(&self) -> Snapshot {
        let model = [("theta".to_owned(), Tensor::vector(self.0.clone()))].into();
        Snapshot { model, ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0 = checkpoint.model.get("theta", &[self.0.len()])?.to_vec();
        Ok(())
    }
}

fn run(folder: &Path, interrupt: &Interrupt) -> Result<Stop> {
    let directory = RunDirectory::open(folder, "[model]\nsize = 1000\n", &[])?;
    let schedule = Schedule { steps: STEPS, log_every: 5, checkpoint_every: 20, ..Schedule::default() };
    let options = Options { quiet: true, ..Options::default() };
    Ok(train(&mut Walk(vec![0.5; 1000]), &directory, &schedule, &options, interrupt)?.stop)
}

/// The child process: this test program with only this test, which does nothing without a folder.
#[test]
#[ignore = "run by the other test as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let interrupt = Interrupt::install().unwrap();
    println!("{READY}");
    let result = run(Path::new(&folder), &interrupt).map(|_| ());
    std::process::exit(parseval::run::exit_code(&result));
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a run leaves and that does not depend on the clock.
fn left(folder: &Path) -> (Vec<u8>, Vec<(u64, u64)>) {
    let checkpoint = folder.join(format!("checkpoints/step-{STEPS:08}/model.safetensors"));
    let records = metrics::read(&folder.join("metrics.jsonl")).unwrap();
    (std::fs::read(checkpoint).unwrap(), records.iter().map(|r| (r.step, r.value.to_bits())).collect())
}

#[test]
fn signals_and_kills_do_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| -> PathBuf { dir.path().join(name) });
    assert_eq!(run(&whole, &Interrupt::default()).unwrap(), Stop::Finished);

    let signals = [libc::SIGINT, libc::SIGKILL, libc::SIGTERM, libc::SIGKILL];
    let mut rng = seed::stream(std::process::id().into(), "signals", 0);
    for signal in signals {
        let mut process = start(&broken);
        let output = BufReader::new(process.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap().contains(READY)));
        // Of the 800 ms that all steps take at least.
        std::thread::sleep(Duration::from_millis(rng.random_range(20..80)));
        // SAFETY: the process is our child and has not been waited for, so its number is not another's.
        unsafe { libc::kill(process.id() as libc::pid_t, signal) };
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        if signal == libc::SIGKILL {
            assert_eq!(output.status.signal(), Some(libc::SIGKILL));
        } else {
            assert_eq!(output.status.code(), Some(130), "{text}");
            let hint = format!("--resume {}", broken.display());
            assert!(text.contains("interrupted: step ") && text.contains(&hint), "{text}");
        }
    }
    assert!(start(&broken).wait().unwrap().success());
    assert_eq!(left(&broken), left(&whole));
}
