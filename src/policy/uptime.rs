//! Time-weighted accounting of one camera: up, down, or not known.

use crate::model::{ErrorCode, Grade, HOUR_S, HourRollup, RawSample, Timestamp};

/// Longest stretch that is credited in one go, s. A longer one means that the machine slept or the
/// clock jumped: that time is unknown.
const GAP_S_MAX: i64 = 900;
/// Raw samples that may wait for the next beat; older ones are dropped first.
const RAW_WAITING_MAX: usize = 240;

/// What a stretch of time counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Up,
    Down,
    Unknown,
}

/// The figures of one camera between two beats of the store.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    /// Up to where time has been credited, ms since the epoch; 0 = not begun.
    credited_until_ms: i64,
    /// Touched hours, oldest first; the last is the running one.
    hours: Vec<(u32, HourRollup)>,
    raw: Vec<RawSample>,
}

impl Accumulator {
    /// Goes on with the hour that was running when the daemon stopped.
    pub fn resume(hour: u32, rollup: HourRollup) -> Self {
        Self {
            credited_until_ms: 0,
            hours: vec![(hour, rollup)],
            raw: Vec::new(),
        }
    }

    /// Credits the time since the last call. Clock jumps, in either direction, are not credited.
    pub fn credit(&mut self, now: Timestamp, span: Span) {
        let from_ms = std::mem::replace(&mut self.credited_until_ms, now.unix_ms());
        let elapsed_ms = now.unix_ms() - from_ms;
        if from_ms == 0 || elapsed_ms <= 0 || elapsed_ms > GAP_S_MAX * 1000 || span == Span::Unknown
        {
            return;
        }
        // Whole seconds on the wall clock: rounding never adds up to drift.
        let (mut from_s, to_s) = (from_ms.div_euclid(1000), now.unix_s());
        while from_s < to_s {
            let hour = from_s.div_euclid(i64::from(HOUR_S));
            let end_s = ((hour + 1) * i64::from(HOUR_S)).min(to_s);
            let rollup = self.hour_mut(hour as u32);
            let seconds = (end_s - from_s) as u16;
            match span {
                Span::Up => rollup.up_s = (rollup.up_s + seconds).min(HOUR_S as u16),
                Span::Down => rollup.down_s = (rollup.down_s + seconds).min(HOUR_S as u16),
                Span::Unknown => {}
            }
            from_s = end_s;
        }
    }

    /// True if [`Self::credit`] was called before.
    pub fn has_begun(&self) -> bool {
        self.credited_until_ms != 0
    }

    /// Time up to `now` stays uncredited: the camera was disabled.
    pub fn skip_to(&mut self, now: Timestamp) {
        self.credited_until_ms = now.unix_ms();
    }

    /// Counts one check.
    pub fn sample(
        &mut self,
        now: Timestamp,
        response_ms: Option<u32>,
        cause: Option<ErrorCode>,
        grade: Grade,
    ) {
        let hour = now.unix_s().div_euclid(i64::from(HOUR_S)) as u32;
        self.hour_mut(hour).count_check(response_ms);
        if self.raw.len() == RAW_WAITING_MAX {
            self.raw.remove(0);
        }
        self.raw.push(RawSample {
            at_unix_s: now.unix_s() as u32,
            response_ms: response_ms.map(|ms| ms.min(65_534) as u16),
            cause: cause.map_or(0, ErrorCode::number),
            grade: grade as u8,
        });
    }

    pub fn count_disconnection(&mut self, now: Timestamp) {
        let hour = now.unix_s().div_euclid(i64::from(HOUR_S)) as u32;
        let rollup = self.hour_mut(hour);
        rollup.disconnections = rollup.disconnections.saturating_add(1);
    }

    pub fn count_reconnect_attempt(&mut self, now: Timestamp) {
        let hour = now.unix_s().div_euclid(i64::from(HOUR_S)) as u32;
        let rollup = self.hour_mut(hour);
        rollup.reconnect_attempts = rollup.reconnect_attempts.saturating_add(1);
    }

    /// The hours that are not in the store yet (or are newer here than there).
    pub fn hours(&self) -> &[(u32, HourRollup)] {
        &self.hours
    }

    pub fn raw(&self) -> &[RawSample] {
        &self.raw
    }

