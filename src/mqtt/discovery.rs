//! Home Assistant's device-based discovery: one document for the gateway, one for each camera below
//! it. Source: Home Assistant's MQTT integration, "Device discovery payload".
//!
//! Entities that tell about health list only the gateway's topic as availability: they are needed
//! most when the camera is gone. All others list both, in mode `all`.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::payloads::event_type;
use super::slug::slug;
use super::topics::{Subject, Topics};
use crate::model::{Camera, EventKind, Observed};

/// What is to be announced beside the cameras' own facts.
#[derive(Debug, Clone, Copy)]
pub struct Announce<'a> {
    pub topics: &'a Topics,
    /// The gateway's display name.
    pub gateway_name: &'a str,
    /// Where it stands; may be empty.
    pub site: &'a str,
    /// Commands that the configuration allows: buttons are only made for those.
    pub allowed: &'a [String],
}

/// Every kind of event. Home Assistant warns of one that was not announced.
pub const KINDS: &[EventKind] = &[
    EventKind::Online,
    EventKind::Offline,
    EventKind::Degraded,
    EventKind::Recovered,
    EventKind::IpChanged,
    EventKind::DeviceFound,
    EventKind::DeviceGone,
    EventKind::AuthRefused,
    EventKind::GaveUp,
    EventKind::CameraAdded,
    EventKind::CameraRemoved,
    EventKind::Detected,
    EventKind::DetectFailed,
    EventKind::ScanCompleted,
    EventKind::Started,
    EventKind::ConfigChanged,
];

/// True for what is told by the gateway: what is its own, and the removal of a camera, whose topics
/// end with it.
pub fn is_of_gateway(kind: EventKind) -> bool {
    match kind {
        EventKind::CameraRemoved
        | EventKind::DeviceFound
        | EventKind::DeviceGone
        | EventKind::ScanCompleted
        | EventKind::Started
        | EventKind::ConfigChanged => true,
        // A new kind belongs into `KINDS` as well.
        EventKind::Online
        | EventKind::Offline
        | EventKind::Degraded
        | EventKind::Recovered
        | EventKind::IpChanged
        | EventKind::AuthRefused
        | EventKind::GaveUp
        | EventKind::CameraAdded
        | EventKind::Detected
        | EventKind::DetectFailed
        | EventKind::Observed(_) => false,
    }
}

impl Announce<'_> {
    /// The document of a camera.
    pub fn camera(&self, camera: &Camera) -> Value {
        let mut made = Components::new(self, Subject::Camera(camera.uid), &camera.name);
        made.health_of_camera();
        made.button("check_now", "check_now", "Check now", None);
        made.button("reconnect", "reconnect", "Reconnect", None);
        let is_onvif = |url: &crate::model::StreamUrl| url.scheme == crate::model::Scheme::Onvif;
        if camera.onvif_username.is_some()
            || camera.primary_stream_url.as_ref().is_some_and(is_onvif)
        {
            made.button("reboot", "reboot", "Reboot", Some("restart"));
        }
        made.switch("monitoring", "Monitoring");
        if camera.picture_url().is_some() {
            made.button("snapshot", "snapshot", "New picture", None);
            made.picture();
        }
        made.event();
        document(self.camera_device(camera), made.done(), self.topics)
    }

    /// The document of the gateway, to be sent before those of the cameras.
    pub fn gateway(&self) -> Value {
        let mut made = Components::new(self, Subject::Gateway, self.gateway_name);
        made.health_of_gateway();
        made.button("scan", "scan", "Scan", None);
        made.button("restart", "restart", "Restart", Some("restart"));
        made.event();
        let mut device = json!({
            "identifiers": [device_id(self.topics, Subject::Gateway)],
            "name": self.gateway_name,
            "manufacturer": "OhmVision",
            "model": "Edge gateway",
            "sw_version": env!("CARGO_PKG_VERSION"),
        });
        if !self.site.is_empty() {
            device["suggested_area"] = json!(self.site);
        }
        document(device, made.done(), self.topics)
    }

    fn camera_device(&self, camera: &Camera) -> Value {
        let mut device = Map::new();
        let id = device_id(self.topics, Subject::Camera(camera.uid));
        device.insert("identifiers".to_owned(), json!([id]));
        device.insert("name".to_owned(), json!(camera.name));
        let via = device_id(self.topics, Subject::Gateway);
        device.insert("via_device".to_owned(), json!(via));
        // Joins these entities with those of Home Assistant's own ONVIF integration.
        if let Some(mac) = camera.mac_address.as_deref().and_then(mac) {
            device.insert("connections".to_owned(), json!([["mac", mac]]));
        }
        let facts = [
            ("manufacturer", &camera.manufacturer),
            ("model", &camera.model),
            ("sw_version", &camera.firmware_version),
            ("serial_number", &camera.serial_number),
        ];
        for (name, fact) in facts {
            if let Some(fact) = fact {
                device.insert(name.to_owned(), json!(fact));
            }
        }
        Value::Object(device)
    }
}

