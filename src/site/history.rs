//! What is kept of health: beats to the store, and answers made from it.

use std::sync::Arc;

use super::entry::Entry;
use super::views::{HealthDetail, HistoryBucket, Outage, Percentiles};
use super::{EventQuery, Site, SiteError, Waiting, Window, lock};
use crate::brake::now;
use crate::model::{
    CameraId, Event, EventKind, HOUR_S, HourRollup, RESPONSE_BUCKETS_MS, Timestamp,
};
use crate::policy::lifecycle::Confirmed;
use crate::policy::uptime::Totals;
use crate::store::{Beat, EventFilter, EventSource, StoreError};

/// Hours over which uptime is told.
pub const UPTIME_HOURS: u32 = 30 * 24;
/// Whole hours behind the running one that count as the last day.
const DAY_HOURS: u32 = 24;
/// Longest wait of a transition for its group commit, and the time in which others join it.
const GROUP_COMMIT: std::time::Duration = std::time::Duration::from_millis(250);
/// Outages that one answer lists.
const OUTAGES_MAX: usize = 200;
/// Longest wait of what a camera reported for the store: flash wears out by the write.
const REPORTS_COMMIT: std::time::Duration = std::time::Duration::from_secs(30);

impl Site {
    /// One beat: figures and samples go to the store in one commit. What fails stays and goes with
    /// the next beat. The last beat takes every camera's state along; before that, states go with
    /// the transitions (a kill costs the time of the last check, nothing that matters).
    pub async fn beat(&self, is_last: bool) -> Result<(), StoreError> {
        let (beat, raw_counts) = self.gather(now(), is_last);
        self.store.checkpoint(beat).await?;
        let mut cameras = lock(&self.cameras);
        for (id, count) in raw_counts {
            if let Some(entry) = cameras.get_mut(&id) {
                let finished = finished_hours(entry);
                for hour in finished {
                    entry.month.add(&hour);
                    entry.day.add(&hour);
                }
                entry.figures.stored(count);
            }
        }
        Ok(())
    }

    fn gather(&self, at: Timestamp, with_states: bool) -> (Beat, Vec<(CameraId, usize)>) {
        let mut beat = Beat {
            at,
            tokens_used: self.tokens_used(),
            reported: self.reported(),
            ..Beat::default()
        };
        let mut raw_counts = Vec::new();
        for (id, entry) in lock(&self.cameras).iter_mut() {
            entry.credit(at);
            beat.rollups.extend(
                entry
                    .figures
                    .hours()
                    .iter()
                    .map(|(hour, r)| (*hour, *id, *r)),
            );
            if !entry.figures.raw().is_empty() {
                beat.raw.push((*id, entry.figures.raw().to_vec()));
            }
            raw_counts.push((*id, entry.figures.raw().len()));
            if with_states {
                beat.states.extend(state_row(*id, entry));
            }
        }
        (beat, raw_counts)
    }

    /// Adds the stored figures of the last thirty days; at start, and once an hour so that old hours
    /// leave the window.
    pub async fn refresh_month(&self) -> Result<(), StoreError> {
        let hour = current_hour(now());
        let last = |hours: u32| self.store.all_rollups_sum(hour.saturating_sub(hours)..hour);
        let sums = last(UPTIME_HOURS).await?;
        let day_sums = last(DAY_HOURS).await?;
        let mut cameras = lock(&self.cameras);
        for entry in cameras.values_mut() {
            entry.month = Totals::default();
            entry.day = day_sums.get(&entry.camera.id).copied().unwrap_or_default();
        }
        for (id, totals) in sums {
            if let Some(entry) = cameras.get_mut(&id) {
                entry.month = totals;
            }
        }
        Ok(())
    }

    /// Commits confirmed transitions with their states as a group, again and again, until the site
    /// stops; what the store refuses waits for the next group.
    pub async fn commit_transitions(self: Arc<Self>) {
        let mut failing = false;
        let mut reports = tokio::time::interval(REPORTS_COMMIT);
        reports.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.has_waiting.notified() => {}
                _ = reports.tick() => {}
                () = self.stop.cancelled() => return,
            }
            tokio::time::sleep(GROUP_COMMIT).await;
            match self.flush_events().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the store takes transitions again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        tracing::error!("transitions wait in memory: {error}");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Commits what waits. On an error it waits on, for the next group or beat.
    pub async fn flush_events(&self) -> Result<(), StoreError> {
        let Waiting {
            mut events,
            reports,
            mut states,
        } = std::mem::take(&mut *lock(&self.waiting));
        states.extend(reports.iter().filter_map(|e| e.camera_id));
        let is_report = events.len()..;
        events.extend(reports);
        if events.is_empty() && states.is_empty() {
            return Ok(());
        }
        let rows = {
            let cameras = lock(&self.cameras);
            states
                .iter()
                .filter_map(|id| state_row(*id, cameras.get(id)?))
                .collect()
        };
        let result = self.store.commit_transition(rows, events.clone()).await;
        if result.is_err() {
            let mut waiting = lock(&self.waiting);
            waiting.reports.splice(0..0, events.drain(is_report));
            waiting.events.splice(0..0, events);
            waiting.states.extend(states);
        } else {
            self.news.events();
        }
        result
    }

