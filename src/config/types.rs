//! The checked configuration as plain data. Every value is in range: the code that uses it
//! checks nothing again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::networks::{AllowedNetworks, Network};

/// All settings of the daemon. `Config::default()` is what runs without any file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub gateway: Gateway,
    pub server: Server,
    pub webhooks: Webhooks,
    pub discovery: Discovery,
    pub health: Health,
    pub reconnect: Reconnect,
    pub mqtt: Mqtt,
    pub storage: Storage,
    pub security: Security,
    pub log: Log,
}

/// `[gateway]`: who this gateway is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gateway {
    /// Empty: the host name.
    pub name: String,
    pub site: String,
    pub labels: BTreeMap<String, String>,
    /// A changed `[mqtt]` or `[server]` is taken back after this, unless somebody is reached with it.
    pub revert_after: Duration,
}

/// `[server]`: the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub listen: SocketAddr,
    pub tls: TlsMode,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub allow_plain_http: bool,
    /// Names beside the gateway's own addresses that a `Host` header may carry, in lower case.
    pub allowed_hosts: Vec<String>,
    pub loopback_scope: LoopbackScope,
    pub metrics_public: bool,
    pub body_bytes_max: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    #[default]
    Off,
    /// A certificate made at the first start.
    SelfSigned,
    /// `server.tls_cert` and `server.tls_key`.
    Files,
}

/// What callers on loopback may do without a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoopbackScope {
    #[default]
    None,
    Read,
    Operate,
}

/// `[webhooks]`: a listener for cameras that push, apart from the API.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Webhooks {
    pub listen: Option<SocketAddr>,
}

/// `[discovery]`: scans and their rates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery {
    /// Empty: the networks of the interfaces.
    pub networks: Vec<Network>,
    /// Empty: all that can be scanned.
    pub interfaces: Vec<String>,
    pub background_interval: Option<Duration>,
    /// Between two looks for offline cameras under other addresses.
    pub follow_interval: Option<Duration>,
    pub arp_frames_per_second_max: u32,
    pub connects_per_second_max: u32,
    pub udp_queries_per_second_max: u32,
    pub multicast_window: Duration,
    pub hosts_max: u32,
}

/// `[health]`: checks of the cameras.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    pub interval: Duration,
    pub timeout: Duration,
    pub frame_timeout: Duration,
    /// `None`: only at add and after a recovery.
    pub verify_frames_every: Option<Duration>,
    pub failures_to_offline: u32,
    pub concurrent_max: u32,
}

/// `[reconnect]`: the plan after a camera went offline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reconnect {
    pub first_delay: Duration,
    pub max_delay: Duration,
    /// 0: for ever.
    pub max_attempts: u32,
    /// Share of each delay by which it is moved at random, 0 to 0.5.
    pub jitter: f64,
}

/// `[mqtt]`: the broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mqtt {
    /// `None`: MQTT is off.
    pub url: Option<BrokerUrl>,
    /// Empty: the gateway id.
    pub username: String,
    pub password_file: Option<PathBuf>,
    /// `None`: the system's authorities.
    pub ca_file: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// Empty: none is named.
    pub alpn: String,
    pub version: MqttVersion,
    /// Between two looks whether the gateway is as `desired` wants it.
    pub desired_check: Duration,
    pub base_topic: String,
    pub discovery_prefix: String,
    pub home_assistant: bool,
    pub allowed_commands: Vec<String>,
}

/// `mqtt://host:1883` or `mqtts://host:8883`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    pub tls: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttVersion {
    #[default]
    V5,
    V311,
}

/// `[storage]`: the beat of writing and how long things are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Storage {
    pub checkpoint_interval: Duration,
    pub raw_retention: Duration,
    pub history_retention: Duration,
}

/// `[security]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Security {
    pub allowed_networks: AllowedNetworks,
    /// `None`: the systemd credential `ohmvision.vault-key`, else a file in the state directory.
    pub vault_key_file: Option<PathBuf>,
    /// Folders that `file:` cameras may be in.
    pub file_roots: Vec<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// A level, and levels for single targets: `info,retina=warn`. Checked.
    pub filter: String,
}

impl Config {
    /// The frame that the key table fills: nothing here is a default of a setting.
    pub(super) fn blank() -> Self {
        Self {
            gateway: Gateway::default(),
            server: Server {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                tls: TlsMode::Off,
                tls_cert: None,
                tls_key: None,
                allow_plain_http: false,
                allowed_hosts: Vec::new(),
                loopback_scope: LoopbackScope::None,
                metrics_public: false,
                body_bytes_max: 0,
            },
            webhooks: Webhooks::default(),
            discovery: Discovery::default(),
            health: Health::default(),
            reconnect: Reconnect::default(),
            mqtt: Mqtt::default(),
            storage: Storage::default(),
            security: Security::default(),
            log: Log::default(),
        }
    }
}
