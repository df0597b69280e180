//! What reporting costs: everything that the daemon tells of 1,000 cameras when its session begins, beside a
//! bare loop of the same library that sends the same messages with 100 in flight. Both to one mosquitto.
//!
//! usage: mqtt PATH-OF-OHMVISION [CAMERAS] [ROUNDS]
//!
//! The daemon and the bare loop take turns; only the ratios count. The second part: a broker that is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ohmvision::config;
use ohmvision::fleet::link::Link;
use ohmvision::mqtt::Settings;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

#[path = "process.rs"]
mod process;

use process::{cpu_s, field, wait_for};

/// Goals of the project, ours by the bare loop's.
const WALL_MAX: f64 = 1.5;
const CPU_MAX: f64 = 2.0;
const IN_FLIGHT: usize = 100;

fn main() {
    let mut args = std::env::args().skip(1);
    let program = args
        .next()
        .expect("usage: mqtt PATH-OF-OHMVISION [CAMERAS] [ROUNDS]");
    if let Some(port) = program.strip_prefix("bare:") {
        return runtime().block_on(bare(port.parse().unwrap(), &args.next().unwrap()));
    }
    let cameras: usize = args.next().map_or(1000, |n| n.parse().unwrap());
    let rounds: usize = args.next().map_or(5, |n| n.parse().unwrap());
    runtime().block_on(measure(&program, cameras, rounds));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn measure(program: &str, cameras: usize, rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let broker = Broker::start(dir.path(), port);
    let daemon = Daemon::start(program, dir.path(), cameras);
    let settings = settings(port);
    let file = dir.path().join("messages");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut link = Link::open(
            &settings,
            vec!["ohmvision/#".to_owned(), "homeassistant/#".to_owned()],
        )
        .await
        .unwrap();
        let (before, began) = (cpu_s(daemon.child.id()), Instant::now());
        daemon.set_broker(&format!("mqtt://127.0.0.1:{port}"));
        let mut told: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut last = Instant::now();
        let mut first: Option<Instant> = None;
        loop {
            let until = tokio::time::Instant::now() + Duration::from_millis(700);
            let Some(heard) = link.next(until).await.unwrap() else {
                if told.keys().filter(|t| t.ends_with("/state")).count() == cameras {
                    break;
                }
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "only {} messages came",
                    told.len()
                );
                continue;
            };
            last = Instant::now();
            first.get_or_insert(last);
            told.insert(heard.topic, heard.payload.to_vec());
        }
        let wall = last.duration_since(first.unwrap()).as_secs_f64();
        let cpu = cpu_s(daemon.child.id()) - before;
        daemon.set_broker("");
        let lines: Vec<String> = told
            .iter()
            .map(|(t, p)| format!("{t}\t{}", String::from_utf8_lossy(p)))
            .collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        ours.push((wall, cpu, told.len()));
        // The broker has the same to do for both: what is told is listened to.
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command.arg(format!("bare:{port}")).arg(&file);
        let mut bare = tokio::task::spawn_blocking(move || command.output().unwrap());
        let out = loop {
            let until = tokio::time::Instant::now() + Duration::from_secs(60);
            tokio::select! {
                out = &mut bare => break out.unwrap(),
                heard = link.next(until) => drop(heard.unwrap()),
            }
        };
        link.close().await;
        let text = String::from_utf8(out.stdout).unwrap();
        let figures: Vec<f64> = text
            .split_whitespace()
            .map(|f| f.parse().unwrap())
            .collect();
        theirs.push((figures[0], figures[1], figures[2] as usize));
        println!(
            "  round {}: ours {:.3} s, {:.1} us CPU a message ({} messages); bare {:.3} s, {:.1} us",
            round + 1,
            wall,
            1e6 * cpu / told.len() as f64,
            told.len(),
            figures[0],
            1e6 * figures[1] / figures[2]
        );
        broker.forget(&settings, told.keys()).await;
    }
    let median = |all: &[(f64, f64, usize)], of: fn(&(f64, f64, usize)) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let wall = median(&ours, |r| r.0) / median(&theirs, |r| r.0);
    let cpu = median(&ours, |r| r.1 / r.2 as f64) / median(&theirs, |r| r.1 / r.2 as f64);
    println!(
        "wall: {wall:.2} x a bare loop (goal: {WALL_MAX}), CPU a message: {cpu:.2} x (goal: {CPU_MAX})"
    );

    // Nothing changes: nothing is told but the gateway's own health.
    daemon.set_broker(&format!("mqtt://127.0.0.1:{port}"));
    let mut link = Link::open(&settings, vec!["ohmvision/#".to_owned()])
        .await
        .unwrap();
    link.settle("ohmvision").await.unwrap();
    let mut idle = 0;
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while let Some(heard) = link.next(until).await.unwrap() {
        idle += usize::from(heard.topic.contains("/cam/"));
    }
    println!("messages of unchanged cameras in 20 s: {idle} (goal: 0)");
    link.close().await;
    let before = rss_kb(daemon.child.id());
    drop(broker);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let grown = rss_kb(daemon.child.id()) as i64 - before as i64;
    println!("broker away: RSS grew by {grown} kB in 20 s (goal: 1024 in 10 min)");
}

