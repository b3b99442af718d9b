//! Measuring whole processes: time, peak memory.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What one run took.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct Run {
    /// From start to end.
    pub time: Duration,
    /// Peak resident memory of the largest process of that program, in KiB.
    pub peak_kib: u64,
}

/// Runs a command to its end with a disk that has nothing left to write, and measures it. Processes that it starts count for the
/// peak when they are called like it (rsync splits itself into two; ssh is not counted for either).
///
/// # Panics
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Run {
    settle();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let id = child.id();
    // The kernel keeps 15 bytes of it.
    let name = Path::new(command.get_program()).file_name().expect("program").to_string_lossy();
    let name = name.get(..15).unwrap_or(&name).to_owned();
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(peak(id, &name));
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let time = started.elapsed();
    let said = child.wait_with_output().expect("output").stderr;
    assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&said));
    Run { time, peak_kib }
}

/// Waits until what is written so far has reached the disk.
///
/// # Panics
/// When `sync` is missing.
pub fn settle() {
    assert!(Command::new("sync").status().expect("sync").success());
}

/// The middle one of several measurements.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let middle = of.len() / 2;
    if of.len() % 2 == 1 { of[middle] } else { f64::midpoint(of[middle - 1], of[middle]) }
}

fn peak(id: u32, name: &str) -> u64 {
    let own = if process_name(id) == name { high_water(id) } else { 0 };
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).map(|child| peak(child, name));
    own.max(below.max().unwrap_or(0))
}

fn high_water(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn process_name(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_are_seen() {
        // 40 MB in a shell variable.
        let run = run(Command::new("sh").args(["-c", "x=$(head -c 40000000 /dev/zero | tr '\\0' a); sleep 0.1"]));
        assert!(run.time >= Duration::from_millis(100));
        assert!(run.peak_kib > 30_000, "{run:?}");
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
