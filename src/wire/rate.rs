//! Frame rates by the timestamps of a stored stream, which comes as fast as the line allows: the times
//! of arrival say nothing there (live packets: [`super::rtp::RateMeter`]).

use super::sdp::plausible_fps;

/// Fewer frames measure badly.
const FRAMES_MIN: u32 = 3;
/// A measurement is good enough after this long, seconds.
const WINDOW_S: f64 = 2.0;
/// A jump by more between two frames is a discontinuity, seconds.
const JUMP_S_MAX: f64 = 10.0;

/// Counts frames and the time that they cover. Gaps and jumps begin a new stretch that adds up.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimestampRate {
    last: Option<u64>,
    /// Frames behind the first of each stretch, and the time between them.
    intervals: u32,
    ticks: u64,
}

impl TimestampRate {
    /// The next frame, at a time in ticks of `ticks_per_s`, best its decoding time: presentation times
    /// go back and forth where there are B-frames.
    pub fn frame(&mut self, at: u64, ticks_per_s: u32) {
        if let Some(last) = self.last {
            let step = at.wrapping_sub(last);
            let is_later = step > 0 && step as f64 <= JUMP_S_MAX * f64::from(ticks_per_s);
            if is_later {
                self.intervals = self.intervals.saturating_add(1);
                self.ticks = self.ticks.saturating_add(step);
            }
        }
        self.last = Some(at);
    }

    /// True when more frames would tell no more.
    pub fn is_full(&self, ticks_per_s: u32) -> bool {
        self.intervals + 1 >= FRAMES_MIN && self.ticks as f64 >= WINDOW_S * f64::from(ticks_per_s)
    }

    /// Frames per second, rounded to 0.1; `None` for too few frames.
    pub fn fps(&self, ticks_per_s: u32) -> Option<f64> {
        if self.intervals + 1 < FRAMES_MIN || self.ticks == 0 {
            return None;
        }
        plausible_fps(f64::from(self.intervals) * f64::from(ticks_per_s) / self.ticks as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(times: impl IntoIterator<Item = u64>) -> TimestampRate {
        let mut rate = TimestampRate::default();
        times.into_iter().for_each(|at| rate.frame(at, 90_000));
        rate
    }

    #[test]
    fn frames_over_time() {
        let steady = rate((0..51).map(|n| n * 3600));
        assert_eq!(
            (steady.fps(90_000), steady.is_full(90_000)),
            (Some(25.0), true)
        );
        assert!(!rate((0..20).map(|n| n * 3600)).is_full(90_000));
        assert_eq!(rate([0, 3600]).fps(90_000), None);
        assert_eq!(rate([5, 5, 5, 5]).fps(90_000), None);
    }

    #[test]
    fn a_jump_is_no_frame_interval() {
        let times = (0..20)
            .map(|n| n * 6000)
            .chain((0..20).map(|n| (1 << 32) + n * 6000));
        assert_eq!(rate(times).fps(90_000), Some(15.0));
    }
}
