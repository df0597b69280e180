//! The loop: due cameras are checked, figures go to the store on the beat. No protocol, no policy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::brake::now;
use crate::model::CameraId;
use crate::site::{Site, Wake};
use crate::sys::watchdog::Mark;

/// Checks that are due close to each other start together: waking up costs more than a check.
const TICK_MS: u64 = 100;
/// Every camera's plan is read again after this, whatever was or was not heard of it.
const SWEEP: Duration = Duration::from_secs(60);
/// The loop shows that it lives at least this often.
const PULSE: Duration = Duration::from_secs(3);

/// When each camera is due.
#[derive(Debug, Default)]
struct Schedule {
    by_time: BTreeMap<(Instant, CameraId), ()>,
    by_camera: HashMap<CameraId, Instant>,
}

impl Schedule {
    fn set(&mut self, id: CameraId, due: Option<Instant>) {
        if let Some(before) = self.by_camera.remove(&id) {
            self.by_time.remove(&(before, id));
        }
        if let Some(due) = due {
            self.by_camera.insert(id, due);
            self.by_time.insert((due, id), ());
        }
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((due, _), ())| *due)
    }

    /// Takes out one camera that is due.
    fn pop_due(&mut self, now: Instant) -> Option<CameraId> {
        let (&(due, id), ()) = self.by_time.first_key_value()?;
        (due <= now).then(|| {
            self.set(id, None);
            id
        })
    }
}

/// Runs checks until `stop`; ends with a last beat.
pub async fn run(
    site: Arc<Site>,
    mut wakes: mpsc::Receiver<Wake>,
    mark: Mark,
    stop: CancellationToken,
) {
    let start = Instant::now();
    let mut schedule = Schedule::default();
    sweep(&site, &mut schedule, start);
    let mut sweeps = interval_at(start + SWEEP, SWEEP);
    let mut pulse = interval_at(start + PULSE, PULSE);
    let beat_every = Duration::from_secs(u64::from(site.settings().checkpoint_interval_s));
    let mut beats = interval_at(start + beat_every, beat_every);
    for timer in [&mut sweeps, &mut pulse, &mut beats] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut storing = Storing::default();
    loop {
        mark.touch();
        let due = schedule.next();
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(due.unwrap_or(start)), if due.is_some() => {
                while let Some(id) = schedule.pop_due(Instant::now()) {
                    site.tasks().spawn(site.clone().check(id));
                }
            }
            Some(Wake::Replan(id)) = wakes.recv() => plan(&site, &mut schedule, id, start),
            _ = sweeps.tick() => sweep(&site, &mut schedule, start),
            _ = beats.tick() => storing.beat(&site),
            _ = pulse.tick() => {}
        }
    }
}

fn plan(site: &Site, schedule: &mut Schedule, id: CameraId, start: Instant) {
    let at = now();
    let due = site.plan(id, at).map(|plan| {
        let wait_ms = plan.at.ms_since(at);
        let due_ms = (start.elapsed().as_millis() as u64).saturating_add(wait_ms);
        start + Duration::from_millis(due_ms.next_multiple_of(TICK_MS))
    });
    schedule.set(id, due);
}

fn sweep(site: &Site, schedule: &mut Schedule, start: Instant) {
    let ids = site.camera_ids();
    schedule
        .by_camera
        .keys()
        .filter(|id| ids.binary_search(id).is_err())
        .copied()
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|gone| schedule.set(gone, None));
    ids.into_iter()
        .for_each(|id| plan(site, schedule, id, start));
}

/// The beat runs beside the loop: a slow card must not delay checks.
#[derive(Debug, Default)]
struct Storing {
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Storing {
    fn beat(&mut self, site: &Arc<Site>) {
        if self
            .running
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            tracing::warn!("the store has not finished the last beat; this one is skipped");
            return;
        }
        let site = site.clone();
        self.running = Some(tokio::spawn(async move {
            if let Err(error) = site.beat(false).await {
                tracing::error!("health figures wait in memory for the next beat: {error}");
            }
            if let Err(error) = site.refresh_month().await {
                tracing::error!("uptime is not up to date: {error}");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cameras_come_in_order_of_time_and_once() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut schedule = Schedule::default();
        schedule.set(CameraId(1), Some(now + ms(50)));
        schedule.set(CameraId(2), Some(now + ms(10)));
        schedule.set(CameraId(1), Some(now + ms(5)));
        assert_eq!(schedule.next(), Some(now + ms(5)));
        assert_eq!(schedule.pop_due(now), None);
        let later = now + ms(20);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_due(later)).collect();
        assert_eq!(order, [CameraId(1), CameraId(2)]);
        schedule.set(CameraId(3), Some(now));
        schedule.set(CameraId(3), None);
        assert_eq!(schedule.next(), None);
    }
}
