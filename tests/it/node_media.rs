//! RTMP, RTMPS and HTTP-FLV against node-media-server, an RTMP of other people in another language.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::harness::seen::{assert_agrees, ffprobe, probe};
use super::harness::{certificate, is_skipped, wait_for};
use super::rtmp::{Running, assert_proven, failed, ffmpeg, free_port, listens};

const PACKAGE: &str = "node-media-server@4.4.3";
const SECRET: &str = "nodemedia-secret";
/// The server's own limit for signatures, seconds since 1970.
const FAR_S: u32 = 4_000_000_000;

/// Its start script, installed once.
fn script() -> &'static PathBuf {
    static SCRIPT: OnceLock<PathBuf> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/node-media-server");
        let script = dir.join("node_modules/node-media-server/bin/app.js");
        let installed = dir.join("installed");
        if std::fs::read_to_string(&installed).is_ok_and(|package| package == PACKAGE) {
            return script;
        }
        std::fs::create_dir_all(&dir).unwrap();
        let npm = Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .args([dir.as_os_str(), PACKAGE.as_ref()])
            .status();
        assert!(
            npm.is_ok_and(|status| status.success()) && script.exists(),
            "{PACKAGE} cannot be installed; OHMVISION_SKIP=node-media-server leaves this out"
        );
        std::fs::write(&installed, PACKAGE).unwrap();
        script
    })
}

/// The server on a loopback address of its own.
struct Server {
    address: String,
    rtmp: u16,
    rtmps: u16,
    http: u16,
    https: u16,
    _dir: tempfile::TempDir,
    process: Running,
}

impl Server {
    /// `None` where it is skipped. `host` tells the tests of this process apart.
    fn start(host: u8, wants_signature: bool) -> Option<Self> {
        if is_skipped("lan") || is_skipped("node-media-server") {
            return None;
        }
        let id = std::process::id();
        let address = format!("127.{}.{}.{host}", 192 + id / 256 % 32, id % 256);
        let dir = tempfile::tempdir().unwrap();
        certificate(dir.path());
        let [rtmp, rtmps, http, https] = [(); 4].map(|()| free_port(&address));
        let tls = |port: u16| json!({"port": port, "key": "key.pem", "cert": "cert.pem"});
        let config = json!({
            "bind": address, "store": {"path": "data"}, "record": {"auto": false, "path": "record"},
            "auth": {"play": wants_signature, "publish": false, "secret": SECRET},
            "rtmp": {"port": rtmp}, "rtmps": tls(rtmps), "http": {"port": http}, "https": tls(https),
        });
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let child = Command::new("node")
            .arg(script())
            .args(["--no-admin", "-c"])
            .arg(dir.path().join("config.json"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let process = Running(child);
        for port in [rtmp, rtmps, http, https] {
            listens(&address, port);
        }
        Some(Self {
            address,
            rtmp,
            rtmps,
            http,
            https,
            _dir: dir,
            process,
        })
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        let port = match scheme {
            "rtmp" => self.rtmp,
            "rtmps" => self.rtmps,
            "http" => self.http,
            _ => self.https,
        };
        format!("{scheme}://{}:{port}/{path}", self.address)
    }

    /// A picture under `live/NAME`, once it is to be seen at `see`.
    fn publish(&self, name: &str, see: &str) -> Running {
        let publisher = ffmpeg(&self.url("rtmp", &format!("live/{name}")), &["-re"], &[]);
        wait_for("the stream is published", Duration::from_secs(30), || {
            (probe(see)["success"] == true).then_some(())
        });
        publisher
    }
}

#[test]
fn every_way_into_node_media_server_shows_what_ffprobe_sees() {
    let Some(server) = Server::start(1, false) else {
        return;
    };
    let url = server.url("rtmp", "live/cam1");
    let publisher = server.publish("cam1", &url);
    let flv = server.url("http", "live/cam1.flv");
    for (url, transport) in [(&url, "tcp"), (&flv, "http")] {
        let report = probe(url);
        assert_proven(&report);
        assert_eq!(report["transport"], transport, "{report}");
        if !is_skipped("ffprobe") {
            assert_agrees(&report, &ffprobe(Command::new("ffprobe"), url));
        }
    }
    for (scheme, path) in [("rtmps", "live/cam1"), ("https", "live/cam1.flv")] {
        let report = probe(&server.url(scheme, path));
        assert_proven(&report);
        assert_eq!(report["certificate"]["subject"], "camera", "{report}");
    }

    // Nobody publishes; what was published stands still, though the server goes on to show its last pictures.
    publisher.signal(Signal::SIGSTOP);
    let silent = [
        server.url("rtmp", "live/none"),
        server.url("http", "live/none.flv"),
        url,
        flv,
    ];
    std::thread::scope(|scope| {
        let probes = silent.iter().map(|url| scope.spawn(|| probe(url)));
        for probe in probes.collect::<Vec<_>>() {
            let report = probe.join().unwrap();
            assert_eq!(failed(&report).0, "no_frame", "{report}");
        }
    });
}

#[test]
fn a_signed_address_is_kept_as_it_is() {
    let Some(server) = Server::start(2, true) else {
        return;
    };
    let signed = |scheme: &str, path: &str| {
        let hash = md5(&format!("/live/cam1-{FAR_S}-{SECRET}"));
        format!("{}?sign={FAR_S}-{hash}", server.url(scheme, path))
    };
    let _publisher = server.publish("cam1", &signed("rtmp", "live/cam1"));
    assert_proven(&probe(&signed("http", "live/cam1.flv")));
    // It hangs up without a word.
    for (scheme, path, code) in [
        ("rtmp", "live/cam1", "reset"),
        ("http", "live/cam1.flv", "no_frame"),
    ] {
        let wrong = format!("?sign={FAR_S}-{}", md5("another"));
        for query in ["", &wrong] {
            let report = probe(&format!("{}{query}", server.url(scheme, path)));
            assert_eq!(failed(&report).0, code, "{scheme}{query}: {report}");
        }
    }
}

/// By openssl: the server's signatures are MD5.
fn md5(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text");
    std::fs::write(&file, text).unwrap();
    let out = Command::new("openssl")
        .args(["md5", "-r"])
        .arg(&file)
        .output();
    let out = String::from_utf8(out.unwrap().stdout).unwrap();
    out.split_whitespace().next().unwrap().to_owned()
}

/// Connections that stand at this port, from the server's side (proc_pid_net(5): address, port, state).
fn connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let end = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&end)) && words.nth(1) == Some("01")
    };
    table.lines().filter(is_ours).count()
}

#[test]
fn a_server_that_dies_in_the_middle_is_told() {
    let Some(server) = Server::start(3, false) else {
        return;
    };
    let url = server.url("rtmp", "live/cam1");
    let publisher = server.publish("cam1", &url);
    // The publisher stands still: the probe waits for pictures.
    publisher.signal(Signal::SIGSTOP);
    let end = std::thread::spawn(move || probe(&url));
    wait_for("the probe is connected", Duration::from_secs(10), || {
        (connections(server.rtmp) == 2).then_some(())
    });
    server.process.signal(Signal::SIGKILL);
    let report = end.join().unwrap();
    assert_eq!(failed(&report).0, "reset", "{report}");
}
