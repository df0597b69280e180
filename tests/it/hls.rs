//! HLS as nginx serves it: live TS and fMP4 streams of ffmpeg's packager, held against ffprobe.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::seen::{assert_agrees, ffprobe, probe};
use crate::harness::{certificate, is_skipped, wait_for};

/// A process that ends with the test.
struct Peer(Child);

impl Peer {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|e| panic!("{program} does not start: {e}")))
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Server {
    _nginx: Peer,
    port: u16,
    tls_port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    /// nginx on loopback, plain static serving; `/login/` wants `admin` / `s3cret` by Basic.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let (port, tls_port) = (free_port(), free_port());
        certificate(dir.path());
        std::fs::write(dir.path().join("users"), "admin:{PLAIN}s3cret\n").unwrap();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/tmp;\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log; user root;
             events {{ worker_connections 64; }}
             http {{ access_log off; {paths}
               server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; root {at};
                 ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;
                 location /login/ {{ alias {at}/; auth_basic cam; auth_basic_user_file {at}/users; }} }} }}"
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let config = format!("{at}/conf");
        let nginx = Peer::start("nginx", &["-c", &config, "-e", &format!("{at}/log")]);
        wait_for("nginx listens", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            _nginx: nginx,
            port,
            tls_port,
            dir,
        }
    }

    /// A live stream of 640x360 at 15 frames a second under `name`, in segments of one second.
    fn stream(&self, name: &str, encoder: &[&str], packager: &[&str]) -> Peer {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let source = "testsrc2=size=640x360:rate=15";
        let list = dir.join("cam.m3u8").display().to_string();
        let mut arguments = vec!["-loglevel", "error", "-re", "-f", "lavfi", "-i", source];
        arguments.extend(encoder);
        // Without a bit rate the packager leaves a variant out of its multivariant playlist.
        arguments.extend(["-b:v", "500k", "-g", "15", "-t", "120"]);
        arguments.extend(["-f", "hls", "-hls_time", "1"]);
        arguments.extend(["-hls_list_size", "5"]);
        arguments.extend(packager);
        arguments.push(&list);
        let peer = Peer::start("ffmpeg", &arguments);
        wait_for("the first segments", Duration::from_secs(30), || {
            let text = std::fs::read_to_string(dir.join("cam.m3u8")).ok()?;
            (text.matches("#EXTINF").count() >= 2).then_some(())
        });
        peer
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn tls_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.tls_port)
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

const H264: [&str; 5] = ["-c:v", "libx264", "-preset", "ultrafast", "-an"];
const H265: [&str; 9] = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=none:keyint=15",
    "-tag:v",
    "hvc1",
    "-an",
];

/// The probe says what ffprobe says of the same stream.
fn assert_proven(report: &Value, input: &str) {
    assert_eq!(report["evidence"], "key_frame", "{report}");
    assert_agrees(report, &ffprobe(Command::new("ffprobe"), input));
}

#[test]
fn live_streams_agree_with_ffprobe() {
    if is_skipped("nginx") || is_skipped("ffprobe") {
        return;
    }
    let server = Server::start();
    let fragments = ["-hls_segment_type", "fmp4", "-master_pl_name", "main.m3u8"];
    let _ts = server.stream("ts", &H264, &["-hls_flags", "delete_segments"]);
    let _fmp4 = server.stream("fmp4", &H265, &fragments);
    let with = |password: &str, url: String| url.replace("//", &format!("//admin:{password}@"));
    for url in [
        server.url("ts/cam.m3u8"),
        with("s3cret", server.url("login/ts/cam.m3u8")),
        server.url("fmp4/cam.m3u8"),
        server.url("fmp4/main.m3u8"),
    ] {
        let report = probe(&url);
        assert_eq!(report["connection_type"], "hls");
        assert_eq!(report["transport"], "http");
        assert_proven(&report, &url);
    }
    let tls = with("s3cret", server.tls_url("login/ts/cam.m3u8"));
    let report = probe(&tls);
    assert_eq!(report["connection_type"], "hls");
    assert_eq!(report["transport"], "https");
    assert_eq!(report["certificate"]["subject"], "camera", "{report}");
    assert_proven(&report, &tls);
    for url in [
        server.url("login/ts/cam.m3u8"),
        server.tls_url("login/ts/cam.m3u8"),
    ] {
        let wrong = probe(&with("wrong", url));
        assert_eq!(wrong["error"]["code"], "auth_failed", "{wrong}");
    }
    let missing = probe(&server.url("ts/other.m3u8"));
    assert_eq!(missing["error"]["code"], "not_found");
}

#[test]
fn an_encoder_that_died_leaves_a_stream_that_stands_still() {
    if is_skipped("nginx") {
        return;
    }
    let server = Server::start();
    let mut encoder = server.stream("ts", &H264, &["-hls_flags", "delete_segments"]);
    encoder.stop();
    let report = probe(&server.url("ts/cam.m3u8"));
    assert_eq!(report["error"]["code"], "no_frame", "{report}");
    assert_eq!(report["error"]["stage"], "sample", "{report}");
    cut_last_segment(&server.dir.path().join("ts"));
    let report = probe(&server.url("ts/cam.m3u8"));
    assert_eq!(report["success"], false, "{report}");
}

/// Every segment loses its second half.
fn cut_last_segment(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "ts") {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 64).unwrap();
        }
    }
}
