//! HLS as nginx serves it: live TS and fMP4 streams of ffmpeg's packager, held against ffprobe.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::daemon::PROGRAM;
use crate::harness::{is_skipped, wait_for};

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
    dir: tempfile::TempDir,
}

impl Server {
    /// nginx on loopback, plain static serving; `/login/` wants `admin` / `s3cret` by Basic.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let port = free_port();
        std::fs::write(dir.path().join("users"), "admin:{PLAIN}s3cret\n").unwrap();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/tmp;\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log; user root;
             events {{ worker_connections 64; }}
             http {{ access_log off; {paths}
               server {{ listen 127.0.0.1:{port}; root {at};
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

/// What `ohmvision probe --frames` tells.
pub fn probe(url: &str, more: &[&str]) -> Value {
    let output = Command::new(PROGRAM)
        .args(["probe", url, "--frames", "--json"])
        .args(more)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Codec, size and rate as ffprobe sees them.
pub fn ffprobe(input: &str) -> (String, String, f64) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries"])
        .args([
            "stream=codec_name,width,height,avg_frame_rate",
            "-of",
            "json",
            input,
        ])
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &told["streams"][0];
    let codec = match stream["codec_name"].as_str().unwrap() {
        "hevc" => "h265",
        other => other,
    };
    let size = format!("{}x{}", stream["width"], stream["height"]);
    let rate = stream["avg_frame_rate"].as_str().unwrap();
    let (frames, seconds) = rate.split_once('/').unwrap();
    let seconds: f64 = seconds.parse().unwrap();
    (
        codec.to_owned(),
        size,
        frames.parse::<f64>().unwrap() / seconds,
    )
}

/// The probe says what ffprobe says of the same stream.
pub fn agrees(report: &Value, input: &str) {
    assert_eq!(report["success"], true, "{report}");
    assert_eq!(report["evidence"], "key_frame", "{report}");
    let (codec, size, fps) = ffprobe(input);
    assert_eq!(report["codec"], codec.as_str(), "{report}");
    assert_eq!(report["resolution"], size.as_str(), "{report}");
    let ours = report["fps"].as_f64().unwrap();
    // A rate of 0/0 is one that ffprobe does not know.
    if fps.is_finite() && fps > 0.0 {
        let difference = (ours - fps).abs();
        assert!(
            difference <= 0.5 || difference <= fps / 10.0,
            "{ours}, not {fps}"
        );
    }
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
    for (path, more) in [
        ("ts/cam.m3u8", &[][..]),
        ("login/ts/cam.m3u8", &[]),
        ("fmp4/cam.m3u8", &[]),
        ("fmp4/main.m3u8", &[]),
    ] {
        let url = match path.starts_with("login") {
            true => server.url(path).replace("//", "//admin:s3cret@"),
            false => server.url(path),
        };
        let report = probe(&url, more);
        assert_eq!(report["connection_type"], "hls");
        agrees(&report, &url);
    }
    let wrong = server
        .url("login/ts/cam.m3u8")
        .replace("//", "//admin:wrong@");
    assert_eq!(probe(&wrong, &[])["error"]["code"], "auth_failed");
    let missing = probe(&server.url("ts/other.m3u8"), &[]);
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
    let report = probe(&server.url("ts/cam.m3u8"), &[]);
    assert_eq!(report["error"]["code"], "no_frame", "{report}");
    assert_eq!(report["error"]["stage"], "sample", "{report}");
    cut_last_segment(&server.dir.path().join("ts"));
    let report = probe(&server.url("ts/cam.m3u8"), &[]);
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
