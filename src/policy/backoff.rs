//! When to try again.

/// How a lost camera is tried again: `first`, doubled each time up to `max`, for `attempts` times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    pub first_delay_s: u32,
    pub max_delay_s: u32,
    /// 0 = for ever, at the longest delay.
    pub max_attempts: u32,
    /// Share of the delay that is added or taken away at random, `0.0..=0.5`.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first_delay_s: 10,
            max_delay_s: 300,
            max_attempts: 5,
            jitter: 0.1,
        }
    }
}

impl Backoff {
    /// Nominal delay before attempt `attempt` (from 1), or `None` when there are no more.
    pub fn delay_s(&self, attempt: u32) -> Option<u32> {
        if self.max_attempts != 0 && attempt > self.max_attempts {
            return None;
        }
        let doubled = 1u32
            .checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        Some(
            self.first_delay_s
                .saturating_mul(doubled)
                .min(self.max_delay_s),
        )
    }

    /// The delay with its jitter, ms. `dice` is random in `0.0..1.0`.
    pub fn jittered_ms(&self, delay_s: u32, dice: f64) -> i64 {
        let factor = 1.0 + self.jitter * (2.0 * dice - 1.0);
        (f64::from(delay_s) * 1000.0 * factor) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_ends() {
        let plan: Vec<_> = (1..=6).map(|n| Backoff::default().delay_s(n)).collect();
        assert_eq!(
            plan,
            [Some(10), Some(20), Some(40), Some(80), Some(160), None]
        );
        let endless = Backoff {
            max_attempts: 0,
            ..Backoff::default()
        };
        assert_eq!(
            (endless.delay_s(6), endless.delay_s(4_000_000)),
            (Some(300), Some(300))
        );
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let b = Backoff::default();
        assert_eq!(b.jittered_ms(10, 0.0), 9_000);
        assert_eq!(b.jittered_ms(10, 0.5), 10_000);
        assert!((9_000..=11_000).contains(&b.jittered_ms(10, 0.999)));
    }
}