/// Lower-case with colons, as Home Assistant compares it; `None` for what is no hardware address.
fn mac(text: &str) -> Option<String> {
    let digits: Vec<char> = text
        .chars()
        .filter(|c| !matches!(c, ':' | '-' | '.'))
        .collect();
    let is_mac = digits.len() == 12 && digits.iter().all(char::is_ascii_hexdigit);
    is_mac.then(|| {
        let pairs: Vec<String> = digits.chunks(2).map(|p| p.iter().collect()).collect();
        pairs.join(":").to_ascii_lowercase()
    })
}

fn device_id(topics: &Topics, subject: Subject) -> String {
    match subject {
        Subject::Gateway => format!("ohmvision_{}", topics.gateway()),
        Subject::Camera(uid) => format!("ohmvision_{uid}"),
    }
}

fn document(device: Value, components: Map<String, Value>, topics: &Topics) -> Value {
    json!({
        "device": device,
        "origin": {
            "name": "OhmVision Edge",
            "sw_version": env!("CARGO_PKG_VERSION"),
        },
        "qos": 1,
        "availability": [{"topic": topics.status()}],
        "components": components,
    })
}

/// The entities of one device while they are made.
struct Components<'a> {
    announce: &'a Announce<'a>,
    subject: Subject,
    slug: String,
    made: Map<String, Value>,
}

impl<'a> Components<'a> {
    fn new(announce: &'a Announce<'a>, subject: Subject, name: &str) -> Self {
        let mut slug = slug(name);
        if slug.is_empty() {
            slug = match subject {
                Subject::Gateway => "ohmvision".to_owned(),
                Subject::Camera(uid) => format!("camera_{}", short(uid)),
            };
        }
        Self {
            announce,
            subject,
            slug,
            made: Map::new(),
        }
    }

    fn done(self) -> Map<String, Value> {
        self.made
    }

    fn topic(&self, leaf: &str) -> String {
        self.announce.topics.of(self.subject, leaf)
    }

    /// Adds an entity; `more` holds what only this one has.
    fn add(&mut self, key: &str, platform: &str, name: Option<&str>, more: Value) {
        let gateway = self.announce.topics.gateway();
        let unique = match self.subject {
            Subject::Gateway => format!("ohmvision_{gateway}_{key}"),
            Subject::Camera(uid) => format!("ohmvision_{gateway}_{uid}_{key}"),
        };
        let mut entity = json!({
            "platform": platform,
            "unique_id": unique,
            "default_entity_id": format!("{platform}.{}_{key}", self.slug),
            "name": name,
        });
        if let (Value::Object(entity), Value::Object(more)) = (&mut entity, more) {
            entity.extend(more);
        }
        self.made.insert(key.to_owned(), entity);
    }

    /// A sensor that reads one field of `leaf`.
    fn sensor(&mut self, key: &str, name: &str, leaf: &str, field: &str, more: Value) {
        let mut about = json!({
            "state_topic": self.topic(leaf),
            "value_template": format!("{{{{ value_json.{field} }}}}"),
        });
        if let (Value::Object(about), Value::Object(more)) = (&mut about, more) {
            about.extend(more);
        }
        self.add(key, "sensor", Some(name), about);
    }

    fn health_of_camera(&mut self) {
        let state = self.topic("state");
        self.add("connectivity", "binary_sensor", None, json!({
            "device_class": "connectivity",
            "state_topic": state,
            // Neither on nor off while nothing is known.
            "value_template": "{{ {'unknown': None, 'offline': 'OFF'}.get(value_json.connection_health, 'ON') }}",
        }));
        self.add("health", "sensor", Some("Health"), json!({
            "device_class": "enum",
            "options": ["excellent", "good", "fair", "poor", "offline"],
            "icon": "mdi:heart-pulse",
            "state_topic": state,
            "value_template":
                "{{ None if value_json.connection_health == 'unknown' else value_json.connection_health }}",
        }));
        let ms = json!({"device_class": "duration", "unit_of_measurement": "ms",
            "state_class": "measurement", "suggested_display_precision": 0,
            "availability": self.both(), "availability_mode": "all"});
        self.sensor(
            "response_time",
            "Response time",
            "state",
            "response_time_ms",
            ms,
        );
        self.sensor(
            "uptime",
            "Uptime 30 days",
            "state",
            "uptime_percentage",
            json!({
            "unit_of_measurement": "%", "state_class": "measurement",
            "suggested_display_precision": 2, "icon": "mdi:percent-outline"}),
        );
        self.sensor(
            "last_frame",
            "Last frame",
            "state",
            "last_frame_at",
            json!({"device_class": "timestamp"}),
        );
        self.add(
            "last_error",
            "sensor",
            Some("Last error"),
            json!({
                "state_topic": state,
                "entity_category": "diagnostic",
                "icon": "mdi:alert-circle-outline",
                // A state holds 255 characters.
                "value_template": "{{ (value_json.last_error_message or 'none')[:250] }}",
            }),
        );
        self.sensor(
            "reconnects",
            "Reconnects",
            "state",
            "disconnections",
            json!({
            "state_class": "total_increasing", "entity_category": "diagnostic",
            "enabled_by_default": false, "icon": "mdi:restore"}),
        );
    }

