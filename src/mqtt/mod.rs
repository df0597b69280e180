//! Reports to an MQTT broker and takes commands from it. Nothing is sent before `mqtt.url` is set.
//!
//! ```text
//! site --what changed--> session --messages--> client --> dial --> broker
//! ```
//!
//! What stands in topics is made by `topics`, `payloads` and `discovery`, which touch nothing. States
//! are never queued: the session keeps the names of what changed and reads the newest. Events wait in
//! the store until the broker has taken them.

pub mod check;
pub mod client;
pub mod command;
pub mod commands;
pub mod desired;
pub mod dial;
pub mod discovery;
mod outbox;
pub mod payloads;
mod published;
pub mod report;
pub mod sealed;
mod session;
pub mod slug;
pub mod topics;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config;
use crate::model::{Secret, Timestamp};
use crate::policy::backoff::Backoff;
use crate::site::{Site, dice};
use crate::sys::watchdog::Mark;

use client::LinkError;
use dial::DialError;
use session::End;

/// How a lost broker is tried again.
const BACKOFF: Backoff = Backoff {
    first_delay_s: 1,
    max_delay_s: 60,
    max_attempts: 0,
    jitter: 0.3,
};
/// A session that lasted this long begins the delays anew. Two gateways with one id throw each other
/// off at once, and must not do so in a tight loop.
const LASTING: Duration = Duration::from_secs(30);
/// The reporter shows that it lives at least this often.
const PULSE: Duration = Duration::from_secs(10);
/// The watchdog's deadline: the longest delay, and some more.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// Sessions of an instant, one after the other, that look like a second client with our id.
const SHORT_SESSIONS: u32 = 3;

/// What the reporter takes from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub mqtt: config::Mqtt,
    /// `name` is never empty.
    pub gateway: config::Gateway,
    /// The password that was stored, for want of a file.
    pub password: Option<Secret>,
}

/// What the reporter is made of.
#[derive(Debug)]
pub struct Parts {
    pub site: Arc<Site>,
    pub commands: Arc<commands::Commands>,
    pub desired: Arc<desired::Reconciler>,
    /// The gateway's id.
    pub gateway: String,
    /// Where the disk is measured.
    pub state_dir: PathBuf,
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The settings with which the broker was reached last.
    pub reached: watch::Sender<Option<Arc<Settings>>>,
    pub mark: Mark,
    pub stop: CancellationToken,
}

/// What outlives single sessions.
#[derive(Debug)]
pub struct Reporter {
    parts: Parts,
    boot_id: Uuid,
    started_at: Timestamp,
    counters: Counters,
    /// Nothing is listened to: what comes in would break the link again and again.
    is_deaf: AtomicBool,
}

/// Since the start of the daemon.
#[derive(Debug, Default)]
struct Counters {
    sessions: AtomicU64,
    published: AtomicU64,
    refused: AtomicU64,
}

impl Reporter {
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            boot_id: Uuid::now_v7(),
            started_at: crate::brake::now(),
            counters: Counters::default(),
            is_deaf: AtomicBool::new(false),
        })
    }

    /// Reports until the daemon stops; a broker that is away is tried again and again.
    pub async fn run(self: Arc<Self>) {
        let mut settings = self.parts.settings.clone();
        let mut failures = Failures::default();
        loop {
            let now = settings.borrow_and_update().clone();
            if now.mqtt.url.is_none() {
                self.parts.site.set_reported(None);
                failures = Failures::default();
                match self.wait(None, &mut settings).await {
                    Woken::Stopped => return,
                    _ => continue,
                }
            }
            let began = Instant::now();
            let ended = Box::pin(session::run(&self, now, &mut settings, failures.in_a_row)).await;
            self.parts.site.end_report();
            if let End::Failed(Failure::Link(LinkError::TooLarge)) = ended
                && !self.is_deaf.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    "commands over MQTT are off until the settings change or the daemon starts anew: a message that is too large waits on one of their topics, and MQTT 3.1.1 cannot refuse it"
                );
            }
            match ended {
                End::Stopped => return,
                End::Reconfigured => {
                    self.is_deaf.store(false, Ordering::Relaxed);
                    failures = Failures::default();
                    continue;
                }
                End::Failed(failure) => failures.add(&failure, began.elapsed()),
            }
            let delay_s = BACKOFF.delay_s(failures.in_a_row).unwrap_or(1);
            let delay_ms = BACKOFF.jittered_ms(delay_s, dice());
            let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
            match self.wait(Some(delay), &mut settings).await {
                Woken::Stopped => return,
                Woken::Changed => failures = Failures::default(),
                Woken::Elapsed => {}
            }
        }
    }

    /// Waits, for ever without `delay`, and shows that it lives meanwhile.
    async fn wait(
        &self,
        delay: Option<Duration>,
        settings: &mut watch::Receiver<Arc<Settings>>,
    ) -> Woken {
        let end = delay.map(|delay| Instant::now() + delay);
        loop {
            self.parts.mark.touch();
            let pulse = Instant::now() + PULSE;
            tokio::select! {
                () = self.parts.stop.cancelled() => return Woken::Stopped,
                changed = settings.changed() => return match changed {
                    Ok(()) => Woken::Changed,
                    Err(_) => Woken::Stopped,
                },
                () = sleep_until(end.map_or(pulse, |end| end.min(pulse))) => {
                    if end.is_some_and(|end| end <= Instant::now()) {
                        return Woken::Elapsed;
                    }
                }
            }
        }
    }

    fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        counter(&self.counters).fetch_add(1, Ordering::Relaxed) + 1
    }
}

