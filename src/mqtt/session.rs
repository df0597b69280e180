//! One session with the broker: from dialling to the end of the link. Everything is told anew at its
//! start; what the library held when a link broke is not asked for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use uuid::Uuid;

use super::client::{self, Client, Happening, IN_FLIGHT_MAX, Link, LinkError, Message};
use super::command::Type;
use super::commands::Asked;
use super::outbox::Outbox;
use super::payloads::{self, OFFLINE, ONLINE};
use super::published::{Published, topics_of_camera};
use super::report::{Teller, Told, retained, text};
use super::topics::{Incoming, Subject, Topics};
use super::{Counters, Failure, PULSE, Reporter, Settings, dial};
use crate::brake::now;
use crate::model::{CameraId, Event};
use crate::site::dice;
use crate::store::StoreError;

/// The farewell may take this long.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two reports of the gateway's health.
const HEALTH_EVERY: Duration = Duration::from_secs(60);
/// Between two lists of all cameras.
const CAMS_EVERY: Duration = Duration::from_secs(30);
/// From the connection to the broker's welcome.
const WELCOME: Duration = Duration::from_secs(15);

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

type Happened = (Link, Result<Happening, LinkError>);
type Next = Pin<Box<dyn Future<Output = Happened> + Send>>;

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
    let (mut session, way, mut next) = tokio::select! {
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
        Ok(()) => session.report(&mut next, changes).await,
        Err(error) => End::Failed(Failure::Store(error.to_string())),
    };
    match end {
        End::Stopped | End::Reconfigured => {
            let _ = timeout(FAREWELL, session.farewell(&mut next)).await;
        }
        End::Failed(_) => {}
    }
    end
}

type Opened<'a> = (Session<'a>, dial::Way, Next);

async fn open(
    reporter: &Reporter,
    settings: Arc<Settings>,
    turn: u32,
) -> Result<Opened<'_>, Failure> {
    let site = &reporter.parts.site;
    let mqtt = &settings.mqtt;
    let url = mqtt
        .url
        .as_ref()
        .ok_or(LinkError::Lost("no broker is set".to_owned()))?;
    let password = dial::password(mqtt, settings.password.clone())?;
    let way = dial::dial(mqtt, url, turn as usize).await?;
    let topics = Topics::new(
        &mqtt.base_topic,
        &mqtt.discovery_prefix,
        &reporter.parts.gateway,
    );
    let number = reporter.counters.sessions.load(Ordering::Relaxed) + 1;
    let (client, link) = client::open(&client::Options {
        target: way.target.clone(),
        version: mqtt.version,
        client_id: reporter.parts.gateway.clone(),
        username: match mqtt.username.as_str() {
            "" => reporter.parts.gateway.clone(),
            name => name.to_owned(),
        },
        password,
        status_topic: Some(topics.status()),
        session: number,
    });
    let (link, bytes_max) = welcome(link, &reporter.parts.gateway, way.peer).await?;
    reporter.count(|c: &Counters| &c.sessions);
    let stored = |error: StoreError| Failure::Store(error.to_string());
    let outbox = Outbox::open(site).await.map_err(stored)?;
    let published = Published::load(site.store()).await.map_err(stored)?;
    let now = Instant::now();
    let session = Session {
        reporter,
        topics,
        client,
        number,
        bytes_max,
        ready: VecDeque::new(),
        handed: VecDeque::new(),
        in_flight: HashMap::new(),
        outbox,
        published,
        is_saved: true,
        told: HashMap::new(),
        due: BTreeSet::new(),
        cams_changed: false,
        cams_at: now,
        health_at: now,
        again_at: None,
        warned: false,
        settings,
    };
    let next = wait_for(link, &session.reporter.parts.gateway);
    Ok((session, way, next))
}

/// Waits until the broker lets us in; the largest message it takes comes with that.
async fn welcome(
    link: Link,
    client_id: &str,
    peer: std::net::SocketAddr,
) -> Result<(Link, usize), LinkError> {
    let mut link = link;
    let answered = async {
        loop {
            let (back, happened) = link.next(client_id.to_owned()).await;
            link = back;
            if let Happening::Connected { packet_bytes_max } = happened? {
                let most = client::OUTGOING_BYTES_MAX.min(packet_bytes_max.unwrap_or(u32::MAX));
                return Ok((link, most as usize));
            }
        }
    };
    let answered = timeout(WELCOME, answered).await;
    answered
        .unwrap_or(Err(LinkError::Timeout))
        .map_err(|error| match error {
            LinkError::NoConnection(kind) => LinkError::Lost(dial::connect_words(peer, kind)),
            other => other,
        })
}

