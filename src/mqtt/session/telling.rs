//! What a session tells: all of it at the start, then what changed, and some things from time to time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::super::Reporter;
use super::super::client::Message;
use super::super::command::Type;
use super::super::payloads::{self, ONLINE};
use super::super::published::topics_of_camera;
use super::super::report::{Teller, Told, retained, text};
use super::super::topics::Subject;
use super::super::{discovery, report};
use super::{Round, Session};
use crate::brake::now;
use crate::model::{CameraId, Event, EventKind};
use crate::policy::lifecycle::Confirmed;
use crate::site::Entry;
use crate::store::StoreError;

/// Between two reports of the gateway's health.
const HEALTH_EVERY: Duration = Duration::from_secs(60);
/// Between two lists of all cameras.
const CAMS_EVERY: Duration = Duration::from_secs(30);
/// Between two pictures of a camera.
const PICTURE_EVERY: Duration = Duration::from_secs(600);

impl Session<'_> {
    fn teller(&self) -> Teller<'_> {
        Teller {
            topics: &self.topics,
            settings: &self.settings,
        }
    }

    /// What a new session says first.
    pub(super) async fn start(&mut self) -> Result<(), StoreError> {
        let parts = &self.reporter.parts;
        parts.reached.send_replace(Some(self.settings.clone()));
        if !self.reporter.is_deaf.load(Ordering::Relaxed) {
            self.client.subscribe(self.topics.subscriptions());
        }
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
    pub(super) fn tell_all(&mut self) {
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
        let parts = &self.reporter.parts;
        parts.desired.begin(&self.topics, &self.settings);
        parts.site.begin_report();
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
            sealing_key: self.reporter.parts.commands.sealing_key(),
        };
        retained(self.topics.own("info"), report::json(&info))
    }

    fn health(&self) -> Message {
        let health = self.reporter.health(self.outbox.len());
        retained(self.topics.own("health"), report::json(&health))
    }

    /// What is told from time to time although nothing changed.
    pub(super) fn repeat(&mut self) {
        let now = Instant::now();
        let due = self.told.iter().filter(|(_, told)| told.repeat_at <= now);
        self.due.extend(due.map(|(id, _)| *id));
        if self.health_at <= now {
            self.health_at = now + HEALTH_EVERY;
            let health = self.health();
            self.ready.push_back(health);
        }
        if self.settings.mqtt.home_assistant {
            self.begin_round(now);
        }
    }

    /// Fetches the pictures that are due, unless the last round still runs.
    fn begin_round(&mut self, now: Instant) {
        if self
            .round
            .as_ref()
            .is_some_and(|round| !round.0.is_finished())
        {
            return;
        }
        let parts = &self.reporter.parts;
        let due = |entry: &Entry| {
            let is_up = entry.camera.enabled && entry.watch.confirmed == Confirmed::Up;
            let has_picture = is_up && entry.camera.picture_url().is_some();
            let id = entry.camera.id;
            (has_picture && self.pictures.get(&id).is_none_or(|at| *at <= now)).then_some(id)
        };
        let due: Vec<CameraId> = parts.site.look_at_all(due).into_iter().flatten().collect();
        if due.is_empty() {
            return;
        }
        let told = &self.told;
        self.pictures.retain(|id, _| told.contains_key(id));
        self.pictures
            .extend(due.iter().map(|id| (*id, now + PICTURE_EVERY)));
        let (commands, topics) = (parts.commands.clone(), self.topics.clone());
        let work = Box::pin(async move { commands.pictures(&topics, due).await });
        self.round = Some(Round(parts.site.tasks().spawn(work)));
    }

    pub(super) async fn camera(&mut self, id: CameraId) -> Result<(), StoreError> {
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
                let is_same = |b: &Told| b.revision == told.revision;
                if !before.as_ref().is_some_and(is_same) {
                    self.reporter.parts.desired.changed();
                }
                self.cams_changed |= before.is_none_or(|before| before.line != told.line);
                self.told.insert(id, told);
            }
            None => {
                let Some(told) = self.told.remove(&id) else {
                    return Ok(());
                };
                self.cams_changed = true;
                self.reporter.parts.desired.changed();
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

    pub(super) fn cams(&mut self) {
        let lines = self.reporter.parts.site.look_at_all(payloads::cams_line);
        self.ready
            .push_back(retained(self.topics.own("cams"), report::json(&lines)));
        self.cams_changed = false;
        self.cams_at = Instant::now() + CAMS_EVERY;
    }

    pub(super) fn event(&self, event: &Event) -> Message {
        let camera = event.camera_id.and_then(|id| self.uid(id));
        let subject = match camera {
            Some(uid) if !discovery::is_of_gateway(event.kind) => Subject::Camera(uid),
            _ => Subject::Gateway,
        };
        if event.kind == EventKind::ConfigChanged {
            self.reporter.parts.desired.changed();
        }
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
