//! How much one sender may send: so many at once, and so many in the long run.

/// A sender's allowance. Times are milliseconds of any clock that does not go back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Until here everything is used up.
    used_until_ms: u64,
}

/// So many at once, then one every `gap_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub burst: u32,
    pub gap_ms: u32,
}

impl Bucket {
    /// Takes one; `Err` is how long to wait for the next, ms.
    pub fn take(&mut self, allowance: Allowance, now_ms: u64) -> Result<(), u64> {
        let gap_ms = u64::from(allowance.gap_ms);
        let ahead_max_ms = gap_ms * u64::from(allowance.burst.max(1));
        let next_ms = self.used_until_ms.max(now_ms) + gap_ms;
        match next_ms.checked_sub(now_ms + ahead_max_ms) {
            None | Some(0) => {
                self.used_until_ms = next_ms;
                Ok(())
            }
            Some(wait_ms) => Err(wait_ms),
        }
    }

    /// Nothing is used: forgetting it changes nothing.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.used_until_ms <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let allowance = Allowance {
            burst: 5,
            gap_ms: 200,
        };
        let mut bucket = Bucket::default();
        (0..5).for_each(|_| assert_eq!(bucket.take(allowance, 1000), Ok(())));
        assert_eq!(bucket.take(allowance, 1000), Err(200));
        assert_eq!(bucket.take(allowance, 1150), Err(50));
        assert_eq!(bucket.take(allowance, 1200), Ok(()));
        assert!(!bucket.is_full(1201) && bucket.is_full(2200));
        let many = (2200..12_200).filter(|ms| bucket.take(allowance, *ms).is_ok());
        // Ten seconds at five a second, and the burst but for the one that is not full yet.
        assert_eq!(many.count(), 54);
    }
}
