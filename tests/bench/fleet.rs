//! A fleet on one real mosquitto: simulated gateways that speak the product's own topics and bodies.
//!
//! `fleet [GATEWAYS] [CAMERAS] [STEADY_SECONDS]` prints what the broker pays when all connect at once, in
//! steady state, and for one command to all. Needs mosquitto. Exit code 1 when a message or an answer is
//! missing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the test bench"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ohmvision::config;
use ohmvision::fleet::link::Link;
use ohmvision::model::{Camera, CameraId, CameraSecrets, Timestamp};
use ohmvision::mqtt::client::{self, Happening, Message, Target};
use ohmvision::mqtt::payloads::{self, GatewayHealth, GatewayInfo, OFFLINE, ONLINE};
use ohmvision::mqtt::report::{Teller, json, retained, text};
use ohmvision::mqtt::topics::{Incoming, Subject, Topics};
use ohmvision::mqtt::{Settings, command};
use ohmvision::site::Entry;
use tokio::sync::Barrier;
use uuid::Uuid;

/// Between two reports of a gateway's health, and of an unchanged camera.
const HEALTH_EVERY_S: f64 = 60.0;
const STATE_EVERY_S: f64 = 600.0;
/// Longest wait for any phase.
const LIMIT: Duration = Duration::from_secs(300);
/// What `config_get` answers, about.
const ANSWER_BYTES: usize = 4096;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut next = |usual| args.next().and_then(Result::ok).unwrap_or(usual);
    let (gateways, cameras, steady_s) = (next(1000), next(25), next(30));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(run(gateways, cameras, steady_s)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fleet: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A broker of our own; ends with this.
struct Broker {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start() -> Result<Self, String> {
        let words = |e: std::io::Error| format!("mosquitto does not start: {e}");
        let dir = tempfile::tempdir().map_err(words)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
        let address = free.local_addr().map_err(words)?;
        drop(free);
        let file = dir.path().join("mosquitto.conf");
        let lines = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 100\nmax_queued_messages 100000\nsys_interval 1\nlog_type none\n",
            address.port()
        );
        std::fs::write(&file, lines).map_err(words)?;
        let mut command = Command::new("mosquitto");
        command
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(words)?;
        let broker = Self {
            child,
            address,
            _dir: dir,
        };
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                return Err("mosquitto does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(broker)
    }

    /// CPU seconds so far, and resident MiB.
    fn cost(&self) -> (f64, f64) {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let stat = std::fs::read_to_string(proc.join("stat")).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        let status = std::fs::read_to_string(proc.join("status")).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
        ((ticks(11) + ticks(12)) / 100.0, kib.unwrap_or(0.0) / 1024.0)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all gateways count together.
#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
}

/// One simulated gateway.
struct Gateway {
    topics: Topics,
    settings: Settings,
    entries: Vec<Entry>,
}

impl Gateway {
    fn new(number: u64, cameras: u64) -> Self {
        let mut mqtt = config::Mqtt {
            base_topic: "ohmvision".to_owned(),
            discovery_prefix: "homeassistant".to_owned(),
            home_assistant: true,
            ..config::Mqtt::default()
        };
        mqtt.allowed_commands = ["check_now", "reconnect", "config_get"]
            .map(str::to_owned)
            .to_vec();
        let settings = Settings {
            mqtt,
            gateway: config::Gateway {
                name: format!("site {number}"),
                site: format!("region-{}", number % 20),
                labels: BTreeMap::from([("role".to_owned(), "nvr".to_owned())]),
                ..config::Gateway::default()
            },
            password: None,
        };
        let topics = Topics::new("ohmvision", "homeassistant", &format!("gw-{number:012x}"));
        let entries = (0..cameras).map(|n| Entry::new(camera(number, n), CameraSecrets::default()));
        Self {
            topics,
            settings,
            entries: entries.collect(),
        }
    }

    /// All that is told at the start of a session, a part at a time.
    fn part(&self, at: usize) -> Option<Vec<Message>> {
        let teller = Teller {
            topics: &self.topics,
            settings: &self.settings,
        };
        if let Some(entry) = self.entries.get(at) {
            let mut messages = Vec::new();
            teller.camera(entry, None, tokio::time::Instant::now(), &mut messages);
            return Some(messages);
        }
        if at > self.entries.len() {
            return None;
        }
        let own = |leaf: &str, body: String| retained(self.topics.own(leaf), body);
        let capabilities = self.settings.mqtt.allowed_commands.iter();
        let capabilities = capabilities
            .filter_map(|name| command::Type::find(name))
            .map(|kind| own(&format!("cmd/{}", kind.name), kind.capability().to_string()));
        let lines: Vec<_> = self.entries.iter().map(payloads::cams_line).collect();
        let mut messages: Vec<Message> = teller.gateway_document().into_iter().collect();
        messages.push(text(self.topics.status(), ONLINE));
        messages.push(own("info", json(&self.info())));
        messages.push(self.health());
        messages.push(own("cams", json(&lines)));
        messages.extend(capabilities);
        Some(messages)
    }

    fn info(&self) -> GatewayInfo<'_> {
        GatewayInfo {
            schema: payloads::SCHEMA,
            gateway: self.topics.gateway(),
            name: &self.settings.gateway.name,
            site: &self.settings.gateway.site,
            labels: &self.settings.gateway.labels,
            software: "ohmvision",
            version: env!("CARGO_PKG_VERSION"),
            os: "linux",
            arch: "aarch64",
            boot_id: Uuid::nil(),
            session: 1,
            started_at: Timestamp::from_unix_s(1_795_996_800),
            cameras: self.entries.len(),
            capabilities: &self.settings.mqtt.allowed_commands,
            sealing_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        }
    }

    fn health(&self) -> Message {
        let health = GatewayHealth {
            cameras_total: self.entries.len() as u32,
            cameras_online: self.entries.len() as u32,
            ..GatewayHealth::default()
        };
        retained(self.topics.own("health"), json(&health))
    }

    fn state(&self, at: usize) -> Option<Message> {
        let entry = self.entries.get(at % self.entries.len().max(1))?;
        let health = entry.health();
        let state = payloads::CameraState::new(entry, &health);
        Some(retained(
            self.topics.camera(entry.camera.uid, "state"),
            json(&state),
        ))
    }

    /// Lives until the end: connects, tells all, then repeats and answers.
    async fn live(self, broker: SocketAddr, told: Arc<Barrier>, counts: Arc<Counts>, offset: f64) {
        let id = self.topics.gateway().to_owned();
        let (client, mut link) = client::open(&client::Options {
            target: Target::Tcp(broker),
            version: config::MqttVersion::V5,
            client_id: id.clone(),
            username: id.clone(),
            password: None,
            status_topic: Some(self.topics.status()),
            session: 1,
        });
        let (mut part, mut out) = (0, 0usize);
        let mut waiting: Vec<Message> = Vec::new();
        let mut barrier = Some(told);
        let mut is_connected = false;
        let began = tokio::time::Instant::now();
        let mut health_at = began + Duration::from_secs_f64(HEALTH_EVERY_S * (1.0 + offset));
        let state_pause = STATE_EVERY_S / self.entries.len().max(1) as f64;
        let mut state_at = began + Duration::from_secs_f64(HEALTH_EVERY_S + state_pause * offset);
        let mut state = 0;
        loop {
            while is_connected && out < client::IN_FLIGHT_MAX {
                if waiting.is_empty() {
                    match self.part(part) {
                        Some(messages) => waiting = messages,
                        None => break,
                    }
                    waiting.reverse();
                    part += 1;
                }
                if let Some(message) = waiting.pop() {
                    out += usize::from(client.publish(message));
                }
            }
            let is_told = part > self.entries.len() && waiting.is_empty() && out == 0;
            if is_told && let Some(barrier) = barrier.take() {
                tokio::spawn(async move { barrier.wait().await });
            }
            tokio::select! {
                happened = link.next() => {
                    match happened {
                        Ok(Happening::Connected { .. }) => {
                            is_connected = true;
                            client.subscribe(self.topics.subscriptions());
                        }
                        Ok(Happening::Acknowledged(_, is_taken)) => {
                            out = out.saturating_sub(1);
                            let counter = if is_taken { &counts.acknowledged } else { &counts.refused };
                            counter.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Happening::Received { topic, .. }) => {
                            if let Some(Incoming::Fleet { kind, id }) = self.topics.read(&topic) {
                                let at = self.topics.command(Subject::Gateway, kind, id);
                                for body in [command::executing(0), command::successful(&"x".repeat(ANSWER_BYTES))] {
                                    out += usize::from(client.publish(retained(at.clone(), body)));
                                }
                                counts.answered.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        Ok(_) => {}
                        Err(error) => {
                            if counts.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                                eprintln!("{id}: {error}");
                            }
                            return;
                        }
                    }
                }
                () = tokio::time::sleep_until(health_at) => {
                    health_at += Duration::from_secs_f64(HEALTH_EVERY_S);
                    out += usize::from(client.publish(self.health()));
                }
                () = tokio::time::sleep_until(state_at), if !self.entries.is_empty() => {
                    state_at += Duration::from_secs_f64(state_pause);
                    out += self.state(state).map_or(0, |message| usize::from(client.publish(message)));
                    state += 1;
                }
            }
        }
    }
}

fn camera(gateway: u64, number: u64) -> Camera {
    let uid = Uuid::from_u128(
        0x0193_5a8f_0000_7000_8000_0000_0000_0000 | u128::from(gateway << 16 | number),
    );
    let url = ohmvision::model::StreamUrl::parse(&format!(
        "rtsp://10.0.0.{number}/Streaming/Channels/101"
    ));
    serde_json::from_value(serde_json::json!({
        "id": CameraId(number as u32 + 1), "uid": uid, "name": format!("Camera {number}"), "enabled": true,
        "manufacturer": "hikvision", "model": "DS-2CD2143G2-I", "firmware_version": "V5.7.1",
        "serial_number": format!("DS-2CD2143G2-I2026{gateway:06}{number:04}"),
        "mac_address": format!("44:19:b6:{:02x}:{:02x}:{:02x}", gateway >> 8 & 255, gateway & 255, number),
        "connection_type": "rtsp", "primary_stream_url": url.ok().map(|parsed| parsed.url),
        "ip_address": format!("10.0.0.{number}"), "port": 554, "revision": 1,
        "created_at": "2026-11-26T00:00:00Z", "updated_at": "2026-11-26T00:00:00Z",
    }))
    .unwrap_or_else(|error| panic!("{error}"))
}

async fn run(gateways: u64, cameras: u64, steady_s: u64) -> Result<(), String> {
    let broker = Broker::start()?;
    let counts = Arc::new(Counts::default());
    let told = Arc::new(Barrier::new(gateways as usize + 1));
    println!("{gateways} gateways with {cameras} cameras each, one mosquitto");
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..gateways {
        let gateway = Gateway::new(number, cameras);
        let offset = number as f64 / gateways as f64;
        running.spawn(gateway.live(broker.address, told.clone(), counts.clone(), offset));
    }
    let late = |what: &str| format!("{what} took more than {} s", LIMIT.as_secs());
    tokio::time::timeout(LIMIT, told.wait())
        .await
        .map_err(|_| late("the connect storm"))?;
    let (storm_s, (cpu_s, rss)) = (began.elapsed().as_secs_f64(), broker.cost());
    let messages = counts.acknowledged.load(Ordering::Relaxed);
    println!(
        "connect storm: all connected and everything told after {storm_s:.1} s, {messages} messages ({:.0} a second)",
        messages as f64 / storm_s
    );
    println!(
        "  broker: CPU {cpu_s:.2} s, {:.0} us a message, RSS {rss:.0} MiB ({:.1} KiB a gateway)",
        1e6 * cpu_s / messages as f64,
        1024.0 * rss / gateways as f64
    );

    let wait =
        (began + Duration::from_secs_f64(HEALTH_EVERY_S)).saturating_duration_since(Instant::now());
    tokio::time::sleep(wait).await;
    let from = (
        broker.cost().0,
        counts.acknowledged.load(Ordering::Relaxed),
        Instant::now(),
    );
    tokio::time::sleep(Duration::from_secs(steady_s)).await;
    let (cpu_s, rss) = broker.cost();
    let seconds = from.2.elapsed().as_secs_f64();
    let rate = (counts.acknowledged.load(Ordering::Relaxed) - from.1) as f64 / seconds;
    println!(
        "steady state: {rate:.0} messages a second; broker: {:.2} % of one core, RSS {rss:.0} MiB",
        100.0 * (cpu_s - from.0) / seconds
    );

    let mut mqtt = config::Mqtt::default();
    let url = format!("mqtt://{}", broker.address);
    let mut sources = config::Sources::default();
    sources
        .stored
        .insert("mqtt".to_owned(), serde_json::json!({"url": url}));
    if let Ok(loaded) = config::Config::load(&sources) {
        mqtt = loaded.config.mqtt;
    }
    let settings = Settings {
        mqtt,
        gateway: config::Gateway::default(),
        password: None,
    };
    let filters = vec![
        "ohmvision/+/cmd/config_get/bench".to_owned(),
        "$SYS/broker/retained messages/count".to_owned(),
    ];
    let mut link = Link::open(&settings, filters).await?;
    let body =
        serde_json::json!({"status": "init", "expires_at": "2099-01-01T00:00:00Z", "selector": {}});
    let (cpu_before, asked_at) = (broker.cost().0, Instant::now());
    link.publish(
        "ohmvision/all/cmd/config_get/bench".to_owned(),
        body.to_string(),
        false,
    )
    .await?;
    let (mut answers, mut on_broker) = (0, 0);
    let until = tokio::time::Instant::now() + LIMIT;
    let mut answered_s = 0.0;
    // The broker counts what it keeps once a second.
    while answers < gateways || on_broker == 0 {
        let Some(heard) = link.next(until).await? else {
            return Err(format!("{answers} of {gateways} answered"));
        };
        let payload = String::from_utf8_lossy(&heard.payload);
        if heard.topic.starts_with("$SYS") {
            on_broker = payload.parse().unwrap_or(on_broker);
        } else if payload.contains("\"successful\"") {
            answers += 1;
            answered_s = asked_at.elapsed().as_secs_f64();
        }
    }
    println!(
        "command to all: the last of {answers} answers ({ANSWER_BYTES} bytes each) after {:.2} s, broker CPU {:.2} s; {on_broker} retained messages",
        answered_s,
        broker.cost().0 - cpu_before
    );
    let (refused, lost) = (
        counts.refused.load(Ordering::Relaxed),
        counts.lost.load(Ordering::Relaxed),
    );
    println!("refused: {refused}, lost links: {lost} ({OFFLINE} nobody)");
    running.abort_all();
    match refused + lost {
        0 => Ok(()),
        _ => Err("messages or links were lost".to_owned()),
    }
}
