//! The part that the engines in Rust share: start values, pinning, and the protocol of README.md.

use std::io::{BufRead, Write};
use std::time::Instant;

use serde_json::{Value, json};

/// `--precision f32|f64 --threads 1|2`.
pub struct Args {
    pub double: bool,
    pub threads: usize,
}

/// A request, warmed up.
pub struct Runner {
    /// Goes back to the start, takes the steps, returns the losses; the start is copied off the clock.
    pub run: Box<dyn FnMut() -> Vec<f64>>,
}

/// Values of workloads.py: entry i is `scale (((7919 (i + 131 seed)) mod 1009) / 504.5 - 1)`.
pub fn pattern(len: usize, scale: f64, seed: usize) -> Vec<f64> {
    (0..len).map(|i| scale * ((7919 * (i + 131 * seed) % 1009) as f64 / 504.5 - 1.0)).collect()
}

/// Reads the command line, pins the process and sizes the thread pools. Must run first.
pub fn start() -> Args {
    let args: Vec<String> = std::env::args().collect();
    let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let double = match after("--precision") {
        Some("f32") => false,
        Some("f64") => true,
        _ => usage(),
    };
    let threads = match after("--threads").unwrap_or("1").parse() {
        Ok(threads @ 1..=2) => threads,
        _ => usage(),
    };
    pin(0, &cores()[..threads]);
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    // The server of PyTorch does the same: keep what is freed instead of returning it to the system.
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two thresholds of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
    Args { double, threads }
}

fn usage() -> ! {
    eprintln!("usage: --precision f32|f64 --threads 1|2; requests on stdin, see README.md");
    std::process::exit(2)
}

/// Processors that the process may use.
fn cores() -> Vec<usize> {
    // SAFETY: the set is plain data of the size given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|&core| libc::CPU_ISSET(core, &set)).collect()
    }
}

fn pin(thread: i32, cores: &[usize]) {
    // SAFETY: as above.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|&core| libc::CPU_SET(core, &mut set));
        libc::sched_setaffinity(thread, size_of_val(&set), &set);
    }
}

/// Gives each worker of the pools its own processor: the pools are private to the engines, so it is done from outside.
fn spread_workers(cores: &[usize]) {
    let own = std::process::id() as i32;
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut workers: Vec<i32> = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
    workers.retain(|&worker| worker != own);
    workers.sort();
    for (i, &worker) in workers.iter().enumerate() {
        pin(worker, &cores[i % cores.len()..][..1]);
    }
}

/// Processor time of all threads, in seconds.
fn cpu_seconds() -> f64 {
    // SAFETY: fills the structure.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
        time
    };
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// A line of /proc/self/status in MiB: the resident size now (VmRSS) or at its highest (VmHWM).
fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// Answers requests until stdin closes. `prepare(case, steps, forward only)` is `None` for what the engine cannot do.
pub fn serve(args: &Args, versions: Value, prepare: impl Fn(&str, usize, bool) -> Option<Runner>) {
    let precision = if args.double { "f64" } else { "f32" };
    let cores = cores();
    say(&json!({ "ready": true, "precision": precision, "threads": args.threads, "versions": versions }));
    let mut current: Option<(Value, Runner, f64)> = None;
    for line in std::io::stdin().lock().lines() {
        let Ok(request) = serde_json::from_str::<Value>(&line.unwrap_or_default()) else {
            say(&json!({ "error": "the request is not JSON" }));
            continue;
        };
        let steps = request["steps"].as_u64().unwrap_or(1) as usize;
        if current.as_ref().is_none_or(|(of, ..)| *of != request) {
            current = None;
            // SAFETY: returns to the system what the last request left.
            #[cfg(target_env = "gnu")]
            unsafe {
                libc::malloc_trim(0)
            };
            let before = resident("VmRSS");
            // Resets the highest resident size.
            let _ = std::fs::write("/proc/self/clear_refs", "5");
            let case = request["case"].as_str().unwrap_or_default();
            let Some(mut runner) = prepare(case, steps, request["part"] == "forward") else {
                say(&json!({ "error": format!("no case {case}") }));
                continue;
            };
            (runner.run)();
            spread_workers(&cores);
            (runner.run)();
            current = Some((request.clone(), runner, resident("VmHWM") - before));
        }
        let (_, runner, peak) = current.as_mut().expect("made above");
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let mut losses = (runner.run)();
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        losses.truncate(3);
        say(&json!({
            "wall_us_per_step": 1e6 * wall / steps as f64,
            "cpu_us_per_step": 1e6 * cpu / steps as f64,
            "peak_mib": peak,
            "losses": losses,
        }));
    }
}

fn say(message: &Value) {
    println!("{message}");
    // The reader waits for the line.
    let _ = std::io::stdout().flush();
}

/// The Fourier operator of workloads.py for an engine without complex numbers and transforms.
pub mod fno {
    use std::f64::consts::TAU;

    use super::pattern;

    pub const N: usize = 64;
    pub const M: usize = 16;
    pub const WIDTH: usize = 32;
    pub const BATCH: usize = 16;
    pub const LAYERS: usize = 4;

    /// Matrices of the pruned transform: `[N, 2M]` from y to (re, im) of the modes `0..M`; `[N, 4M]` from x to (cos, sin) of the rows
    /// `0..M, -M..0`; `[2M, N]` back from the modes to y.
    pub fn transform() -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let angle = |k: f64, j: usize| TAU * k * j as f64 / N as f64;
        let rows: Vec<f64> = (0..M).map(|k| k as f64).chain((0..M).map(|k| k as f64 - M as f64)).collect();
        let (mut y, mut x) = (Vec::new(), Vec::new());
        for j in 0..N {
            let scale = 1.0 / (N * N) as f64;
            y.extend((0..M).map(|k| scale * angle(k as f64, j).cos()));
            y.extend((0..M).map(|k| -scale * angle(k as f64, j).sin()));
            x.extend(rows.iter().map(|&k| angle(k, j).cos()));
            x.extend(rows.iter().map(|&k| angle(k, j).sin()));
        }
        // A mode other than 0 stands for its conjugate too.
        let twice = |k: usize| if k == 0 { 1.0 } else { 2.0 };
        let mut back = Vec::new();
        for k in 0..M {
            back.extend((0..N).map(|j| twice(k) * angle(k as f64, j).cos()));
        }
        for k in 0..M {
            back.extend((0..N).map(|j| -twice(k) * angle(k as f64, j).sin()));
        }
        (y, x, back)
    }

    /// The pattern of `[2, in, out, x, y, 2]` as `[modes, in, (re, im) x out]`, the modes ordered by y, then x.
    pub fn spectral(seed: usize) -> Vec<f64> {
        let (c, flat) = (WIDTH, pattern(4 * WIDTH * WIDTH * M * M, 1.0 / WIDTH as f64, seed));
        let mut out = Vec::with_capacity(flat.len());
        for y in 0..M {
            for row in 0..2 * M {
                for i in 0..c {
                    for part in 0..2 {
                        let at = |o: usize| ((((row / M * c + i) * c + o) * M + row % M) * M + y) * 2 + part;
                        out.extend((0..c).map(|o| flat[at(o)]));
                    }
                }
            }
        }
        out
    }
}
