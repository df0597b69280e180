//! What the parts take from the configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize as _;

use super::{DaemonError, settings};
use crate::config::{self, Config, LoopbackScope};
use crate::discover::pace::Rates;
use crate::policy::backoff::Backoff;
use crate::site::{ScanSettings, Scope, Settings};
use crate::vendor::{Catalogue, RawMaker};
use crate::{api, mqtt};

/// The catalogue with the operator's `[[manufacturer]]` entries.
pub fn catalogue(loaded: &config::Loaded) -> Result<Arc<Catalogue>, DaemonError> {
    let file = loaded
        .file
        .as_deref()
        .map_or(String::new(), |f| f.display().to_string());
    let mut problems = Vec::new();
    let mut makers = Vec::new();
    for (table, line) in &loaded.manufacturers {
        match RawMaker::deserialize(table.clone()) {
            Ok(maker) => makers.push(maker),
            Err(error) => {
                problems.push(format!(
                    "{file}:{line}: [[manufacturer]] {}",
                    error.message()
                ));
            }
        }
    }
    if problems.is_empty() {
        match Catalogue::with_overlay(&makers) {
            Ok(catalogue) => return Ok(Arc::new(catalogue)),
            Err(found) => problems.extend(found.iter().map(|problem| {
                let line = loaded
                    .manufacturers
                    .get(problem.entry)
                    .map_or(0, |(_, line)| *line);
                format!("{file}:{line}: {}", problem.message)
            })),
        }
    }
    Err(DaemonError::Catalogue(problems.join("\n")))
}

pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// `listeners`: our own addresses, which no probe may reach.
pub(super) fn site_settings(config: &Config, listeners: Vec<SocketAddr>) -> Settings {
    let health = &config.health;
    let networks = config
        .security
        .allowed_networks
        .clone()
        .with_own_listeners(listeners)
        .with_folders(config.security.file_roots.clone());
    Settings {
        interval_s: seconds(health.interval),
        timeout_ms: crate::probe::millis(health.timeout),
        frame_timeout_ms: crate::probe::millis(health.frame_timeout),
        verify_frames_every_s: health.verify_frames_every.map(seconds),
        failures_to_offline: health.failures_to_offline,
        backoff: Backoff {
            first_delay_s: seconds(config.reconnect.first_delay),
            max_delay_s: seconds(config.reconnect.max_delay),
            max_attempts: config.reconnect.max_attempts,
            jitter: config.reconnect.jitter,
        },
        networks: Arc::new(networks),
        scan: ScanSettings {
            networks: config
                .discovery
                .networks
                .iter()
                .map(ToString::to_string)
                .collect(),
            interfaces: config.discovery.interfaces.clone(),
            hosts_max: u64::from(config.discovery.hosts_max),
            window: config.discovery.multicast_window,
            background_interval: config.discovery.background_interval,
            follow_interval: config.discovery.follow_interval,
            rates: Rates {
                arp_frames: config.discovery.arp_frames_per_second_max,
                connects: config.discovery.connects_per_second_max,
                udp_queries: config.discovery.udp_queries_per_second_max,
            },
        },
        checkpoint_interval_s: seconds(config.storage.checkpoint_interval),
    }
}

pub(super) fn server_settings(config: &Config) -> api::ServerSettings {
    api::ServerSettings {
        body_bytes_max: config.server.body_bytes_max as usize,
        allowed_hosts: config.server.allowed_hosts.clone(),
        loopback_scope: match config.server.loopback_scope {
            LoopbackScope::None => None,
            LoopbackScope::Read => Some(Scope::Read),
            LoopbackScope::Operate => Some(Scope::Operate),
        },
        metrics_public: config.server.metrics_public,
        hostname: hostname(),
    }
}

/// What the reporter takes from the configuration.
pub(super) fn mqtt_settings(settings: &settings::Settings) -> mqtt::Settings {
    let config = &settings.running.config;
    let mut gateway = config.gateway.clone();
    if gateway.name.is_empty() {
        gateway.name = match hostname() {
            name if name.is_empty() => "OhmVision".to_owned(),
            name => name,
        };
    }
    mqtt::Settings {
        mqtt: config.mqtt.clone(),
        gateway,
        password: settings.password.clone(),
    }
}

/// The machine's own name; empty where it has none.
pub(super) fn hostname() -> String {
    let name = nix::unistd::gethostname();
    let name = name.ok().and_then(|h| h.into_string().ok());
    name.unwrap_or_default()
}
