//! What is told of cameras and of the gateway: the newest state, and only where it differs from what
//! was told before.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::Settings;
use super::client::{Content, Message};
use super::discovery::Announce;
use super::payloads::{self, CameraState};
use super::topics::{Subject, Topics};
use crate::model::Camera;
use crate::site::Entry;

/// An unchanged state is told again after this.
pub const REPEAT: Duration = Duration::from_secs(600);
/// Of a camera's state, about.
const BODY_BYTES: usize = 768;
/// A response time is news when it moved by more than this, ms, and by a quarter.
const RESPONSE_STEP_MS: u32 = 100;

/// What was told of a camera: digests, not bodies.
#[derive(Debug, Clone)]
pub struct Told {
    pub uid: Uuid,
    /// Counts the changes of its record.
    pub revision: u64,
    /// Of what its record says: document and `info`.
    record: u64,
    availability: &'static str,
    alarm: u64,
    state: u64,
    response_time_ms: Option<u32>,
    /// When the state is told again.
    pub repeat_at: Instant,
    /// The line in `cams`.
    pub line: u64,
}

/// Makes messages of what a session tells.
#[derive(Debug)]
pub struct Teller<'a> {
    pub topics: &'a Topics,
    pub settings: &'a Settings,
}

impl Teller<'_> {
    fn announce(&self) -> Option<Announce<'_>> {
        self.settings.mqtt.home_assistant.then_some(Announce {
            topics: self.topics,
            gateway_name: &self.settings.gateway.name,
            site: &self.settings.gateway.site,
            allowed: &self.settings.mqtt.allowed_commands,
        })
    }

    /// What has to be said of a camera after `told`, and what is told then. In the order in which a
    /// consumer that knows nothing needs them.
    pub fn camera(
        &self,
        entry: &Entry,
        told: Option<&Told>,
        now: Instant,
        out: &mut Vec<Message>,
    ) -> Told {
        let camera = &entry.camera;
        let topic = |leaf: &str| self.topics.camera(camera.uid, leaf);
        let record = digest(&record(camera));
        let is_new_record = told.is_none_or(|t| t.record != record);
        if let Some(announce) = self.announce().filter(|_| is_new_record) {
            let document = announce.camera(camera).to_string();
            out.push(retained(
                self.topics.discovery(Subject::Camera(camera.uid)),
                document,
            ));
        }
        let availability = payloads::availability(entry);
        if told.is_none_or(|t| t.availability != availability) {
            out.push(text(topic("availability"), availability));
        }
        if is_new_record {
            out.push(retained(
                topic("info"),
                json(&payloads::CameraInfo::new(camera)),
            ));
        }
        let alarm = payloads::offline_alarm(entry).map_or(String::new(), |alarm| alarm.to_string());
        let alarm_digest = digest(&alarm);
        if told.is_none_or(|t| t.alarm != alarm_digest) {
            out.push(retained(topic("alarm/offline"), alarm));
        }
        let health = entry.health();
        let state = CameraState::new(entry, &health);
        let state_digest = digest(&state.essence());
        let response_time_ms = health.response_time_ms;
        let is_told = told.is_some_and(|t| {
            t.state == state_digest
                && !has_moved(t.response_time_ms, response_time_ms)
                && now < t.repeat_at
        });
        if !is_told {
            out.push(retained(topic("state"), json(&state)));
        }
        let before = told.filter(|_| is_told);
        Told {
            revision: camera.revision,
            uid: camera.uid,
            record,
            availability,
            alarm: alarm_digest,
            state: state_digest,
            response_time_ms: before.map_or(response_time_ms, |t| t.response_time_ms),
            repeat_at: before.map_or(now + repeat_after(camera.uid, told.is_none()), |t| {
                t.repeat_at
            }),
            line: digest(&(record, health.connection_health, health.since)),
        }
    }

    /// The gateway's document for Home Assistant, where that is wanted.
    pub fn gateway_document(&self) -> Option<Message> {
        let announce = self.announce()?;
        let topic = self.topics.discovery(Subject::Gateway);
        Some(retained(topic, announce.gateway().to_string()))
    }
}

/// Whatever of a camera's record stands in its document or in `info`.
fn record(camera: &Camera) -> impl std::hash::Hash + use<'_> {
    (
        (
            &camera.name,
            &camera.tags,
            &camera.manufacturer,
            &camera.model,
        ),
        (
            &camera.firmware_version,
            &camera.serial_number,
            &camera.mac_address,
            &camera.ip_address,
        ),
        (
            camera.connection_type,
            camera.nvr_id,
            camera.channel,
            camera.picture_url().is_some(),
            camera.revision,
        ),
    )
}

/// The first repetitions are spread, so that a large site's do not come all at once.
fn repeat_after(uid: Uuid, is_first: bool) -> Duration {
    match is_first {
        true => {
            let share = (uid.as_u128() % 1000) as u32;
            REPEAT / 2 + REPEAT / 2000 * share
        }
        false => REPEAT,
    }
}

fn has_moved(before: Option<u32>, now: Option<u32>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => before.abs_diff(now) > RESPONSE_STEP_MS.max(before / 4),
        (before, now) => before.is_some() != now.is_some(),
    }
}

/// A retained message; an empty one takes away what was there.
pub fn retained(topic: String, body: String) -> Message {
    Message {
        topic,
        payload: body.into(),
        retain: true,
        content: Content::Json,
    }
}

/// A retained word.
pub fn text(topic: String, word: impl Display) -> Message {
    Message {
        topic,
        payload: word.to_string().into(),
        retain: true,
        content: Content::Text,
    }
}

/// Plain data with string keys: writing it cannot fail.
pub fn json(value: &impl Serialize) -> String {
    // Most of what is told has about that length.
    let mut out = Vec::with_capacity(BODY_BYTES);
    let written = serde_json::to_writer(&mut out, value);
    written
        .ok()
        .and_then(|()| String::from_utf8(out).ok())
        .unwrap_or_default()
}

fn digest(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_moves_of_the_response_time_are_no_news() {
        assert!(!has_moved(Some(20), Some(119)));
        assert!(has_moved(Some(20), Some(121)));
        assert!(!has_moved(Some(1000), Some(1250)));
        assert!(has_moved(Some(1000), Some(1251)));
        assert!(has_moved(None, Some(1)) && has_moved(Some(1), None));
        assert!(!has_moved(None, None));
    }

    #[test]
    fn repetitions_are_spread_once() {
        let spread = repeat_after(Uuid::from_u128(999), true);
        assert!(spread > REPEAT / 2 && spread < REPEAT);
        assert_eq!(repeat_after(Uuid::from_u128(999), false), REPEAT);
    }
}
