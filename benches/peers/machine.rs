//! Processors, clocks, and what the machine is.

use std::fs;

/// Seconds of processor time of this process, all threads.
pub fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

/// Processors that this process may use, ascending.
#[cfg(target_os = "linux")]
pub fn processors() -> Vec<usize> {
    // SAFETY: the set is plain data, and the call fills it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

/// Pins this thread, and what it starts from now on, to `processors`.
#[cfg(target_os = "linux")]
pub fn pin(processors: &[usize]) {
    // SAFETY: the set is plain data, and the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        processors.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

/// Processors; other systems have no call to choose them.
#[cfg(not(target_os = "linux"))]
pub fn processors() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, |n| n.get())).collect()
}

/// Does nothing where the system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn pin(_processors: &[usize]) {}

/// Mean number of running processes of the last minute.
pub fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|s| !s.is_empty()).unwrap_or("unknown").into()
}

/// Model, processors and caches.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_string()
    };
    let cache = |index: usize| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        fs::read_to_string(path).map_or("unknown".into(), |size| size.trim().to_string())
    };
    format!(
        "{} (family {}, model {}), {} processors, L1d {}, L2 {}, L3 {}, vectors {:?}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        processors().len(),
        cache(0),
        cache(2),
        cache(3),
        parseval::spectral::simd::Isa::detect(),
    )
}