    /// A page of events, oldest first, and the cursor of the next page.
    pub async fn events(
        &self,
        query: EventQuery,
    ) -> Result<(Vec<Event>, Option<String>), SiteError> {
        // What was confirmed a moment ago belongs to the answer.
        let _ = self.flush_events().await;
        let filter = EventFilter {
            since: query.since,
            camera: query.camera,
            kinds: query.kind.into_iter().collect(),
            source: match query.observed_only {
                true => EventSource::Observed,
                false => EventSource::Both,
            },
            newest_first: false,
            limit: query.limit,
            cursor: query.cursor.and_then(|c| c.parse().ok()),
        };
        let page = self.store.events(filter).await?;
        Ok((page.events, page.next_cursor.map(|c| c.to_string())))
    }

    /// Health with history over a window.
    pub async fn health_detail(
        &self,
        id: CameraId,
        window: Window,
    ) -> Result<HealthDetail, SiteError> {
        let at = now();
        let hour = current_hour(at);
        let first = hour + 1 - window.hours();
        let mut hours = self.store.rollups(id, first..hour + 1).await?;
        let (health, running) = {
            let mut cameras = lock(&self.cameras);
            let entry = cameras.get_mut(&id).ok_or(SiteError::UnknownCamera(id))?;
            entry.credit(at);
            (entry.health(), entry.figures.hours().to_vec())
        };
        for (hour, rollup) in running.into_iter().filter(|(hour, _)| *hour >= first) {
            match hours.binary_search_by_key(&hour, |(h, _)| *h) {
                Ok(i) => hours[i].1 = rollup,
                Err(i) => hours.insert(i, (hour, rollup)),
            }
        }
        let since = Timestamp::from_unix_s(i64::from(first) * i64::from(HOUR_S));
        let outages = self.outages(id, since, &health).await?;
        Ok(HealthDetail {
            window: window.as_str(),
            percentiles: percentiles(&hours),
            history: buckets(&hours, window),
            outages,
            health,
        })
    }

    async fn outages(
        &self,
        id: CameraId,
        since: Timestamp,
        health: &super::HealthView,
    ) -> Result<Vec<Outage>, SiteError> {
        let filter = EventFilter {
            since: Some(since),
            camera: Some(id),
            kinds: vec![EventKind::Offline, EventKind::Online],
            source: EventSource::FoundOut,
            newest_first: false,
            limit: 2 * OUTAGES_MAX,
            cursor: None,
        };
        let _ = self.flush_events().await;
        let events = self.store.events(filter).await?.events;
        let running = health
            .since
            .filter(|_| health.connection_health == "offline");
        Ok(pair_outages(&events, running, health.cause, now()))
    }
}

/// Offline and online events, paired; the last stays open while the camera is offline.
fn pair_outages(
    events: &[Event],
    running_since: Option<Timestamp>,
    cause: Option<crate::model::ErrorCode>,
    at: Timestamp,
) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    let mut open: Option<&Event> = None;
    for event in events {
        match event.kind {
            EventKind::Offline => open = Some(event),
            EventKind::Online => {
                let duration_s = event.duration_s.unwrap_or(0);
                outages.push(Outage {
                    from: event.time.plus_ms(-(duration_s as i64) * 1000),
                    to: Some(event.time),
                    duration_s,
                    cause: open.take().and_then(|e| e.cause),
                });
            }
            _ => {}
        }
    }
    if let Some(from) = running_since {
        let duration_s = at.ms_since(from) / 1000;
        outages.push(Outage {
            from,
            to: None,
            duration_s,
            cause,
        });
    }
    let skip = outages.len().saturating_sub(OUTAGES_MAX);
    outages.split_off(skip)
}