fn wait_for(link: Link, client_id: &str) -> Next {
    Box::pin(link.next(client_id.to_owned()))
}

impl Session<'_> {
    fn teller(&self) -> Teller<'_> {
        Teller {
            topics: &self.topics,
            settings: &self.settings,
        }
    }

    /// What a new session says first.
    async fn start(&mut self) -> Result<(), StoreError> {
        let parts = &self.reporter.parts;
        let _ = parts.reached.send(Some(self.settings.clone()));
        self.client.subscribe(self.topics.subscriptions());
        let announce = self.settings.mqtt.home_assistant;
        let before = self.published.clone();
        let stale = self.published.move_to(&self.topics, announce);
        let empty = |topic| retained(topic, String::new());
        self.ready.extend(stale.into_iter().map(empty));
        let known = parts.site.look_at_all(|entry| entry.camera.uid);
        for uid in self.published.without(&known) {
            let topics = topics_of_camera(&self.topics, uid, announce);
            self.ready.extend(topics.into_iter().map(empty));
            self.published.remove(uid);
        }
        // Those to come are noted before anything of them is sent; the ones that go, afterwards.
        let mut all = before.clone();
        all.add(known.iter().copied());
        if all != before {
            all.save(parts.site.store()).await?;
        }
        self.published.add(known);
        let declared = self.settings.mqtt.allowed_commands.iter();
        let declared = declared.filter(|name| Type::find(name).is_some());
        for name in self.published.declare(declared.cloned().collect()) {
            self.ready
                .push_back(empty(self.topics.own(&format!("cmd/{name}"))));
        }
        self.is_saved = self.published == all;
        self.tell_all();
        Ok(())
    }

    /// Everything anew, gateway first.
    fn tell_all(&mut self) {
        let document = self.teller().gateway_document();
        self.ready.extend(document);
        self.ready.push_back(text(self.topics.status(), ONLINE));
        self.ready.push_back(self.info());
        self.ready.push_back(self.health());
        for kind in self
            .settings
            .mqtt
            .allowed_commands
            .iter()
            .filter_map(|name| Type::find(name))
        {
            let topic = self.topics.own(&format!("cmd/{}", kind.name));
            self.ready
                .push_back(retained(topic, kind.capability().to_string()));
        }
        self.health_at = Instant::now() + HEALTH_EVERY;
        self.cams_changed = true;
        self.cams_at = Instant::now();
        self.told.clear();
        self.again_at = None;
        self.reporter.parts.site.begin_report();
    }

    fn info(&self) -> Message {
        let gateway = &self.settings.gateway;
        let info = payloads::GatewayInfo {
            schema: payloads::SCHEMA,
            gateway: self.topics.gateway(),
            name: &gateway.name,
            site: &gateway.site,
            labels: &gateway.labels,
            software: "ohmvision",
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            boot_id: self.reporter.boot_id,
            session: self.number,
            started_at: self.reporter.started_at,
            cameras: self.reporter.parts.site.camera_ids().len(),
            capabilities: &self.settings.mqtt.allowed_commands,
            sealing_key: &self.reporter.parts.commands.sealing_key(),
        };
        retained(self.topics.own("info"), super::report::json(&info))
    }

    fn health(&self) -> Message {
        let health = self.reporter.health(self.outbox.len());
        retained(self.topics.own("health"), super::report::json(&health))
    }

    /// Reports until something ends the session.
    async fn report(
        &mut self,
        next: &mut Next,
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
                (link, happened) = &mut *next => {
                    *next = wait_for(link, &parts.gateway);
                    match happened {
                        Ok(happening) => self.happened(happening),
                        Err(error) => return End::Failed(error.into()),
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

    /// What is told from time to time although nothing changed.
    fn repeat(&mut self) {
        let now = Instant::now();
        let due = self.told.iter().filter(|(_, told)| told.repeat_at <= now);
        self.due.extend(due.map(|(id, _)| *id));
        if self.health_at <= now {
            self.health_at = now + HEALTH_EVERY;
            let health = self.health();
            self.ready.push_back(health);
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

    async fn camera(&mut self, id: CameraId) -> Result<(), StoreError> {
        let site = &self.reporter.parts.site;
        let before = self.told.get(&id).cloned();
        let mut messages = Vec::new();
        let told = site.look(id, |entry| {
            let now = Instant::now();
            self.teller()
                .camera(entry, before.as_ref(), now, &mut messages)
        });
        match told {
            Some(told) => {
                if !self.published.holds(told.uid) {
                    // An import brings many at once: one note for all that are there.
                    let known = site.look_at_all(|entry| entry.camera.uid);
                    self.published.add(known);
                    self.published.save(site.store()).await?;
                }
                self.cams_changed |= before.is_none_or(|before| before.line != told.line);
                self.told.insert(id, told);
            }
            None => {
                let Some(told) = self.told.remove(&id) else {
                    return Ok(());
                };
                self.cams_changed = true;
                let announce = self.settings.mqtt.home_assistant;
                let topics = topics_of_camera(&self.topics, told.uid, announce);
                messages.extend(
                    topics
                        .into_iter()
                        .map(|topic| retained(topic, String::new())),
                );
                self.published.remove(told.uid);
                self.is_saved = false;
            }
        }
        self.ready.extend(messages);
        Ok(())
    }

    fn cams(&mut self) {
        let lines = self.reporter.parts.site.look_at_all(payloads::cams_line);
        self.ready.push_back(retained(
            self.topics.own("cams"),
            super::report::json(&lines),
        ));
        self.cams_changed = false;
        self.cams_at = Instant::now() + CAMS_EVERY;
    }

    fn event(&self, event: &Event) -> Message {
        let camera = event.camera_id.and_then(|id| self.uid(id));
        let subject = match camera {
            Some(uid) if !super::discovery::is_of_gateway(event.kind) => Subject::Camera(uid),
            _ => Subject::Gateway,
        };
        let kind = payloads::event_type(event.kind);
        let body = payloads::event(&self.topics, event, camera);
        Message {
            retain: false,
            ..retained(
                self.topics.of(subject, &format!("event/{kind}")),
                body.to_string(),
            )
        }
    }

    fn uid(&self, id: CameraId) -> Option<Uuid> {
        let site = &self.reporter.parts.site;
        let told = self.told.get(&id).map(|told| told.uid);
        told.or_else(|| site.look(id, |entry| entry.camera.uid))
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
            Some(Incoming::HomeAssistant) if payload == ONLINE.as_bytes() && !is_retained => {
                // Not all gateways of a site in the same instant.
                self.again_at = Some(Instant::now() + Duration::from_secs_f64(1.0 + 4.0 * dice()));
            }
            _ => {}
        }
    }

    /// Says goodbye, so that the broker does not publish the will a second time, and waits until it
    /// has gone out.
    async fn farewell(&mut self, next: &mut Next) {
        self.ready.clear();
        let offline = text(self.topics.status(), OFFLINE);
        self.send(offline, Kind::Plain);
        while !(self.handed.is_empty() && self.in_flight.is_empty()) {
            let (link, happened) = (&mut *next).await;
            *next = wait_for(link, &self.reporter.parts.gateway);
            match happened {
                Ok(happening) => self.happened(happening),
                Err(_) => return,
            }
        }
        self.client.disconnect();
        loop {
            let (link, happened) = (&mut *next).await;
            *next = wait_for(link, &self.reporter.parts.gateway);
            match happened {
                Ok(Happening::Farewell) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

impl Reporter {
    fn health(&self, waiting: u64) -> payloads::GatewayHealth {
        use crate::sys::{board, vitals};
        let parts = &self.parts;
        let disk = vitals::disk(&parts.state_dir);
        let at = now();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut health = payloads::GatewayHealth {
            time: at,
            uptime_s: at.ms_since(self.started_at) / 1000,
            load_1m: vitals::load_1m(),
            rss_bytes: vitals::rss_bytes(),
            temperature_c: vitals::temperature_c(),
            disk_free_bytes: disk.map(|(free, _)| free),
            disk_used_percentage: disk.map(|(_, used)| used),
            clock_synchronised: board::clock().map(|clock| clock.is_synchronized),
            scan_running: parts.site.is_scanning(),
            outbox: waiting,
            mqtt_sessions: read(&self.counters.sessions),
            mqtt_published: read(&self.counters.published),
            mqtt_refused: read(&self.counters.refused),
            ..payloads::GatewayHealth::default()
        };
        health.count(&parts.site.status());
        health
    }
}
