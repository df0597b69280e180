/// Seconds in the unit of the roll-ups.
pub const HOUR_S: u32 = 3600;

/// Upper bounds (exclusive, ms) of the response-time histogram; the last bucket is open.
pub const RESPONSE_BUCKETS_MS: [u32; 7] = [50, 100, 250, 500, 1500, 3000, 6000];

/// One camera's hour, 32 bytes at rest. Times are wall seconds inside the hour; what is neither
/// up nor down is unknown (daemon off, camera disabled).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HourRollup {
    pub up_s: u16,
    pub down_s: u16,
    pub checks_ok: u16,
    pub checks_failed: u16,
    /// Sum over the good checks, ms.
    pub response_sum_ms: u32,
    pub disconnections: u16,
    pub reconnect_attempts: u16,
    /// Good checks by response time, see [`RESPONSE_BUCKETS_MS`].
    pub histogram: [u16; 8],
}

impl HourRollup {
    pub const BYTES: usize = 32;

    /// Fixed little-endian layout, in the order of the fields.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..2].copy_from_slice(&self.up_s.to_le_bytes());
        out[2..4].copy_from_slice(&self.down_s.to_le_bytes());
        out[4..6].copy_from_slice(&self.checks_ok.to_le_bytes());
        out[6..8].copy_from_slice(&self.checks_failed.to_le_bytes());
        out[8..12].copy_from_slice(&self.response_sum_ms.to_le_bytes());
        out[12..14].copy_from_slice(&self.disconnections.to_le_bytes());
        out[14..16].copy_from_slice(&self.reconnect_attempts.to_le_bytes());
        for (slot, count) in out[16..].chunks_exact_mut(2).zip(self.histogram) {
            slot.copy_from_slice(&count.to_le_bytes());
        }
        out
    }

    /// `None` when the length is not [`Self::BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let u16_at = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
        Some(Self {
            up_s: u16_at(0),
            down_s: u16_at(2),
            checks_ok: u16_at(4),
            checks_failed: u16_at(6),
            response_sum_ms: u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            disconnections: u16_at(12),
            reconnect_attempts: u16_at(14),
            histogram: std::array::from_fn(|i| u16_at(16 + 2 * i)),
        })
    }

    /// Counts one check. `response_ms` is `None` for a failed one.
    pub fn count_check(&mut self, response_ms: Option<u32>) {
        let Some(ms) = response_ms else {
            self.checks_failed = self.checks_failed.saturating_add(1);
            return;
        };
        self.checks_ok = self.checks_ok.saturating_add(1);
        self.response_sum_ms = self.response_sum_ms.saturating_add(ms);
        let bucket = RESPONSE_BUCKETS_MS
            .iter()
            .position(|limit| ms < *limit)
            .unwrap_or(7);
        self.histogram[bucket] = self.histogram[bucket].saturating_add(1);
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One check as it is kept for a day: 8 bytes at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawSample {
    pub at_unix_s: u32,
    /// `None` for a failed check; saturates at 65 534 ms.
    pub response_ms: Option<u16>,
    /// [`super::ErrorCode::number`], 0 = none.
    pub cause: u8,
    /// Grade as a number: 0 offline to 4 excellent.
    pub grade: u8,
}

impl RawSample {
    pub const BYTES: usize = 8;

    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let t = self.at_unix_s.to_le_bytes();
        let r = self.response_ms.unwrap_or(u16::MAX).to_le_bytes();
        [t[0], t[1], t[2], t[3], r[0], r[1], self.cause, self.grade]
    }

    /// Every whole sample in a packed row.
    pub fn unpack(row: &[u8]) -> impl Iterator<Item = RawSample> + '_ {
        row.chunks_exact(Self::BYTES).map(|b| {
            let response = u16::from_le_bytes([b[4], b[5]]);
            RawSample {
                at_unix_s: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
                response_ms: (response != u16::MAX).then_some(response),
                cause: b[6],
                grade: b[7],
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollup_survives_its_bytes() {
        let mut hour = HourRollup {
            up_s: 3500,
            down_s: 100,
            ..Default::default()
        };
        hour.count_check(Some(49));
        hour.count_check(Some(7000));
        hour.count_check(None);
        assert_eq!(HourRollup::from_bytes(&hour.to_bytes()), Some(hour));
        assert_eq!(
            (hour.histogram[0], hour.histogram[7], hour.checks_failed),
            (1, 1, 1)
        );
        assert_eq!(HourRollup::from_bytes(&[0; 31]), None);
    }

    #[test]
    fn samples_survive_their_bytes() {
        let samples = [
            RawSample {
                at_unix_s: 1,
                response_ms: Some(245),
                cause: 0,
                grade: 4,
            },
            RawSample {
                at_unix_s: 2,
                response_ms: None,
                cause: 4,
                grade: 0,
            },
        ];
        let row: Vec<u8> = samples.iter().flat_map(RawSample::to_bytes).collect();
        assert!(RawSample::unpack(&row).eq(samples));
    }
}
