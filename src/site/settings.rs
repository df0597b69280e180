//! What the site takes from the configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Camera, ConnectionType};
use crate::policy::backoff::Backoff;
use crate::policy::lifecycle::Rules;
use crate::policy::networks::AllowedNetworks;
use crate::probe::Limits;

/// The part of the configuration that health checks and detections follow.
#[derive(Debug, Clone)]
pub struct Settings {
    pub interval_s: u32,
    pub timeout_ms: u32,
    pub frame_timeout_ms: u32,
    /// `None`: only at add and after a recovery.
    pub verify_frames_every_s: Option<u32>,
    pub failures_to_offline: u32,
    pub backoff: Backoff,
    pub networks: Arc<AllowedNetworks>,
    pub scan: super::ScanSettings,
    /// Between two beats of the store.
    pub checkpoint_interval_s: u32,
}

impl Settings {
    /// The rules for one camera: its own settings over the global ones.
    pub fn rules(&self, camera: &Camera) -> Rules {
        let own = &camera.connection_config;
        let interval_s = own.check_interval_s.unwrap_or(self.interval_s);
        Rules {
            interval_s,
            failures_to_offline: self.failures_to_offline,
            verify_frames: own.verify_frames.unwrap_or(true),
            verify_frames_every_s: self.verify_frames_every_s,
            backoff: Backoff {
                max_attempts: own.retry.unwrap_or(self.backoff.max_attempts),
                ..self.backoff
            },
            reconnects: camera.connection_type != Some(ConnectionType::Webhook),
            offset_ms: spread_ms(camera.uid.as_bytes(), interval_s),
        }
    }

    /// Deadlines for one camera's checks.
    pub fn limits(&self, camera: &Camera) -> Limits {
        let answer_ms = camera
            .connection_config
            .timeout_ms
            .unwrap_or(self.timeout_ms);
        let answer = Duration::from_millis(u64::from(answer_ms));
        let frame = Duration::from_millis(u64::from(self.frame_timeout_ms));
        let default = Limits::default();
        Limits {
            connect: default.connect.min(answer),
            tls: default.tls.min(answer),
            answer,
            first_packet: default.first_packet,
            frame,
            total: answer + frame,
        }
    }
}

/// A camera's stable place in the interval, ms: checks are spread and stay where they are.
fn spread_ms(uid: &[u8], interval_s: u32) -> u64 {
    // FNV-1a: any mixing will do, but it must be the same after each restart.
    let hash = uid.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % (u64::from(interval_s.max(1)) * 1000)
}

#[cfg(test)]
mod tests {
    use super::spread_ms;

    #[test]
    fn cameras_are_spread_over_the_interval() {
        let mut slots = [0_u32; 6];
        for n in 0..600_u128 {
            let at = spread_ms(&n.to_be_bytes(), 60);
            assert!(at < 60_000);
            slots[(at / 10_000) as usize] += 1;
        }
        assert!(
            slots.iter().all(|count| (60..=140).contains(count)),
            "{slots:?}"
        );
    }
}
