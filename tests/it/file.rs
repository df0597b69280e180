//! Recordings of ffmpeg that stand in for cameras, held against ffprobe, and one under a daemon's eyes.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::seen::{assert_agrees, ffprobe, probe};
use crate::harness::{Daemon, is_skipped};

/// Six seconds of 320x240 at 12 frames a second.
fn record(folder: &Path, name: &str, options: &[&str]) -> String {
    let path = folder.join(name).display().to_string();
    let source = "testsrc2=size=320x240:rate=12";
    let status = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", source, "-t", "6"])
        .args(options)
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {name}");
    path
}

const H264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-g", "24"];
const FRAGMENTS: &[&str] = &["-movflags", "frag_keyframe+empty_moov"];

#[test]
fn every_container_agrees_with_ffprobe() {
    if is_skipped("ffprobe") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fast = [H264, &["-movflags", "faststart"]].concat();
    let fragments = [H264, FRAGMENTS].concat();
    let slow = [H264, &["-bf", "2", "-profile:v", "main"]].concat();
    let h265: &[&str] = &[
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "log-level=none",
    ];
    for (name, options) in [
        ("a.mp4", &slow[..]),
        ("b.mp4", &fast),
        ("c.mp4", &fragments),
        ("d.mov", h265),
        ("e.mkv", H264),
        ("f.mkv", h265),
        ("g.mkv", &["-c:v", "mjpeg"]),
        ("h.webm", &["-c:v", "libvpx", "-deadline", "realtime"]),
        ("i.ts", &slow),
        ("j.ts", h265),
    ] {
        let path = record(folder.path(), name, options);
        let report = probe(&format!("file:{path}"));
        assert_eq!(report["evidence"], "key_frame", "{report}");
        assert_agrees(&report, &ffprobe(Command::new("ffprobe"), &path));
    }
    let path = record(folder.path(), "k.jpg", &["-frames:v", "1"]);
    let report = probe(&format!("file://{path}"));
    assert_eq!(report["evidence"], "picture", "{report}");
    assert_eq!(report["resolution"], "320x240", "{report}");
}

#[test]
fn a_file_stands_in_for_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path(), "demo.mp4", H264);
    let root = folder.path().display();
    let config = format!("[security]\nfile_roots = [\"{root}\"]\n");
    let daemon = Daemon::start(None, &config);
    let add = |path: &str| {
        let body = json!({"connection_type": "file", "primary_stream_url": format!("file:{path}")});
        let camera = daemon.post("/api/cameras", body).expect(201);
        let check = format!("/api/health/cameras/{}/check-now", camera["id"]);
        daemon.post(&check, json!({})).expect(200);
        let health = format!("/api/health/cameras/{}", camera["id"]);
        daemon.get(&health).expect(200)
    };
    let demo = add(&path);
    assert_eq!(demo["connection_health"], "excellent", "{demo}");
    assert_eq!(demo["codec"], "h264", "{demo}");
    assert_eq!(demo["resolution"], "320x240", "{demo}");
    assert!(demo["last_frame_at"].is_string(), "{demo}");
    // The configuration decides what may be read.
    let outside = add("/etc/hostname");
    let told = outside["last_error_message"].as_str().unwrap();
    assert!(told.contains("security.file_roots"), "{outside}");
}
