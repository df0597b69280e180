//! How fast we send: one pace for all senders of a kind.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The timer ticks in milliseconds: up to one tick's worth goes out together, and what a late timer
/// cost, up to [`CATCH_UP`], is made good.
const TICK: Duration = Duration::from_millis(1);
const CATCH_UP: Duration = Duration::from_millis(3);

/// Gives leave to send, so many times per second at most.
#[derive(Debug)]
pub struct Pace {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub fn per_second(count: u32) -> Self {
        Self {
            gap: Duration::from_secs(1) / count.max(1),
            next: Mutex::new(None),
        }
    }

    /// Waits until the next one may go, and takes the turns of all that may go with it, `count_max` at most.
    pub async fn turns(&self, count_max: usize) -> usize {
        self.turn().await;
        let until = Instant::now() + TICK;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 1;
        while count < count_max
            && let Some(due) = next.as_mut().filter(|due| **due < until)
        {
            *due += self.gap;
            count += 1;
        }
        count
    }

    /// Waits until the next one may go. Those who wait are served in turn.
    pub async fn turn(&self) {
        let now = Instant::now();
        let due = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            let due = next.map_or(now, |at| at.max(earliest));
            *next = Some(due + self.gap);
            due
        };
        if due >= now + TICK {
            sleep_until(due).await;
        }
    }
}

/// Most that a scan sends per second, over all interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub arp_frames: u32,
    pub connects: u32,
    pub udp_queries: u32,
}

impl Rates {
    /// For what nobody waits for.
    pub fn tenth(self) -> Self {
        Self {
            arp_frames: (self.arp_frames / 10).max(1),
            connects: (self.connects / 10).max(1),
            udp_queries: (self.udp_queries / 10).max(1),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            arp_frames: 20_000,
            connects: 10_000,
            udp_queries: 2_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_and_hardly_less() {
        for rate in [1, 50, 2_000, 20_000] {
            let pace = Pace::per_second(rate);
            let start = Instant::now();
            for _ in 0..=rate * 2 {
                pace.turn().await;
            }
            let took = start.elapsed().as_secs_f64();
            assert!((1.99..2.01).contains(&took), "{rate} per second: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn together_they_are_no_faster() {
        for rate in [1, 50, 2_000, 20_000] {
            let pace = Pace::per_second(rate);
            let (start, mut sent) = (Instant::now(), 0);
            while sent <= rate as usize * 2 {
                let count = pace.turns(32).await;
                assert!((1..=32).contains(&count));
                sent += count;
            }
            let took = start.elapsed().as_secs_f64();
            assert!((1.98..2.02).contains(&took), "{rate} per second: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_nothing_up() {
        let pace = Pace::per_second(10);
        pace.turn().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..11 {
            pace.turn().await;
        }
        let took = start.elapsed();
        assert!(took + CATCH_UP >= Duration::from_secs(1), "{took:?}");
    }
}
