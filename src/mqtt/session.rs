//! One session with the broker: from dialling to the end of the link. Everything is told anew at its
//! start; what the library held when a link broke is not asked for.

mod opening;
mod telling;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::client::{Client, Happening, IN_FLIGHT_MAX, Link, Message};
use super::commands::Asked;
use super::outbox::Outbox;
use super::payloads::{OFFLINE, ONLINE};
use super::published::Published;
use super::report::{Told, text};
use super::topics::{Incoming, Subject, Topics};
use super::{Counters, Failure, PULSE, Reporter, Settings};
use crate::model::CameraId;
use crate::site::dice;
use crate::store::StoreError;

use opening::open;

/// What the broker does is taken in so many steps before others have their turn.
const TOGETHER_MAX: usize = 64;
/// The farewell may take this long.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub enum End {
    Stopped,
    Reconfigured,
    Failed(Failure),
}

/// What a message is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Event(u64),
}

/// Pictures being fetched; ends with the session.
struct Round(tokio::task::JoinHandle<()>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Session<'a> {
    reporter: &'a Reporter,
    settings: Arc<Settings>,
    topics: Topics,
    client: Client,
    number: u64,
    /// Largest message that the broker takes.
    bytes_max: usize,
    /// Ready to be sent: what the start wants, or one camera's messages.
    ready: VecDeque<Message>,
    /// Handed to the library, in order; no number yet.
    handed: VecDeque<(String, Kind)>,
    /// Sent and not acknowledged, by packet id.
    in_flight: HashMap<u16, (String, Kind)>,
    outbox: Outbox,
    published: Published,
    is_saved: bool,
    /// What was told of each camera in this session.
    told: HashMap<CameraId, Told>,
    /// Cameras whose state is told again.
    due: BTreeSet<CameraId>,
    cams_changed: bool,
    cams_at: Instant,
    health_at: Instant,
    /// When each camera with pictures is asked for the next one, and the round that runs.
    pictures: HashMap<CameraId, Instant>,
    round: Option<Round>,
    /// Home Assistant came up: everything is told again then.
    again_at: Option<Instant>,
    warned: bool,
}

/// Runs one session. `turn` chooses among several addresses of the broker.
pub async fn run(
    reporter: &Reporter,
    settings: Arc<Settings>,
    changes: &mut watch::Receiver<Arc<Settings>>,
    turn: u32,
) -> End {
    let parts = &reporter.parts;
    let opening = Box::pin(open(reporter, settings, turn));
    let (mut session, way, mut link) = tokio::select! {
        opened = opening => match opened {
            Ok(opened) => opened,
            Err(failure) => return End::Failed(failure),
        },
        () = parts.stop.cancelled() => return End::Stopped,
        _ = changes.changed() => return End::Reconfigured,
    };
    tracing::info!(
        session = session.number,
        "MQTT broker {} is connected",
        way.peer
    );
    let end = match session.start().await {
        Ok(()) => session.report(&mut link, changes).await,
        Err(error) => End::Failed(Failure::Store(error.to_string())),
    };
    match end {
        End::Stopped | End::Reconfigured => {
            let _ = timeout(FAREWELL, session.farewell(&mut link)).await;
        }
        End::Failed(_) => {}
    }
    end
}

