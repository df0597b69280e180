//! Is a stream live? Servers keep the last group of pictures and give it to whoever comes, all at once,
//! also when its source has stopped (the GOP cache of nginx-http-flv, SRS, node-media-server).

use std::time::Duration;

/// Timestamps that stand still or jump tell nothing; such pictures are this far apart at least.
const GAP_MIN_MS: u32 = 20;
/// A longer step is a jump.
const STEP_MS_MAX: u32 = 10_000;
/// So much time in such gaps: one alone may be a hiccup of the network.
const PACED_MIN: Duration = Duration::from_millis(150);

/// Compares the times of pictures with those of their arrival.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    last: Option<(u32, Duration)>,
    paced: Duration,
}

impl Pace {
    /// Counts a picture with this timestamp that arrived `at`, a time since the start of media.
    pub fn picture(&mut self, timestamp_ms: u32, at: Duration) {
        if let Some((last_ms, last_at)) = self.last {
            let step_ms = timestamp_ms.wrapping_sub(last_ms);
            let gap = at.saturating_sub(last_at);
            // Half the time between them: cached ones come much faster.
            let least_ms = match step_ms {
                1..=STEP_MS_MAX => step_ms.div_ceil(2),
                _ => GAP_MIN_MS,
            };
            if gap >= Duration::from_millis(least_ms.into()) {
                self.paced = self.paced.saturating_add(gap);
            }
        }
        self.last = Some((timestamp_ms, at));
    }

    /// Pictures came as they were taken.
    pub fn is_live(&self) -> bool {
        self.paced >= PACED_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// True for pictures of these timestamps and times of arrival, milliseconds.
    fn is_live(pictures: impl IntoIterator<Item = (u32, u64)>) -> bool {
        let mut pace = Pace::default();
        for (timestamp_ms, at_ms) in pictures {
            pace.picture(timestamp_ms, Duration::from_millis(at_ms));
        }
        pace.is_live()
    }

    #[test]
    fn a_cached_group_is_not_live_and_what_follows_it_is() {
        let cached = |from: u32| (0..30).map(move |n| (from.wrapping_add(n * 66), u64::from(n)));
        assert!(!is_live(cached(5000)));
        assert!(!is_live(cached(u32::MAX - 500)));
        // A slow line stretches the burst, and hiccups once.
        assert!(!is_live((0..30).map(|n| (n * 66, u64::from(n) * 20))));
        assert!(!is_live(
            (0..30).map(|n| (n * 66, u64::from(n + 40 * (n / 20))))
        ));
        let live = (0..4).map(|n| (5000 + 30 * 66 + n * 66, 100 + u64::from(n) * 66));
        assert!(is_live(cached(5000).chain(live)));
    }

    #[test]
    fn live_pictures_are_known_by_the_first_few() {
        for (fps, pictures) in [(60, 12), (30, 6), (15, 4), (5, 2), (1, 2)] {
            let at = |n: u32| (n * 1000 / fps, u64::from(n * 1000 / fps) + u64::from(n % 3));
            assert!(is_live((0..pictures).map(at)), "{fps}");
            assert!(!is_live((0..1).map(at)), "{fps}");
        }
    }

    #[test]
    fn timestamps_that_tell_nothing_leave_the_times_of_arrival() {
        assert!(is_live((0..5u32).map(|n| (7, u64::from(n) * 66))));
        assert!(is_live((0..5).map(|n| (n * 90_000, u64::from(n) * 66))));
        assert!(!is_live((0..50u32).map(|n| (7, u64::from(n)))));
    }

    proptest! {
        #[test]
        fn any_times_are_survived(times in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..50)) {
            is_live(times.into_iter().map(|(timestamp_ms, at_ms)| (timestamp_ms, u64::from(at_ms))));
        }
    }
}
