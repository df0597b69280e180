//! The one table of settings: name, type, range, default, explanation. Parsing, environment
//! names, suggestions, `config print` and the test of `config/ohmvision.toml` all read it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::texts;
use super::types::{Config, LoopbackScope, MqttVersion, TlsMode};
use crate::policy::networks::AllowedNetworks;

/// One setting.
pub struct Key {
    /// `section.name`
    pub path: &'static str,
    pub kind: Kind,
    /// As TOML.
    pub default: &'static str,
    pub apply: Apply,
    /// One line, the comment in `config/ohmvision.toml`.
    pub doc: &'static str,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// At a reload.
    Live,
    /// At the next start.
    Restart,
}

/// What a value must be, and where it goes.
pub enum Kind {
    Text(fn(&mut Config, &str) -> Result<(), String>),
    /// One of these words; the function gets the position.
    Choice(&'static [&'static str], fn(&mut Config, usize)),
    Switch(fn(&mut Config) -> &mut bool),
    Count {
        min: u32,
        max: u32,
        field: fn(&mut Config) -> &mut u32,
    },
    Time {
        unit: Unit,
        min: u32,
        max: u32,
        field: fn(&mut Config) -> &mut Duration,
    },
    /// As `Time`; 0 switches it off.
    TimeOrOff {
        unit: Unit,
        min: u32,
        max: u32,
        field: fn(&mut Config) -> &mut Option<Duration>,
    },
    Ratio {
        min: f64,
        max: f64,
        field: fn(&mut Config) -> &mut f64,
    },
    /// A list of texts; an error names the position of the bad entry.
    List(fn(&mut Config, &[String]) -> Result<(), texts::ListErrors>),
    Labels(fn(&mut Config) -> &mut BTreeMap<String, String>),
}

/// Unit of a time, as in the end of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Hours,
    Days,
}

impl Unit {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Hours => "hours",
            Self::Days => "days",
        }
    }

    pub fn duration(self, number: u32) -> Duration {
        let number = u64::from(number);
        match self {
            Self::Milliseconds => Duration::from_millis(number),
            Self::Seconds => Duration::from_secs(number),
            Self::Hours => Duration::from_secs(number * 3600),
            Self::Days => Duration::from_secs(number * 86_400),
        }
    }
}

impl Key {
    pub fn section(&self) -> &'static str {
        self.path
            .split_once('.')
            .map_or(self.path, |(section, _)| section)
    }

    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }

    /// `OHMVISION_<SECTION>_<KEY>`
    pub fn environment(&self) -> String {
        format!(
            "OHMVISION_{}",
            self.path.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// The key of this path, `section.name`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Is there a setting `section.key`?
pub fn is_key(path: &str) -> bool {
    find(path).is_some()
}

/// Every `section.key`.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path)
}

/// Section names in the order of the table.
pub fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().enumerate().filter_map(|(i, key)| {
        let previous = i.checked_sub(1).and_then(|i| KEYS.get(i));
        (previous.map(Key::section) != Some(key.section())).then(|| key.section())
    })
}

const fn key(
    path: &'static str,
    default: &'static str,
    apply: Apply,
    kind: Kind,
    doc: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        apply,
        doc,
    }
}

use Apply::{Live, Restart};
use Kind::{Choice, Count, Labels, List, Ratio, Switch, Text, Time, TimeOrOff};
use Unit::{Days, Hours, Milliseconds, Seconds};

