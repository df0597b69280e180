//! RTMP, RTMPS and HTTP-FLV against servers that others wrote: nginx with its RTMP module, ffmpeg.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::harness::seen::{assert_agrees, ffprobe, probe};
use super::harness::{Daemon, certificate, is_skipped, wait_for};

/// What the publisher sends.
const SIZE: (u64, u64) = (1280, 720);
const FPS: f64 = 15.0;

/// A child that is ended with the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }
}

/// nginx on a loopback address of its own, so that port 1935 is free there.
struct Nginx {
    address: String,
    dir: tempfile::TempDir,
    rtmps_port: u16,
    http_port: u16,
    _process: Running,
}

pub(super) fn free_port(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(super) fn listens(address: &str, port: u16) {
    wait_for("the server listens", Duration::from_secs(20), || {
        std::net::TcpStream::connect((address, port)).ok()
    });
}

impl Nginx {
    /// `None` where its peers are skipped. `host` tells the tests of this process apart.
    fn start(host: u8) -> Option<Self> {
        if is_skipped("lan") {
            return None;
        }
        let id = std::process::id();
        let address = format!("127.{}.{}.{host}", 64 + id / 256 % 64, id % 256);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let (rtmps_port, http_port) = (free_port(&address), free_port(&address));
        certificate(dir.path());
        std::fs::write(dir.path().join("users"), "admin:{PLAIN}r1ght\n").unwrap();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
            load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
            events {{ worker_connections 64; }}
            rtmp {{ server {{
                listen {address}:1935; access_log off; chunk_size 4096;
                application live {{ live on; }}
                application bcs {{ live on; }}
                application strict {{ live on; idle_streams off; }}
            }} }}
            stream {{ server {{
                listen {address}:{rtmps_port} ssl; proxy_pass {address}:1935;
                ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
            }} }}
            http {{
                access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
                fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
                types {{ video/x-flv flv; }}
                server {{
                    listen {address}:{http_port}; root {path};
                    location /locked {{ alias {path}; auth_basic cam; auth_basic_user_file {path}/users; }}
                }}
            }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .args(["-p", &path, "-c", &format!("{path}/nginx.conf")])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs (peers are installed by `tests/lan/lan install`)");
        let process = Running(child);
        listens(&address, 1935);
        Some(Self {
            address,
            dir,
            rtmps_port,
            http_port,
            _process: process,
        })
    }

    fn rtmp(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address)
    }

    /// Publishes a test picture with sound, and waits until it is to be seen.
    fn publish(&self, path: &str) -> Running {
        let publisher = ffmpeg(&self.rtmp(path), &["-re"], &[]);
        wait_for("the stream is published", Duration::from_secs(30), || {
            (probe(&self.rtmp(path))["success"] == true).then_some(())
        });
        publisher
    }
}

/// ffmpeg, sending H.264 and AAC as FLV.
pub(super) fn ffmpeg(to: &str, input: &[&str], output: &[&str]) -> Running {
    let picture = format!("testsrc2=size={}x{}:rate={FPS}", SIZE.0, SIZE.1);
    let child = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y"])
        .args(input)
        .args(["-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", "sine"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
        ])
        .args([
            "-pix_fmt", "yuv420p", "-b:v", "600k", "-g", "15", "-c:a", "aac",
        ])
        .args(output)
        .args(["-f", "flv", to])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ffmpeg runs (peers are installed by `tests/lan/lan install`)");
    Running(child)
}

pub(super) fn assert_proven(report: &Value) {
    assert_eq!(report["success"], true, "{report}");
    assert_eq!(report["connection_type"], "rtmp", "{report}");
    assert_eq!(report["evidence"], "key_frame", "{report}");
    assert_eq!(report["codec"], "h264", "{report}");
    assert_eq!(
        report["resolution"],
        format!("{}x{}", SIZE.0, SIZE.1),
        "{report}"
    );
    let fps = report["fps"].as_f64().unwrap();
    assert!((fps - FPS).abs() <= FPS / 10.0, "{report}");
}

pub(super) fn failed(report: &Value) -> (&str, &str) {
    let text = |name: &str| report["error"][name].as_str().unwrap_or_default();
    (text("code"), text("stage"))
}

#[test]
fn rtmp_and_rtmps_show_what_ffprobe_sees() {
    let Some(nginx) = Nginx::start(1) else { return };
    let publisher = nginx.publish("live/cam1");
    let url = nginx.rtmp("live/cam1");
    let report = probe(&url);
    assert_proven(&report);
    assert_eq!(report["transport"], "tcp");
    if !is_skipped("ffprobe") {
        assert_agrees(&report, &ffprobe(Command::new("ffprobe"), &url));
    }
    let tls = format!("rtmps://{}:{}/live/cam1", nginx.address, nginx.rtmps_port);
    let report = probe(&tls);
    assert_proven(&report);
    assert_eq!(report["transport"], "tls");
    assert_eq!(report["certificate"]["subject"], "camera", "{report}");

    // There, but nothing comes any more.
    publisher.signal(Signal::SIGSTOP);
    let frozen = probe(&url);
    assert_eq!(failed(&frozen).0, "no_frame", "{frozen}");
    publisher.signal(Signal::SIGCONT);
    wait_for("the stream goes on", Duration::from_secs(30), || {
        (probe(&url)["success"] == true).then_some(())
    });
}

#[test]
fn what_is_not_there_is_told_apart() {
    let Some(nginx) = Nginx::start(2) else { return };
    let missing = probe(&nginx.rtmp("strict/cam1"));
    assert_eq!(failed(&missing), ("not_found", "describe"), "{missing}");
    let empty = probe(&nginx.rtmp("live/nobody"));
    assert_eq!(failed(&empty), ("no_frame", "first_packet"), "{empty}");
    let application = probe(&nginx.rtmp("nothing/cam1"));
    assert_eq!(failed(&application), ("reset", "describe"), "{application}");
    let web = format!("rtmp://{}:{}/live/cam1", nginx.address, nginx.http_port);
    assert_eq!(failed(&probe(&web)), ("protocol", "handshake"));
    let plain = format!("rtmps://{}:1935/live/cam1", nginx.address);
    assert_eq!(failed(&probe(&plain)).1, "tls");
}

#[test]
fn flv_over_http_live_and_behind_a_login() {
    let Some(nginx) = Nginx::start(3) else { return };
    // ffmpeg's own web server, for one viewer.
    let port = free_port(&nginx.address);
    let live = format!("http://{}:{port}/live/cam1.flv", nginx.address);
    let _camera = ffmpeg(&live, &["-re"], &["-listen", "1"]);
    let report = wait_for("ffmpeg serves", Duration::from_secs(30), || {
        let report = probe(&live);
        (failed(&report).0 != "refused").then_some(report)
    });
    assert_proven(&report);
    assert_eq!(report["transport"], "http");

    let file = nginx.dir.path().join("cam.flv");
    write_file(&file);
    let url = |path: &str| format!("http://{}:{}/{path}", nginx.address, nginx.http_port);
    let (open, locked) = (probe(&url("cam.flv")), url("locked/cam.flv"));
    assert_proven(&open);
    assert_eq!(failed(&probe(&url("none.flv"))).0, "not_found");
    assert_eq!(failed(&probe(&locked)).0, "auth_required");
    let with = |login: &str| probe(&locked.replace("//", &format!("//{login}@")));
    assert_eq!(failed(&with("admin:wr0ng")).0, "auth_failed");
    assert_proven(&with("admin:r1ght"));
}

fn write_file(path: &Path) {
    let mut writer = ffmpeg(path.to_str().unwrap(), &[], &["-t", "4"]);
    assert!(writer.0.wait().unwrap().success());
}

#[test]
fn a_camera_is_detected_watched_lost_and_found_again() {
    let Some(nginx) = Nginx::start(4) else { return };
    let stream = "bcs/channel0_main.bcs";
    let publisher = nginx.publish(stream);
    let config = "[security]\nallowed_networks = [\"loopback\"]\n[health]\ninterval_s = 5\nframe_timeout_ms = 4000\n";
    let daemon = Daemon::start(None, config);
    let body = json!({"ip": nginx.address, "ports": [1935], "manufacturer": "reolink", "username": "admin", "password": "s3cret-canary"});
    let detected = daemon.post("/api/discovery/auto-detect", body).expect(200);
    assert_eq!(detected["success"], true, "{detected}");
    let camera = json!({
        "name": "door", "manufacturer": "reolink", "username": "admin", "password": "s3cret-canary",
        "primary_stream_url": format!("{}?channel=0&stream=0&user=admin&password=s3cret-canary", nginx.rtmp(stream)),
    });
    let created = daemon.post("/api/cameras", camera).expect(201);
    assert_eq!(created["connection_type"], "rtmp", "{created}");
    assert!(!created.to_string().contains("canary"), "{created}");
    let health = format!("/api/health/cameras/{}", created["id"]);
    let grade = || daemon.get(&health).expect(200)["connection_health"].clone();
    let is_up =
        |grade: &Value| ["excellent", "good", "fair"].contains(&grade.as_str().unwrap_or_default());
    wait_for("the camera is online", Duration::from_secs(30), || {
        is_up(&grade()).then_some(())
    });
    let checked = daemon
        .post(&format!("{health}/check-now"), json!({}))
        .expect(200);
    assert!(!checked.to_string().contains("canary"), "{checked}");
    drop(nginx);
    drop(publisher);
    wait_for("the camera is offline", Duration::from_secs(30), || {
        (grade() == "offline").then_some(())
    });
}
