//! How often a camera that pushes is heard of, and when its silence means something.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// Heartbeats in a row before their gap is trusted.
const BEATS_MIN: u32 = 3;
/// So many gaps without a beat are silence, and never less than the time below.
const BEATS_MISSED: u64 = 5;
const BEAT_SILENCE_MS_MIN: u64 = 90_000;
/// A camera without heartbeats has quiet nights: it is judged after a day, against its longest pause.
const DAY_MS: u64 = 86_400_000;
const WEEK_MS: u64 = 7 * DAY_MS;
const SILENCE_MS_MAX: u64 = 14 * DAY_MS;
/// The operator's own interval may be missed so often.
const OWN_MISSED: u64 = 3;

/// What is remembered of one camera's messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    last_beat: Option<Timestamp>,
    /// Smoothed gap between heartbeats, ms.
    beat_ms: u64,
    beats: u32,
    /// Longest pauses of this week and of the one before, ms.
    longest_ms: [u64; 2],
    week_began: Option<Timestamp>,
}

/// What a camera's silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It was not heard of long enough to know its rhythm.
    Unknown,
    Usual,
    /// Nothing for `for_s`, where `usual_s` would be the most.
    TooLong {
        for_s: u64,
        usual_s: u64,
    },
}

impl Rhythm {
    /// A message came.
    pub fn heard(&mut self, is_heartbeat: bool, now: Timestamp) {
        self.first.get_or_insert(now);
        let week_began = *self.week_began.get_or_insert(now);
        if now.ms_since(week_began) >= WEEK_MS {
            self.longest_ms = [0, self.longest_ms[0]];
            self.week_began = Some(now);
        }
        if let Some(last) = self.last {
            self.longest_ms[0] = self.longest_ms[0].max(now.ms_since(last));
        }
        self.last = Some(now);
        if !is_heartbeat {
            return;
        }
        if let Some(last) = self.last_beat.replace(now) {
            let gap_ms = now.ms_since(last);
            self.beat_ms = match self.beats {
                0 => gap_ms,
                // What a lost beat stretches, the next ones take back.
                _ => (self.beat_ms * 7 + gap_ms) / 8,
            };
            self.beats = self.beats.saturating_add(1);
        }
    }

    /// Time goes on, but not for what we did not hear: after a start of our own, or of the network's.
    pub fn resumed(&mut self, now: Timestamp) {
        self.last = self.last.map(|_| now);
        self.last_beat = None;
    }

    /// How silence is judged now; `own_s` is the operator's word for how often a message comes.
    pub fn silence(&self, own_s: Option<u32>, now: Timestamp) -> Silence {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Silence::Unknown;
        };
        let Some(usual_ms) = self.usual_ms(own_s, now.ms_since(first)) else {
            // It has just been heard of: whatever its rhythm, it is there.
            return match now.ms_since(last) < DAY_MS {
                true => Silence::Usual,
                false => Silence::Unknown,
            };
        };
        let for_ms = now.ms_since(last);
        match for_ms > usual_ms {
            true => Silence::TooLong {
                for_s: for_ms / 1000,
                usual_s: usual_ms / 1000,
            },
            false => Silence::Usual,
        }
    }

    fn usual_ms(&self, own_s: Option<u32>, known_ms: u64) -> Option<u64> {
        if let Some(own_s) = own_s {
            return Some(u64::from(own_s) * 1000 * OWN_MISSED);
        }
        if self.beats >= BEATS_MIN {
            return Some((self.beat_ms * BEATS_MISSED).clamp(BEAT_SILENCE_MS_MIN, SILENCE_MS_MAX));
        }
        let longest_ms = self.longest_ms[0].max(self.longest_ms[1]);
        (known_ms >= DAY_MS).then(|| (longest_ms * 2).clamp(DAY_MS, SILENCE_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_s(s)
    }

    fn too_long(rhythm: &Rhythm, own_s: Option<u32>, s: i64) -> bool {
        matches!(rhythm.silence(own_s, at(s)), Silence::TooLong { .. })
    }

    #[test]
    fn heartbeats_tell_silence_soon() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.silence(None, at(0)), Silence::Unknown);
        (0..20).for_each(|i| rhythm.heard(true, at(i * 60)));
        let last = 19 * 60;
        assert_eq!(rhythm.silence(None, at(last + 299)), Silence::Usual);
        let silence = rhythm.silence(None, at(last + 301));
        let wanted = Silence::TooLong {
            for_s: 301,
            usual_s: 300,
        };
        assert_eq!(silence, wanted);
        // Any message is a sign of life.
        rhythm.heard(false, at(last + 400));
        assert_eq!(rhythm.silence(None, at(last + 401)), Silence::Usual);
    }

    #[test]
    fn quick_heartbeats_are_not_nervous() {
        let mut rhythm = Rhythm::default();
        (0..100).for_each(|i| rhythm.heard(true, at(i)));
        assert!(!too_long(&rhythm, None, 99 + 89));
        assert!(too_long(&rhythm, None, 99 + 91));
    }

    #[test]
    fn a_quiet_night_is_no_outage() {
        let mut rhythm = Rhythm::default();
        let hour = 3600;
        for day in 0..3 {
            (8..20).for_each(|h| rhythm.heard(false, at((day * 24 + h) * hour)));
        }
        let last = (2 * 24 + 19) * hour;
        assert!(!too_long(&rhythm, None, last + 13 * hour));
        assert!(!too_long(&rhythm, None, last + 24 * hour));
        assert!(too_long(&rhythm, None, last + 27 * hour));
        // One that is hardly known is not judged.
        let mut new = Rhythm::default();
        new.heard(false, at(0));
        new.heard(false, at(5));
        assert_eq!(new.silence(None, at(600)), Silence::Usual);
    }

    #[test]
    fn the_operators_word_counts_first() {
        let mut rhythm = Rhythm::default();
        rhythm.heard(false, at(0));
        assert!(!too_long(&rhythm, Some(60), 179));
        assert!(too_long(&rhythm, Some(60), 181));
        rhythm.resumed(at(1000));
        assert!(
            !too_long(&rhythm, Some(60), 1100),
            "nobody listened meanwhile"
        );
    }

    #[test]
    fn survives_a_restart_as_json() {
        let mut rhythm = Rhythm::default();
        (0..9).for_each(|i| rhythm.heard(true, at(i * 10)));
        let json = serde_json::to_string(&rhythm).unwrap();
        assert_eq!(serde_json::from_str::<Rhythm>(&json).unwrap(), rhythm);
    }
}