/// Every setting, grouped by section.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("gateway.name", "\"\"", Live, Text(|c, t| texts::line(t, 64).map(|t| c.gateway.name = t)),
        "Name of this gateway for people; empty: the host name."),
    key("gateway.site", "\"\"", Live, Text(|c, t| texts::line(t, 64).map(|t| c.gateway.site = t)),
        "Where it stands."),
    key("gateway.labels", "{}", Live, Labels(|c| &mut c.gateway.labels),
        "Free labels for choosing gateways of a fleet, such as { region = \"north\" }."),
    key("gateway.revert_after_s", "300", Live, Time { unit: Seconds, min: 10, max: 3600, field: |c| &mut c.gateway.revert_after },
        "Seconds after which a change of [mqtt] or [server] from outside is taken back, unless broker or caller is reached with it."),

    key("server.listen", "\"127.0.0.1:8000\"", Restart, Text(|c, t| texts::address(t).map(|a| c.server.listen = a)),
        "Address and port of the API. Beyond loopback it wants server.tls."),
    key("server.tls", "\"off\"", Restart, Choice(&["off", "self-signed", "files"], |c, i| {
            c.server.tls = *[TlsMode::Off, TlsMode::SelfSigned, TlsMode::Files].get(i).unwrap_or(&TlsMode::Off);
        }), "off, self-signed (certificate made at the first start) or files (tls_cert, tls_key)."),
    key("server.tls_cert", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.server.tls_cert = p)),
        "Certificate chain as PEM, for tls = \"files\"; a reload reads it again."),
    key("server.tls_key", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.server.tls_key = p)),
        "Private key as PEM, for tls = \"files\"; a reload reads it again."),
    key("server.allow_plain_http", "false", Restart, Switch(|c| &mut c.server.allow_plain_http),
        "true: serve beyond loopback without TLS; tokens then travel readable."),
    key("server.allowed_hosts", "[]", Live, List(|c, l| texts::each(l, texts::host).map(|l| c.server.allowed_hosts = l)),
        "Host names under which the API may be called, beside its addresses."),
    key("server.loopback_scope", "\"none\"", Live, Choice(&["none", "read", "operate"], |c, i| {
            use LoopbackScope::{None, Operate, Read};
            c.server.loopback_scope = *[None, Read, Operate].get(i).unwrap_or(&None);
        }), "What callers on this machine may do without a token: none, read or operate."),
    key("server.metrics_public", "false", Live, Switch(|c| &mut c.server.metrics_public),
        "true: /metrics needs no token."),
    key("server.body_bytes_max", "1048576", Live, Count { min: 1024, max: 16_777_216, field: |c| &mut c.server.body_bytes_max },
        "Largest request body in bytes."),

    key("webhooks.listen", "\"\"", Restart, Text(|c, t| texts::optional(t, texts::address).map(|a| c.webhooks.listen = a)),
        "Address and port for cameras that push events; empty: off."),

    key("discovery.networks", "[]", Live, List(|c, l| texts::each(l, str::parse).map(|l| c.discovery.networks = l)),
        "Networks to scan, such as \"192.168.1.0/24\"; empty: those of the interfaces."),
    key("discovery.interfaces", "[]", Live, List(|c, l| texts::each(l, texts::interface).map(|l| c.discovery.interfaces = l)),
        "Interfaces to use, such as \"eth0\"; empty: all that can be scanned."),
    key("discovery.background_interval_s", "0", Live, TimeOrOff { unit: Seconds, min: 60, max: 604_800, field: |c| &mut c.discovery.background_interval },
        "Seconds between scans in the background; 0: only when asked."),
    key("discovery.follow_interval_s", "120", Live, TimeOrOff { unit: Seconds, min: 5, max: 86_400, field: |c| &mut c.discovery.follow_interval },
        "Seconds between two looks for offline cameras under other addresses; 0: never."),
    key("discovery.arp_frames_per_second_max", "20000", Live, Count { min: 1, max: 100_000, field: |c| &mut c.discovery.arp_frames_per_second_max },
        "ARP requests sent per second at most."),
    key("discovery.connects_per_second_max", "10000", Live, Count { min: 1, max: 100_000, field: |c| &mut c.discovery.connects_per_second_max },
        "TCP connections tried per second at most."),
    key("discovery.udp_queries_per_second_max", "2000", Live, Count { min: 1, max: 100_000, field: |c| &mut c.discovery.udp_queries_per_second_max },
        "UDP queries sent per second at most."),
    key("discovery.multicast_window_ms", "900", Live, Time { unit: Milliseconds, min: 100, max: 10_000, field: |c| &mut c.discovery.multicast_window },
        "How long answers to one multicast question are awaited."),
    key("discovery.hosts_max", "4096", Live, Count { min: 1, max: 65_536, field: |c| &mut c.discovery.hosts_max },
        "Hosts in one scan at most."),

    key("health.interval_s", "60", Live, Time { unit: Seconds, min: 5, max: 3600, field: |c| &mut c.health.interval },
        "Seconds between two checks of a camera."),
    key("health.timeout_ms", "5000", Live, Time { unit: Milliseconds, min: 100, max: 60_000, field: |c| &mut c.health.timeout },
        "A camera that did not answer a check in this time failed it."),
    key("health.frame_timeout_ms", "12000", Live, Time { unit: Milliseconds, min: 1000, max: 120_000, field: |c| &mut c.health.frame_timeout },
        "Longest wait for the first whole picture; some cameras send one only every 8 seconds."),
    key("health.verify_frames_every_s", "600", Live, TimeOrOff { unit: Seconds, min: 5, max: 604_800, field: |c| &mut c.health.verify_frames_every },
        "Seconds between checks that fetch a picture; 0: only at add and after a recovery."),
    key("health.failures_to_offline", "2", Live, Count { min: 1, max: 10, field: |c| &mut c.health.failures_to_offline },
        "Failed checks in a row until a camera is offline."),
    key("health.concurrent_max", "32", Live, Count { min: 1, max: 512, field: |c| &mut c.health.concurrent_max },
        "Checks running at the same time at most."),

    key("reconnect.first_delay_s", "10", Live, Time { unit: Seconds, min: 1, max: 3600, field: |c| &mut c.reconnect.first_delay },
        "Seconds before the first attempt; each further delay doubles."),
    key("reconnect.max_delay_s", "300", Live, Time { unit: Seconds, min: 1, max: 86_400, field: |c| &mut c.reconnect.max_delay },
        "Longest delay between two attempts, in seconds."),
    key("reconnect.max_attempts", "5", Live, Count { min: 0, max: 1000, field: |c| &mut c.reconnect.max_attempts },
        "Attempts until the camera is given up; 0: never."),
    key("reconnect.jitter", "0.1", Live, Ratio { min: 0.0, max: 0.5, field: |c| &mut c.reconnect.jitter },
        "Share of each delay that is random, so that cameras do not move in step."),

    key("mqtt.url", "\"\"", Live, Text(|c, t| texts::optional(t, texts::broker).map(|u| c.mqtt.url = u)),
        "mqtt://host:1883 or mqtts://host:8883; empty: off."),
    key("mqtt.username", "\"\"", Live, Text(|c, t| texts::line(t, 128).map(|t| c.mqtt.username = t)),
        "Login at the broker; empty: the gateway id."),
    key("mqtt.password_file", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.mqtt.password_file = p)),
        "File with the password on one line; the systemd credential ohmvision.mqtt-password works without it."),
    key("mqtt.ca_file", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.mqtt.ca_file = p)),
        "Certificate authorities (PEM) of the broker; empty: the system's."),
    key("mqtt.client_cert", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.mqtt.client_cert = p)),
        "Certificate (PEM) that shows the broker who this gateway is."),
    key("mqtt.client_key", "\"\"", Live, Text(|c, t| texts::path(t).map(|p| c.mqtt.client_key = p)),
        "Private key (PEM) of mqtt.client_cert."),
    key("mqtt.alpn", "\"\"", Live, Text(|c, t| texts::line(t, 64).map(|t| c.mqtt.alpn = t)),
        "Application protocol to name in TLS, such as \"mqtt\"; some clouds want one."),
    key("mqtt.version", "\"5\"", Live, Choice(&["5", "3.1.1"], |c, i| {
            c.mqtt.version = *[MqttVersion::V5, MqttVersion::V311].get(i).unwrap_or(&MqttVersion::V5);
        }), "Protocol version, 5 or 3.1.1."),
    key("mqtt.base_topic", "\"ohmvision\"", Live, Text(|c, t| texts::topic(t).map(|t| c.mqtt.base_topic = t)),
        "First part of every topic of ours."),
    key("mqtt.discovery_prefix", "\"homeassistant\"", Live, Text(|c, t| texts::topic(t).map(|t| c.mqtt.discovery_prefix = t)),
        "First part of Home Assistant's discovery topics."),
    key("mqtt.home_assistant", "true", Live, Switch(|c| &mut c.mqtt.home_assistant),
        "Announce gateway and cameras to Home Assistant."),
    key("mqtt.allowed_commands", "[\"scan\", \"check_now\", \"reconnect\", \"monitoring\", \"snapshot\", \"config_get\", \"export\"]", Live,
        List(|c, l| texts::each(l, texts::command).map(|l| c.mqtt.allowed_commands = l)),
        "Commands that may come over MQTT."),
    key("mqtt.desired_check_s", "60", Live, Time { unit: Seconds, min: 1, max: 3600, field: |c| &mut c.mqtt.desired_check },
        "Seconds within which what was changed by hand is made as the operator's document wants it."),

    key("storage.checkpoint_interval_s", "600", Restart, Time { unit: Seconds, min: 10, max: 3600, field: |c| &mut c.storage.checkpoint_interval },
        "Seconds between two writes of measurements; what is lost at a power cut at most."),
    key("storage.raw_retention_h", "24", Restart, Time { unit: Hours, min: 1, max: 168, field: |c| &mut c.storage.raw_retention },
        "Hours that single measurements are kept."),
    key("storage.history_retention_d", "30", Restart, Time { unit: Days, min: 1, max: 366, field: |c| &mut c.storage.history_retention },
        "Days that hourly history is kept."),

    key("security.allowed_networks", "[\"private\"]", Live, List(|c, l| {
            texts::each(l, |entry| AllowedNetworks::parse(&[entry]).map(drop))?;
            let allowed = AllowedNetworks::parse(l).map_err(|problem| vec![(0, problem)])?;
            c.security.allowed_networks = allowed;
            Ok(())
        }), "Where cameras may be: private, loopback, or networks such as \"203.0.113.0/24\"."),
    key("security.vault_key_file", "\"\"", Restart, Text(|c, t| texts::path(t).map(|p| c.security.vault_key_file = p)),
        "Key that seals the stored logins; empty: systemd credential ohmvision.vault-key, else made in the state directory."),
    key("security.file_roots", "[]", Live, List(|c, l| texts::each(l, texts::folder).map(|l| c.security.file_roots = l)),
        "Folders that cameras of type file may be in."),

    key("log.filter", "\"info\"", Live, Text(|c, t| texts::log_filter(t).map(|t| c.log.filter = t)),
        "error, warn, info or debug, and levels for parts: \"info,retina=warn\". Libraries have no lines below warn."),
];