enum Woken {
    Stopped,
    Changed,
    Elapsed,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("{0}")]
    Link(#[from] LinkError),
    #[error("{0}")]
    Store(String),
}

/// Failures since the broker was last reached for a while; says each reason once.
#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    told: String,
    short_sessions: u32,
}

impl Failures {
    fn add(&mut self, failure: &Failure, lasted: Duration) {
        if lasted >= LASTING {
            *self = Self::default();
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let mut sentence = failure.to_string();
        let is_closed = *failure == Failure::Link(client::closed());
        self.short_sessions = if is_closed {
            self.short_sessions + 1
        } else {
            0
        };
        if self.short_sessions >= SHORT_SESSIONS {
            sentence.push_str(" again and again: has another gateway the same identity? `ohmvision reset-identity` gives a copy its own");
        }
        if self.told == sentence {
            tracing::debug!(failures = self.in_a_row, "no broker: {sentence}");
            return;
        }
        tracing::warn!("no MQTT broker, it is tried again and again: {sentence}");
        self.told = sentence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_counted_until_a_session_lasted() {
        let mut failures = Failures::default();
        let failure = Failure::Dial(DialError::Name("nowhere".to_owned()));
        for n in 1..=3 {
            failures.add(&failure, Duration::from_secs(1));
            assert_eq!(failures.in_a_row, n);
        }
        failures.add(&failure, LASTING);
        assert_eq!(failures.in_a_row, 1);
    }

    /// The page for people names what there is.
    #[test]
    fn the_page_tells_of_everything() {
        let page = include_str!("../../packaging/doc/mqtt.md");
        let says = |name: &str| page.contains(&format!("`{name}`"));
        for kind in discovery::KINDS {
            let name = payloads::event_type(*kind);
            assert!(says(&name), "event {name}");
        }
        for kind in command::TYPES {
            assert!(says(kind.name), "command {}", kind.name);
        }
        for code in command::REFUSALS {
            assert!(says(code), "refusal {code}");
        }
        let topics = topics::Topics::new("ohmvision", "homeassistant", "<gw>");
        let leaves = published::CAMERA_LEAVES.iter();
        let camera = leaves.map(|leaf| format!("ohmvision/<gw>/cam/<cam>/{leaf}"));
        let own = ["status", "info", "health", "cams", "desired", "reported"]
            .map(|leaf| topics.own(leaf));
        for topic in camera.chain(own) {
            assert!(says(&topic), "topic {topic}");
        }
    }

    #[test]
    fn sessions_of_an_instant_point_to_a_second_gateway() {
        let mut failures = Failures::default();
        let failure = Failure::Link(client::closed());
        for _ in 0..SHORT_SESSIONS {
            assert!(!failures.told.contains("identity"));
            failures.add(&failure, Duration::from_secs(1));
        }
        assert!(failures.told.contains("identity"), "{}", failures.told);
    }
}