/// Buckets of an hour for a day, of six hours for a week, of a day for a month; empty ones left out.
fn buckets(hours: &[(u32, HourRollup)], window: Window) -> Vec<HistoryBucket> {
    let width = match window {
        Window::Day => 1,
        Window::Week => 6,
        Window::Month => 24,
    };
    let mut sums: Vec<(u32, Totals)> = Vec::new();
    for (hour, rollup) in hours {
        let start = hour - hour % width;
        if sums.last().is_none_or(|(last, _)| *last != start) {
            sums.push((start, Totals::default()));
        }
        if let Some((_, totals)) = sums.last_mut() {
            totals.add(rollup);
        }
    }
    let bucket = |(start, t): (u32, Totals)| HistoryBucket {
        from: Timestamp::from_unix_s(i64::from(start) * i64::from(HOUR_S)),
        duration_s: width * HOUR_S,
        up_s: t.up_s as u32,
        down_s: t.down_s as u32,
        uptime_percentage: t.uptime_percentage(),
        checks: (t.checks_ok + t.checks_failed) as u32,
        failed_checks: t.checks_failed as u32,
        average_response_time_ms: t.average_response_ms(),
        disconnections: t.disconnections as u32,
    };
    sums.into_iter().map(bucket).collect()
}

/// The upper bound of the histogram bucket in which each percentile lies.
fn percentiles(hours: &[(u32, HourRollup)]) -> Percentiles {
    let mut counts = [0_u64; 8];
    for (_, rollup) in hours {
        counts
            .iter_mut()
            .zip(rollup.histogram)
            .for_each(|(sum, n)| *sum += u64::from(n));
    }
    let total: u64 = counts.iter().sum();
    let at = |share: u64| {
        let rank = (total * share).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        // The last bucket is open: its lower bound is all that is known.
        RESPONSE_BUCKETS_MS
            .get(bucket)
            .or(RESPONSE_BUCKETS_MS.last())
            .copied()
    };
    if total == 0 {
        return Percentiles::default();
    }
    Percentiles {
        p50_ms: at(50),
        p95_ms: at(95),
        p99_ms: at(99),
    }
}

fn finished_hours(entry: &Entry) -> Vec<HourRollup> {
    let hours = entry.figures.hours();
    let finished = hours.len().saturating_sub(1);
    hours[..finished]
        .iter()
        .map(|(_, rollup)| *rollup)
        .collect()
}

fn state_row(id: CameraId, entry: &Entry) -> Option<(CameraId, Vec<u8>)> {
    // A state that says nothing yet is not worth a row.
    let is_new = entry.watch.confirmed == Confirmed::Unknown && entry.watch.last_check.is_none();
    (!is_new)
        .then(|| serde_json::to_vec(&entry.watch).ok().map(|json| (id, json)))
        .flatten()
}

/// Hours since the Unix epoch.
pub fn current_hour(at: Timestamp) -> u32 {
    u32::try_from(at.unix_s().div_euclid(i64::from(HOUR_S))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;
    use uuid::Uuid;

    fn event(kind: EventKind, at_s: i64, duration_s: Option<u64>) -> Event {
        Event {
            id: Uuid::nil(),
            time: Timestamp::from_unix_s(at_s),
            kind,
            camera_id: None,
            camera_name: None,
            cause: Some(ErrorCode::Timeout),
            duration_s,
            message: String::new(),
            detail: None,
        }
    }

    #[test]
    fn outages_are_paired_and_the_running_one_is_open() {
        let events = [
            event(EventKind::Offline, 100, None),
            event(EventKind::Online, 160, Some(61)),
            event(EventKind::Offline, 300, None),
        ];
        let at = Timestamp::from_unix_s(400);
        let told = pair_outages(
            &events,
            Some(Timestamp::from_unix_s(299)),
            Some(ErrorCode::Refused),
            at,
        );
        let spans: Vec<_> = told
            .iter()
            .map(|o| (o.from.unix_s(), o.to.map(Timestamp::unix_s), o.duration_s))
            .collect();
        assert_eq!(spans, [(99, Some(160), 61), (299, None, 101)]);
        assert_eq!(told[0].cause, Some(ErrorCode::Timeout));
    }

    #[test]
    fn percentiles_name_their_bucket() {
        let mut hour = HourRollup::default();
        (0..98).for_each(|_| hour.count_check(Some(60)));
        (0..2).for_each(|_| hour.count_check(Some(9000)));
        let p = percentiles(&[(1, hour)]);
        assert_eq!(
            (p.p50_ms, p.p95_ms, p.p99_ms),
            (Some(100), Some(100), Some(6000))
        );
        assert_eq!(percentiles(&[]), Percentiles::default());
    }

    #[test]
    fn a_month_is_told_by_day() {
        let up = HourRollup {
            up_s: 3600,
            ..HourRollup::default()
        };
        let hours: Vec<_> = (48..96).map(|h| (h, up)).collect();
        let days = buckets(&hours, Window::Month);
        assert_eq!(days.len(), 2);
        assert_eq!(
            (days[0].up_s, days[0].uptime_percentage),
            (86_400, Some(100.0))
        );
        assert_eq!(buckets(&hours, Window::Day).len(), 48);
    }
}