    fn health_of_gateway(&mut self) {
        let status = self.topic("status");
        self.add(
            "connectivity",
            "binary_sensor",
            None,
            json!({
                "device_class": "connectivity",
                "state_topic": status,
                "payload_on": "online",
                "payload_off": "offline",
                // It is the availability itself.
                "availability": [],
            }),
        );
        let count = json!({"state_class": "measurement", "icon": "mdi:cctv"});
        self.sensor(
            "cameras_online",
            "Cameras online",
            "health",
            "cameras_online",
            count.clone(),
        );
        self.sensor("cameras_total", "Cameras", "health", "cameras_total", count);
        self.sensor(
            "average_uptime",
            "Average uptime",
            "health",
            "average_uptime",
            json!({
            "unit_of_measurement": "%", "state_class": "measurement",
            "suggested_display_precision": 2, "icon": "mdi:percent-outline"}),
        );
        let diagnostic = |mut more: Value| {
            more["entity_category"] = json!("diagnostic");
            more["state_class"] = json!("measurement");
            more
        };
        self.sensor(
            "temperature",
            "Temperature",
            "health",
            "temperature_c",
            diagnostic(json!({"device_class": "temperature", "unit_of_measurement": "°C"})),
        );
        self.sensor(
            "memory",
            "Memory",
            "health",
            "rss_bytes",
            diagnostic(json!({
            "device_class": "data_size", "unit_of_measurement": "B",
            "suggested_unit_of_measurement": "MiB", "suggested_display_precision": 1})),
        );
        self.sensor(
            "disk",
            "Disk used",
            "health",
            "disk_used_percentage",
            diagnostic(json!({
            "unit_of_measurement": "%", "suggested_display_precision": 0,
            "icon": "mdi:harddisk"})),
        );
        self.sensor(
            "outbox",
            "Events waiting",
            "health",
            "outbox",
            diagnostic(json!({"icon": "mdi:tray-arrow-up"})),
        );
        self.add(
            "scan_running",
            "binary_sensor",
            Some("Scan running"),
            json!({
                "device_class": "running",
                "state_topic": self.topic("health"),
                "value_template": "{{ 'ON' if value_json.scan_running else 'OFF' }}",
            }),
        );
    }

    /// A button for a command, where the command is allowed.
    fn button(&mut self, key: &str, command: &str, name: &str, class: Option<&str>) {
        if !self.announce.allowed.iter().any(|c| c == command) {
            return;
        }
        let mut more = json!({"command_topic": self.topic(&format!("set/{key}"))});
        if let Some(class) = class {
            more["device_class"] = json!(class);
        }
        self.add(key, "button", Some(name), more);
    }

    fn switch(&mut self, key: &str, name: &str) {
        if !self.announce.allowed.iter().any(|c| c == key) {
            return;
        }
        self.add(
            key,
            "switch",
            Some(name),
            json!({
                "command_topic": self.topic(&format!("set/{key}")),
                "state_topic": self.topic("state"),
                "value_template": "{{ 'ON' if value_json.enabled else 'OFF' }}",
                "entity_category": "config",
                "icon": "mdi:eye",
            }),
        );
    }

    fn picture(&mut self) {
        let both = self.both();
        self.add(
            "picture",
            "image",
            Some("Last picture"),
            json!({
                "image_topic": self.topic("snapshot"),
                "content_type": "image/jpeg",
                "availability": both,
                "availability_mode": "all",
            }),
        );
    }

    fn event(&mut self) {
        let of_gateway = self.subject == Subject::Gateway;
        let kinds = KINDS.iter().filter(|k| is_of_gateway(**k) == of_gateway);
        let observed = Observed::ALL.iter().filter(|_| !of_gateway);
        let observed = observed.map(|kind| EventKind::Observed(*kind));
        let kinds: Vec<String> = kinds.copied().chain(observed).map(event_type).collect();
        self.add(
            "events",
            "event",
            Some("Event"),
            json!({
                "event_types": kinds,
                "state_topic": self.topic("event/+"),
                "icon": "mdi:bell-outline",
            }),
        );
    }

    /// Gateway and camera.
    fn both(&self) -> Value {
        json!([{"topic": self.announce.topics.status()}, {"topic": self.topic("availability")}])
    }
}

fn short(uid: Uuid) -> String {
    let text = uid.simple().to_string();
    text.get(24..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
