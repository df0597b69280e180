//! The watchdog is fed by progress, not by a timer: each part shows that it gets on with its work,
//! and one that does not within its own deadline lets the service manager restart the daemon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::notify;

/// Where no service manager asks for it, marks are still looked at, for the log.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One part's proof of life.
#[derive(Debug, Clone)]
pub struct Mark(Arc<Row>);

#[derive(Debug)]
struct Row {
    name: &'static str,
    deadline: Duration,
    origin: Instant,
    /// Last touch, ms since `origin`.
    touched_ms: AtomicU64,
}

impl Mark {
    /// This part got on with its work.
    pub fn touch(&self) {
        self.touch_at(Instant::now());
    }

    fn touch_at(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.0.origin).as_millis();
        self.0
            .touched_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// All parts that must live.
#[derive(Debug, Clone, Default)]
pub struct Marks(Arc<Mutex<Vec<Mark>>>);

impl Marks {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new part, alive now, that must touch its mark within each `deadline`.
    pub fn add(&self, name: &'static str, deadline: Duration) -> Mark {
        let origin = Instant::now();
        let mark = Mark(Arc::new(Row {
            name,
            deadline,
            origin,
            touched_ms: AtomicU64::new(0),
        }));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mark.clone());
        mark
    }

    /// The first part that is overdue at `now`.
    fn overdue(&self, now: Instant) -> Option<&'static str> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = marks.iter().find(|mark| {
            let touched =
                mark.0.origin + Duration::from_millis(mark.0.touched_ms.load(Ordering::Relaxed));
            now.saturating_duration_since(touched) > mark.0.deadline
        });
        late.map(|mark| mark.0.name)
    }
}

/// Feeds systemd's watchdog as long as every mark is fresh.
pub async fn feed(marks: Marks, stop: CancellationToken) {
    let every =
        sd_notify::watchdog_enabled().map_or(LOOK_EVERY, |limit| (limit / 3).min(LOOK_EVERY));
    let mut told = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        let overdue = marks.overdue(Instant::now());
        match overdue {
            None => notify::alive(),
            Some(part) if told != overdue => {
                tracing::error!(part, "a part of the daemon hangs: the watchdog is not fed");
            }
            Some(_) => {}
        }
        told = overdue;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_hangs_is_named() {
        let marks = Marks::new();
        let start = Instant::now();
        let quick = marks.add("scheduler", Duration::from_secs(10));
        let slow = marks.add("store", Duration::from_secs(60));
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(marks.overdue(at(9)), None);
        assert_eq!(marks.overdue(at(12)), Some("scheduler"));
        quick.touch_at(at(55));
        assert_eq!(marks.overdue(at(60)), None);
        quick.touch_at(at(65));
        assert_eq!(marks.overdue(at(66)), Some("store"));
        slow.touch_at(at(66));
        assert_eq!(marks.overdue(at(67)), None);
    }
}