impl Session<'_> {
    /// Reports until something ends the session.
    async fn report(
        &mut self,
        link: &mut Link,
        changes: &mut watch::Receiver<Arc<Settings>>,
    ) -> End {
        let reporter = self.reporter;
        let parts = &reporter.parts;
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(error) = self.pump().await {
                return End::Failed(Failure::Store(error.to_string()));
            }
            let again_at = self.again_at;
            let again = async {
                match again_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                happened = link.next() => {
                    let (mut happened, mut steps) = (Some(happened), 0);
                    while let Some(now) = happened {
                        match now {
                            Ok(happening) => self.happened(happening),
                            Err(error) => return End::Failed(error.into()),
                        }
                        steps += 1;
                        happened = match steps < TOGETHER_MAX {
                            true => link.now().await,
                            false => None,
                        };
                    }
                }
                () = parts.site.news() => {
                    if parts.site.take_has_events() {
                        self.outbox.has_news();
                    }
                }
                _ = pulse.tick() => {
                    parts.mark.touch();
                    self.repeat();
                }
                () = parts.commands.news() => {}
                () = again => self.tell_all(),
                _ = changes.changed() => return End::Reconfigured,
                () = parts.stop.cancelled() => return End::Stopped,
            }
        }
    }

    /// Hands over as much as may be in flight: what is ready, then cameras, then events.
    async fn pump(&mut self) -> Result<(), StoreError> {
        let reporter = self.reporter;
        let site = &reporter.parts.site;
        while self.handed.len() + self.in_flight.len() < IN_FLIGHT_MAX {
            let commands = &reporter.parts.commands;
            if let Some(message) = self.ready.pop_front().or_else(|| commands.take_reply()) {
                self.send(message, Kind::Plain);
            } else if let Some(id) = site.take_changed().or_else(|| self.due.pop_first()) {
                self.camera(id).await?;
            } else if self.cams_changed && self.cams_at <= Instant::now() {
                self.cams();
            } else if self.outbox.is_open() {
                if let Some((sequence, event)) = self.outbox.next(site).await? {
                    let message = self.event(&event);
                    if !self.send(message, Kind::Event(sequence)) {
                        self.outbox.done(sequence, site);
                    }
                }
            } else {
                break;
            }
        }
        if !self.is_saved && self.ready.is_empty() && self.in_flight.is_empty() {
            self.published.save(site.store()).await?;
            self.is_saved = true;
        }
        Ok(())
    }

    /// `false`: it can never be sent.
    fn send(&mut self, message: Message, kind: Kind) -> bool {
        let topic = message.topic.clone();
        // Head, topic and properties beside the body.
        let bytes = message.payload.len() + topic.len() + 128;
        if bytes > self.bytes_max {
            self.refused(
                &topic,
                &format!(
                    "its {bytes} bytes are more than the {} that the broker takes",
                    self.bytes_max
                ),
            );
            return false;
        }
        if !self.client.publish(message) {
            // Never more is handed over than its queue holds; counting it would wait for ever.
            self.refused(&topic, "the queue is full");
            return false;
        }
        self.handed.push_back((topic, kind));
        true
    }

    fn refused(&mut self, topic: &str, why: &str) {
        self.reporter.count(|c: &Counters| &c.refused);
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                topic,
                "a message is not published, and no further one of this session is named: {why}"
            );
        }
    }

    fn happened(&mut self, happening: Happening) {
        let site = &self.reporter.parts.site;
        match happening {
            Happening::Sent(id) => {
                if let Some(sent) = self.handed.pop_front() {
                    self.in_flight.insert(id, sent);
                }
            }
            Happening::Acknowledged(id, is_taken) => {
                let Some((topic, kind)) = self.in_flight.remove(&id) else {
                    return;
                };
                if let Kind::Event(sequence) = kind {
                    self.outbox.done(sequence, site);
                }
                match is_taken {
                    true => {
                        self.reporter.count(|c: &Counters| &c.published);
                    }
                    false => self.refused(
                        &topic,
                        "the broker does not allow it: look at its access list",
                    ),
                }
            }
            Happening::Subscribed { refused } if refused > 0 => tracing::warn!(
                refused,
                "the broker does not let this gateway listen to all of its topics: commands will not come through"
            ),
            Happening::Received {
                topic,
                payload,
                retain,
            } => self.received(&topic, &payload, retain),
            Happening::Subscribed { .. }
            | Happening::Connected { .. }
            | Happening::Farewell
            | Happening::Nothing => {}
        }
    }

    fn received(&mut self, topic: &str, payload: &[u8], is_retained: bool) {
        let commands = &self.reporter.parts.commands;
        let asked = |subject, kind, id, is_fleet| Asked {
            subject,
            kind,
            id,
            is_fleet,
            is_retained,
        };
        match self.topics.read(topic) {
            Some(Incoming::Command { subject, kind, id }) => {
                let asked = asked(subject, kind, id, false);
                commands.received(&self.topics, &self.settings, asked, payload);
            }
            Some(Incoming::Fleet { kind, id }) => {
                let asked = asked(Subject::Gateway, kind, id, true);
                commands.received(&self.topics, &self.settings, asked, payload);
            }
            // A press that waited on the broker is none.
            Some(Incoming::Set { subject, key }) if !is_retained => {
                commands.pressed(&self.topics, &self.settings, subject, key, payload);
            }
            Some(Incoming::Desired) => self.reporter.parts.desired.received(payload),
            Some(Incoming::HomeAssistant) if payload == ONLINE.as_bytes() && !is_retained => {
                // Not all gateways of a site in the same instant.
                self.again_at = Some(Instant::now() + Duration::from_secs_f64(1.0 + 4.0 * dice()));
            }
            _ => {}
        }
    }

    /// Says goodbye, so that the broker does not publish the will a second time, and waits until it
    /// has gone out.
    async fn farewell(&mut self, link: &mut Link) {
        self.ready.clear();
        let offline = text(self.topics.status(), OFFLINE);
        self.send(offline, Kind::Plain);
        while !(self.handed.is_empty() && self.in_flight.is_empty()) {
            match link.next().await {
                Ok(happening) => self.happened(happening),
                Err(_) => return,
            }
        }
        self.client.disconnect();
        loop {
            match link.next().await {
                Ok(Happening::Farewell) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
