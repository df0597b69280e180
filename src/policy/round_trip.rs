//! How long to wait for an answer, learned from the answers before (RFC 6298).

use std::time::Duration;

/// No network is waited for less: a camera that sleeps or records takes its time.
const LEAST: Duration = Duration::from_millis(200);
/// Before anything was measured (RFC 6298 section 2.1), and never more.
const MOST: Duration = Duration::from_secs(1);

/// The round trips of one network.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
}

impl RoundTrip {
    /// Takes in one measured round trip.
    pub fn note(&mut self, trip: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(trip);
                self.variation = trip / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(trip)) / 4;
                self.smoothed = Some((smoothed * 7 + trip) / 8);
            }
        }
    }

    /// How long an answer may take.
    pub fn limit(&self) -> Duration {
        match self.smoothed {
            None => MOST,
            Some(smoothed) => (smoothed + self.variation * 4).clamp(LEAST, MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(trips_ms: &[u64]) -> u128 {
        let mut trip = RoundTrip::default();
        for ms in trips_ms {
            trip.note(Duration::from_millis(*ms));
        }
        trip.limit().as_millis()
    }

    #[test]
    fn the_wait_follows_the_network() {
        assert_eq!(after(&[]), 1000, "nothing known");
        assert_eq!(after(&[1; 10]), 200, "a quick LAN");
        assert_eq!(after(&[100]), 300, "100 + 4 * 50");
        let steady = after(&[150; 30]);
        assert!((200..210).contains(&steady), "{steady}");
        let restless = after(&[20, 300, 20, 300, 20, 300, 20, 300]);
        assert!(restless > 500, "{restless}");
        assert_eq!(after(&[5000; 3]), 1000, "never more than a second");
    }
}
