//! WebRTC by WHEP against aiortc: an ICE, DTLS, SRTP and SDP of other people.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::{Daemon, certificate, is_skipped};

const PACKAGES: [&str; 2] = ["aiortc==1.16.0", "aiohttp==3.14.5"];
const PATIENCE: Duration = Duration::from_secs(20);

/// The Python that has aiortc, made once.
fn python() -> &'static PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let venv = root.join("target/venv-aiortc");
        let python = venv.join("bin/python");
        let is_there = |code: &str| {
            let run = Command::new(&python).args(["-c", code]).output();
            run.is_ok_and(|out| out.status.success())
        };
        if !is_there("import aiortc, aiohttp") {
            let make = |command: &mut Command| command.status().is_ok_and(|s| s.success());
            let is_made = make(Command::new("python3").args(["-m", "venv"]).arg(&venv))
                && make(
                    Command::new(venv.join("bin/pip"))
                        .args(["install", "--quiet", "--disable-pip-version-check"])
                        .args(PACKAGES),
                );
            assert!(
                is_made,
                "aiortc cannot be installed; OHMVISION_SKIP=aiortc leaves this out"
            );
        }
        python
    })
}

/// The WHEP server, and what it tells.
struct Peer {
    child: Child,
    scheme: &'static str,
    port: u16,
    lines: Receiver<String>,
}

impl Peer {
    fn start(token: Option<&str>) -> Self {
        let args: Vec<&str> = token.into_iter().collect();
        Self::start_as("whep+http", &args)
    }

    fn start_as(scheme: &'static str, args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/whep_peer.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(PATIENCE).unwrap();
        let port = first.strip_prefix("port ").unwrap().parse().unwrap();
        Self {
            child,
            scheme,
            port,
            lines,
        }
    }

    fn url(&self, name: &str) -> String {
        format!("{}://127.0.0.1:{}/{name}", self.scheme, self.port)
    }

    /// Waits until the server says so.
    fn await_line(&self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the server never said `{wanted}`"));
            if line == wanted {
                return;
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn probe(url: &str, args: &[&str], password: Option<&str>) -> Value {
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "--json"]).args(args).arg(url);
    command.env_remove("OHMVISION_PASSWORD");
    if let Some(password) = password {
        command.env("OHMVISION_PASSWORD", password);
    }
    let out = command.output().unwrap();
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

#[test]
fn codec_size_and_rate_are_those_that_the_peer_encodes() {
    if is_skipped("aiortc") {
        return;
    }
    let peer = Peer::start(None);
    for (name, codec, size) in [("h264", "h264", "640x360"), ("vp8", "vp8", "320x240")] {
        let seen = probe(&peer.url(name), &["--frames"], None);
        assert_eq!(seen["success"], true, "{seen}");
        assert_eq!(seen["evidence"], "key_frame", "{seen}");
        assert_eq!(seen["codec"], codec);
        assert_eq!(seen["resolution"], size);
        assert_eq!(seen["transport"], "udp");
        let fps = seen["fps"].as_f64().unwrap();
        // The encoder's clock is that of a busy machine.
        assert!((fps - 15.0).abs() <= 1.5, "{seen}");
        assert!(seen["first_frame_ms"].as_u64() >= seen["response_time_ms"].as_u64());
        peer.await_line("state connected");
        peer.await_line("deleted");
    }
}

#[test]
fn faults_of_a_real_server() {
    if is_skipped("aiortc") {
        return;
    }
    let peer = Peer::start(Some("t0ken-canary"));
    let failed = |name: &str, args: &[&str], password: Option<&str>| {
        let seen = probe(&peer.url(name), args, password);
        assert!(!seen["error"].to_string().contains("canary"), "{seen}");
        let text = |name: &str| seen["error"][name].as_str().unwrap_or("none").to_owned();
        (text("code"), text("stage"))
    };
    let is = |code: &str, stage: &str| (code.to_owned(), stage.to_owned());
    assert_eq!(
        failed("h264", &[], None),
        is("auth_required", "authenticate")
    );
    let login = ["--username", "token", "--frames"];
    assert_eq!(
        failed("h264", &login, Some("wrong-canary")),
        is("auth_failed", "authenticate")
    );
    let token = Some("t0ken-canary");
    assert_eq!(
        failed("nothing", &login, token),
        is("not_found", "describe")
    );
    assert_eq!(
        failed("silent", &login, token),
        is("no_frame", "first_packet")
    );
    peer.await_line("posted silent");
    peer.await_line("deleted");
    assert_eq!(failed("frozen", &login, token), is("no_frame", "sample"));
    peer.await_line("deleted");
    assert_eq!(failed("h264", &login, token), is("none", "none"));
    peer.await_line("deleted");
}

#[test]
fn signalling_inside_tls() {
    if is_skipped("aiortc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let path = folder.path().to_str().unwrap();
    let peer = Peer::start_as("whep+https", &["t0ken-canary", path]);
    let login = ["--username", "token", "--frames"];
    let seen = probe(&peer.url("h264"), &login, Some("t0ken-canary"));
    assert_eq!(seen["success"], true, "{seen}");
    assert_eq!(seen["evidence"], "key_frame", "{seen}");
    assert_eq!(seen["certificate"]["subject"], "camera", "{seen}");
    peer.await_line("deleted");
    let wrong = probe(&peer.url("h264"), &login, Some("wrong-canary"));
    assert_eq!(wrong["error"]["code"], "auth_failed", "{wrong}");
    assert!(!wrong["error"].to_string().contains("canary"), "{wrong}");
}

#[test]
fn a_streaming_server_is_detected() {
    if is_skipped("aiortc") {
        return;
    }
    // An address of its own: the port is the server's usual one.
    let id = std::process::id();
    let host = format!("127.{}.{}.5", 64 + id / 256 % 64, id % 256);
    let peer = Peer::start_as("whep+http", &["--at", &host, "8889"]);
    let daemon = Daemon::start(None, "[security]\nallowed_networks = [\"loopback\"]\n");
    let body = json!({"ip": host, "manufacturer": "raspberry_pi"});
    let found = daemon.post("/api/discovery/auto-detect", body).expect(200);
    assert_eq!(found["success"], true, "{found}");
    assert_eq!(found["recommended_method"], "webrtc", "{found}");
    let url = format!("whep+http://{host}:8889/cam/whep");
    assert_eq!(found["recommended_url"], url.as_str(), "{found}");
    peer.await_line("deleted");
}

#[test]
fn a_camera_by_whep_is_watched() {
    if is_skipped("aiortc") {
        return;
    }
    let peer = Peer::start(None);
    let daemon = Daemon::start(None, "[security]\nallowed_networks = [\"loopback\"]\n");
    let body = json!({"name": "Bridge", "primary_stream_url": peer.url("h264")});
    let camera = daemon.post("/api/cameras", body).expect(201);
    assert_eq!(camera["connection_type"], "webrtc", "{camera}");
    let health = daemon
        .ask("POST", "/api/health/cameras/1/check-now", None)
        .expect(200);
    assert_eq!(health["success"], true, "{health}");
    assert_eq!(health["codec"], "h264", "{health}");
    peer.await_line("deleted");
}