    /// After a beat: hands over finished hours and the raw samples, keeps the running hour.
    pub fn stored(&mut self, raw_stored: usize) {
        self.raw.drain(..raw_stored.min(self.raw.len()));
        let keep = self.hours.len().saturating_sub(1);
        self.hours.drain(..keep);
    }

    fn hour_mut(&mut self, hour: u32) -> &mut HourRollup {
        let at = match self.hours.binary_search_by_key(&hour, |(h, _)| *h) {
            Ok(at) => at,
            Err(at) => {
                self.hours.insert(at, (hour, HourRollup::default()));
                at
            }
        };
        &mut self.hours[at].1
    }
}

/// One camera's sums over some hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub up_s: u64,
    pub down_s: u64,
    pub checks_ok: u64,
    pub checks_failed: u64,
    pub response_sum_ms: u64,
    pub disconnections: u64,
    pub reconnect_attempts: u64,
}

impl Totals {
    pub fn add(&mut self, hour: &HourRollup) {
        self.up_s += u64::from(hour.up_s);
        self.down_s += u64::from(hour.down_s);
        self.checks_ok += u64::from(hour.checks_ok);
        self.checks_failed += u64::from(hour.checks_failed);
        self.response_sum_ms += u64::from(hour.response_sum_ms);
        self.disconnections += u64::from(hour.disconnections);
        self.reconnect_attempts += u64::from(hour.reconnect_attempts);
    }

    pub fn plus(mut self, hours: &[(u32, HourRollup)]) -> Self {
        hours.iter().for_each(|(_, hour)| self.add(hour));
        self
    }

    /// Share of the known time that the camera was up, 0 to 100, rounded to 0.01; `None` when
    /// nothing is known.
    pub fn uptime_percentage(&self) -> Option<f64> {
        let known = self.up_s + self.down_s;
        (known > 0).then(|| (self.up_s as f64 * 10_000.0 / known as f64).round() / 100.0)
    }

    pub fn average_response_ms(&self) -> Option<u32> {
        self.response_sum_ms
            .checked_div(self.checks_ok)
            .map(|ms| ms as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_s(s)
    }

    fn totals(a: &Accumulator) -> Totals {
        Totals::default().plus(a.hours())
    }

    #[test]
    fn time_is_weighted_not_counted() {
        let mut a = Accumulator::default();
        a.credit(at(7200), Span::Up); // begins here: nothing before is known
        a.credit(at(7800), Span::Up);
        a.credit(at(7900), Span::Down);
        assert_eq!((totals(&a).up_s, totals(&a).down_s), (600, 100));
        assert_eq!(totals(&a).uptime_percentage(), Some(85.71));
        assert_eq!(Totals::default().uptime_percentage(), None);
    }

    #[test]
    fn an_hour_is_split_at_its_end() {
        let mut a = Accumulator::default();
        a.credit(at(3500), Span::Up);
        a.credit(at(3700), Span::Down);
        let split: Vec<_> = a.hours().iter().map(|(h, r)| (*h, r.down_s)).collect();
        assert_eq!(split, [(0, 100), (1, 100)]);
        a.stored(0);
        assert_eq!(a.hours().len(), 1);
    }

    #[test]
    fn jumps_of_the_clock_are_unknown_time() {
        let mut a = Accumulator::default();
        a.credit(at(10_000), Span::Up);
        a.credit(at(90_000), Span::Up); // the clock was set, or the machine slept
        a.credit(at(20_000), Span::Up); // and back
        assert_eq!(totals(&a), Totals::default());
        a.credit(at(20_060), Span::Up);
        assert_eq!(totals(&a).up_s, 60);
    }

    #[test]
    fn disabled_time_is_unknown() {
        let mut a = Accumulator::default();
        a.credit(at(100), Span::Up);
        a.credit(at(200), Span::Unknown);
        a.credit(at(260), Span::Up);
        assert_eq!(totals(&a).up_s, 60);
    }

    #[test]
    fn waiting_samples_are_bounded() {
        let mut a = Accumulator::default();
        for s in 0..1000 {
            a.sample(at(s), Some(5), None, Grade::Excellent);
        }
        assert_eq!((a.raw().len(), a.raw()[0].at_unix_s), (240, 760));
        a.stored(240);
        assert!(a.raw().is_empty());
    }
}
