//! How this machine is doing: read for reports, each `None` where the system does not tell.

use std::fs;
use std::path::Path;

/// Zones of `/sys/class/thermal` that are looked at.
const ZONES_MAX: usize = 8;

/// Processes that run or wait to run, mean of the last minute (sysinfo(2)).
pub fn load_1m() -> Option<f64> {
    // SAFETY: all zeros is a valid sysinfo, and the pointer outlives the call.
    let (done, loads) = unsafe {
        let mut facts: libc::sysinfo = std::mem::zeroed();
        (libc::sysinfo(&raw mut facts), facts.loads)
    };
    // Fixed point with 16 bits behind it.
    (done == 0).then(|| (loads[0] as f64 / 65_536.0 * 100.0).round() / 100.0)
}

/// Resident memory of this process (proc(5), statm).
pub fn rss_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(super::board::page_bytes()?)
}

/// The hottest zone of the machine, degrees Celsius.
pub fn temperature_c() -> Option<f64> {
    let zone = |n| {
        let path = format!("/sys/class/thermal/thermal_zone{n}/temp");
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse::<i32>().ok()
    };
    let hottest = (0..ZONES_MAX).map_while(zone).max()?;
    Some(f64::from(hottest) / 1000.0)
}

/// Free bytes and used share (percent) of the file system that holds a directory.
pub fn disk(dir: &Path) -> Option<(u64, f64)> {
    let facts = nix::sys::statvfs::statvfs(dir).ok()?;
    // The types differ between 32-bit and 64-bit machines.
    let (blocks, free) = (facts.blocks() as u64, facts.blocks_free() as u64);
    let available = facts.blocks_available() as u64;
    let used = blocks.saturating_sub(free);
    // As df(1) counts: what is kept for root is neither.
    let share = match used + available {
        0 => 0.0,
        usable => (used as f64 * 1000.0 / usable as f64).round() / 10.0,
    };
    Some((available * facts.fragment_size() as u64, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells() {
        assert!(load_1m().unwrap() >= 0.0);
        assert!(rss_bytes().unwrap() > 100_000);
        let (free, share) = disk(Path::new("/")).unwrap();
        assert!(free > 0 && (0.0..=100.0).contains(&share));
        assert_eq!(disk(Path::new("/not there")), None);
    }
}
