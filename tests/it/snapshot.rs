//! Pictures of now: one fetch for all who ask, and errors that say whose fault it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::json;

use super::harness::Daemon;
use super::harness::fake::{Fake, Fault};
use super::harness::web::Web;

const CONFIG: &str = "[security]\nallowed_networks = [\"loopback\"]\n[health]\ntimeout_ms = 1000\nframe_timeout_ms = 1000\n";

/// A baseline JPEG of 16x16 pixels, as far as its outline goes.
fn jpeg() -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    out.extend([0xff, 0xc0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0]);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    out.extend([0x55; 64]);
    out.extend([0xff, 0xd9]);
    out
}

#[test]
fn callers_at_the_same_time_share_one_picture() {
    let fetched = Arc::new(AtomicU32::new(0));
    let count = fetched.clone();
    let camera = Web::start(move |asked| {
        (asked.path == "/snap.jpg").then(|| {
            count.fetch_add(1, Ordering::SeqCst);
            // Long enough for the others to come.
            std::thread::sleep(Duration::from_millis(300));
            ("image/jpeg", jpeg())
        })
    });
    let streams = Fake::start(Fault::None);
    let daemon = Daemon::start(None, CONFIG);
    let body = json!({
        "primary_stream_url": format!("rtsp://admin:s3cret@{}/live", streams.address),
        "snapshot_url": format!("http://{}/snap.jpg", camera.address)
    });
    let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
    let path = format!("/api/cameras/{id}/snapshot");
    let together = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                together.wait();
                let answer = daemon.get(&path);
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert!(answer.head.contains("image/jpeg"), "{}", answer.head);
            });
        }
    });
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    assert_eq!(daemon.get(&path).status, 200, "it is still fresh");
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn errors_say_whose_fault_it_is() {
    let daemon = Daemon::start(None, CONFIG);
    let streams = Fake::start(Fault::None);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let broken = Web::start(|_| None);
    let add = |snapshot: Option<String>, n: u8| {
        let body = json!({
            "primary_stream_url": format!("rtsp://admin:s3cret@{}/live{n}", streams.address), "snapshot_url": snapshot
        });
        let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
        format!("/api/cameras/{id}")
    };
    let refuses = |camera: &str, status: u16, code: &str| {
        let told = daemon.get(&format!("{camera}/snapshot")).expect(status);
        assert_eq!(told["code"], code, "{told}");
    };
    refuses(&add(None, 1), 404, "no_snapshot_source");
    refuses("/api/cameras/99", 404, "unknown_camera");
    let late = format!("http://{}/snap.jpg", silent.local_addr().unwrap());
    refuses(&add(Some(late), 2), 504, "timeout");
    let missing = format!("http://{}/snap.jpg", broken.address);
    let camera = add(Some(missing), 3);
    refuses(&camera, 502, "not_found");
    let off = json!({"enabled": false}).to_string();
    daemon.ask("PATCH", &camera, Some(off)).expect(200);
    refuses(&camera, 409, "camera_disabled");
}
