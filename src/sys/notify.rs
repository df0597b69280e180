//! What systemd is told (sd_notify(3)). Without systemd nothing happens.

use sd_notify::NotifyState;

/// READY=1 with a line for `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// RELOADING=1; [`ready`] ends it.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(monotonic_usec().map(NotifyState::MonotonicUsec));
    tell(&states);
}

/// CLOCK_MONOTONIC in microseconds. Not the helper of sd-notify: that multiplies in the width of
/// the C type, which overflows after 36 minutes of uptime where that has 32 bits.
fn monotonic_usec() -> Option<i128> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a valid, writable timespec that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let usec = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_nsec) / 1000;
    (result == 0).then_some(usec)
}

pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn the_monotonic_clock_runs_in_microseconds() {
        let (before, started) = (monotonic_usec().unwrap(), Instant::now());
        while started.elapsed() < Duration::from_millis(3) {}
        let passed = monotonic_usec().unwrap() - before;
        assert!((3_000..2_000_000).contains(&passed), "{passed}");
    }
}
