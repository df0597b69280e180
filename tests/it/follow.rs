//! Cameras are followed by what they are: new addresses, swapped addresses, strangers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::site::devices;
use super::harness::{Daemon, Site, wait_for};

const CONFIG: &str = "[discovery]\nfollow_interval_s = 5\n[health]\ninterval_s = 5\ntimeout_ms = 2000\n\
    [reconnect]\nfirst_delay_s = 1\nmax_delay_s = 1\nmax_attempts = 2\n";
/// Longest time until a lost camera is back.
const LIMIT: Duration = Duration::from_secs(150);

fn ip(site: &Site, device: &str, args: &[&str]) {
    let out = site.in_device(device, "ip", args);
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// The device drops its addresses and takes this one, as after a new lease: without a word.
fn readdress(site: &Site, device: &str, address: &str) {
    ip(site, device, &["addr", "flush", "dev", "eth0"]);
    ip(
        site,
        device,
        &["addr", "add", &format!("{address}/24"), "dev", "eth0"],
    );
}

fn store(daemon: &Daemon, name: &str) -> u64 {
    let device = devices().into_iter().find(|d| d.name == name).unwrap();
    let camera = daemon
        .post(
            "/api/cameras?wait=true",
            json!({"name": name, "ip_address": device.ip, "username": device.username, "password": device.password}),
        )
        .expect(201);
    assert!(camera["mac_address"].is_string(), "{camera}");
    camera["id"].as_u64().unwrap()
}

fn camera(daemon: &Daemon, id: u64) -> Value {
    daemon.get(&format!("/api/cameras/{id}")).expect(200)
}

fn is_online(camera: &Value) -> bool {
    !["offline", "unknown"].contains(&camera["connection_health"].as_str().unwrap())
}

fn online_at(daemon: &Daemon, id: u64, address: &str) -> Value {
    let started = Instant::now();
    let found = wait_for(
        &format!("camera {id} is online at {address}"),
        LIMIT,
        || {
            let camera = camera(daemon, id);
            (camera["ip_address"] == address && is_online(&camera)).then_some(camera)
        },
    );
    println!(
        "camera {id} online at {address} after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let url = found["primary_stream_url"].as_str().unwrap();
    assert!(url.contains(&format!("@{address}:")), "{found}");
    found
}

fn moves(daemon: &Daemon, id: u64) -> usize {
    let path = format!("/api/events?type=ip_changed&camera={id}");
    daemon.get(&path).expect(200)["items"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn cameras_are_followed_to_other_addresses() {
    let Some(site) = Site::up("fo", "hik,dahua,odd") else {
        return;
    };
    let daemon = Daemon::start(Some(&site), CONFIG);
    let (hik, dahua) = (store(&daemon, "hik"), store(&daemon, "dahua"));
    online_at(&daemon, hik, "10.77.0.11");
    online_at(&daemon, dahua, "10.77.0.12");

    // It dies, is given up, and comes back with another address.
    site.lan("unplug", "hik");
    wait_for("the camera is given up", LIMIT, || {
        let path = format!("/api/health/cameras/{hik}/reconnection");
        (daemon.get(&path).expect(200)["state"] == "given_up").then_some(())
    });
    readdress(&site, "hik", "10.77.0.31");
    site.lan("plug", "hik");
    let found = online_at(&daemon, hik, "10.77.0.31");
    assert_eq!(
        (&found["name"], moves(&daemon, hik)),
        (&json!("hik"), 1),
        "{found}"
    );

    // Two cameras swap their addresses.
    readdress(&site, "hik", "10.77.0.99");
    readdress(&site, "dahua", "10.77.0.31");
    readdress(&site, "hik", "10.77.0.12");
    online_at(&daemon, hik, "10.77.0.12");
    online_at(&daemon, dahua, "10.77.0.31");
    assert_eq!((moves(&daemon, hik), moves(&daemon, dahua)), (2, 1));

    // A stranger takes the address of a camera that is off: it is never taken for the camera.
    site.lan("unplug", "hik");
    readdress(&site, "odd", "10.77.0.12");
    let lost = wait_for("the camera is lost", LIMIT, || {
        let camera = camera(&daemon, hik);
        let error = camera["last_error_message"].as_str().unwrap_or_default();
        error
            .contains("another device (02:77:00:4d:00:15)")
            .then_some(camera)
    });
    assert_eq!(lost["connection_health"], "offline", "{lost}");
    readdress(&site, "hik", "10.77.0.41");
    site.lan("plug", "hik");
    online_at(&daemon, hik, "10.77.0.41");
    let seen = daemon.get("/api/discovery/devices").expect(200);
    let of = |mac: &str| {
        let rows = seen["items"].as_array().unwrap();
        rows.iter()
            .filter(|row| row["mac"] == mac && row["is_present"] == true)
            .count()
    };
    assert_eq!(
        (of("44:19:b6:4d:00:11"), of("3c:e3:6b:4d:00:12")),
        (1, 1),
        "{seen}"
    );
}