/// The library alone: wall and CPU seconds for all messages of the file, and how many.
async fn bare(port: u16, file: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let messages: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    let mut options = MqttOptions::new("bare", "127.0.0.1", port);
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT as u16);
    let (client, mut link) = AsyncClient::new(options, IN_FLIGHT + 10);
    while !matches!(
        link.poll().await.unwrap(),
        Event::Incoming(Packet::ConnAck(_))
    ) {}
    let (before, began) = (cpu_s(std::process::id()), Instant::now());
    let (mut next, mut answered) = (0, 0);
    while answered < messages.len() {
        while next < messages.len() && next - answered < IN_FLIGHT {
            let (topic, body) = messages[next];
            client
                .try_publish(topic, QoS::AtLeastOnce, true, body.to_owned())
                .unwrap();
            next += 1;
        }
        if let Event::Incoming(Packet::PubAck(_)) = link.poll().await.unwrap() {
            answered += 1;
        }
    }
    println!(
        "{} {} {}",
        began.elapsed().as_secs_f64(),
        cpu_s(std::process::id()) - before,
        messages.len()
    );
}

fn settings(port: u16) -> Settings {
    let mut sources = config::Sources::default();
    let url = serde_json::json!({"url": format!("mqtt://127.0.0.1:{port}")});
    sources.stored.insert("mqtt".to_owned(), url);
    Settings {
        mqtt: config::Config::load(&sources).unwrap().config.mqtt,
        gateway: config::Gateway::default(),
        password: None,
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

struct Broker(Child);

impl Broker {
    fn start(dir: &std::path::Path, port: u16) -> Self {
        let file = dir.join("mosquitto.conf");
        let lines = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\nlog_type none\n"
        );
        std::fs::write(&file, lines).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let broker = Self(child.expect("mosquitto is installed"));
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).ok());
        broker
    }

    /// Takes every retained message away, so that each round finds an empty broker.
    async fn forget(&self, settings: &Settings, topics: impl Iterator<Item = &String>) {
        let mut link = Link::open(settings, vec!["nothing".to_owned()])
            .await
            .unwrap();
        for topic in topics {
            link.publish(topic.clone(), String::new(), true)
                .await
                .unwrap();
        }
        link.close().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Daemon {
    child: Child,
    address: String,
    token: String,
}

impl Daemon {
    /// With cameras that are switched off: nothing but reporting costs anything.
    fn start(program: &str, dir: &std::path::Path, cameras: usize) -> Self {
        let state = dir.join("state");
        let config = dir.join("ohmvision.toml");
        std::fs::write(
            &config,
            "[log]\nfilter = \"warn\"\n[mqtt]\nhome_assistant = false\n",
        )
        .unwrap();
        let child = Command::new(program)
            .args(["run", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--state-dir")
            .arg(&state)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = wait_for(|| std::fs::read_to_string(state.join("api.addr")).ok());
        let token = wait_for(|| std::fs::read_to_string(state.join("admin.token")).ok());
        let daemon = Self {
            child,
            address,
            token: token.trim().to_owned(),
        };
        wait_for(|| (daemon.ask("GET", "/readyz", "") == 200).then_some(()));
        for n in 0..cameras {
            let body = format!(
                "{{\"name\":\"camera {n}\",\"primary_stream_url\":\"rtsp://10.0.{}.{}/1\",\"enabled\":false}}",
                n / 250,
                n % 250 + 1
            );
            assert_eq!(daemon.ask("POST", "/api/cameras", &body), 201);
        }
        daemon
    }

    fn set_broker(&self, url: &str) {
        let status = self.ask(
            "PATCH",
            "/api/config",
            &format!("{{\"mqtt\":{{\"url\":\"{url}\"}}}}"),
        );
        assert_eq!(status, 200);
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> u16 {
        let Ok(mut stream) = TcpStream::connect(&self.address) else {
            return 0;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (address, token, length) = (&self.address, &self.token, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rss_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "VmRSS:")
}
