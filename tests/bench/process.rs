//! What /proc tells of a program that is measured.

use std::time::{Duration, Instant};

/// Tries for two minutes.
pub fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < deadline, "the daemon does not get there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A figure of `status` or `smaps_rollup`, as in `VmRSS:`.
pub fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Time on a processor, all threads together, s (nanoseconds in the first field of schedstat).
pub fn cpu_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten();
    let of = |task: std::fs::DirEntry| -> f64 {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok())
            .unwrap_or(0.0)
    };
    tasks.map(of).sum::<f64>() / 1e9
}
