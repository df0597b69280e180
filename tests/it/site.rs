//! The real site: what a detection must find, beside what ffprobe sees.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::seen::{Seen, agrees_in_the_end, assert_agrees, ffprobe, probe_by};
use super::harness::site::{Device, devices};
use super::harness::{Site, is_skipped, wait_for};

fn detect(site: &Site, device: &Device, password: &str) -> Value {
    let args = ["detect", &device.ip, "-u", &device.username, "--json"];
    let out = site.run(PROGRAM, &args, &[("OHMVISION_PASSWORD", password)]);
    let said = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{}: {e}: {said}", device.name))
}

/// The URL without its login.
fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!(
        "{scheme}://{}",
        rest.rsplit_once('@').map_or(rest, |(_, host)| host)
    )
}

#[test]
fn detect_finds_the_main_stream_of_every_device() {
    let Some(site) = Site::up("dt", "") else {
        return;
    };
    std::thread::scope(|scope| {
        let check = |device: Device| {
            let site = &site;
            move || {
                let report = detect(site, &device, &device.password);
                let name = &device.name;
                assert_eq!(report["success"], true, "{name}: {report}");
                let url = report["recommended_url"].as_str().unwrap();
                let best = report["all_results"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|r| r["url"] == url)
                    .unwrap();
                // motion plays on whatever path it is asked for.
                assert!(
                    name == "motion" || masked(url) == device.url,
                    "{name}: {url}"
                );
                let size = format!("{}x{}", device.width, device.height);
                assert!(best["evidence"] == "key_frame", "{name}: {best}");
                let expected = Seen {
                    codec: device.codec.clone(),
                    size: size.clone(),
                    fps: Some(device.fps),
                };
                let again = || probe_by(site.command(PROGRAM), url);
                let fps = agrees_in_the_end(best.clone(), &expected, again)["fps"].clone();
                if let Some(maker) = &device.manufacturer {
                    assert_eq!(
                        report["device"]["manufacturer_id"],
                        maker.as_str(),
                        "{name}"
                    );
                }
                // ffprobe does not know motion's lower-case digest.
                if name != "motion" && !is_skipped("ffprobe") {
                    let seen = ffprobe(site.command("ffprobe"), url);
                    assert_agrees(best, &Seen { fps: None, ..seen });
                }
                println!(
                    "{name}: {} {size} at {fps} fps, {} ms",
                    device.codec, report["duration_ms"]
                );
            }
        };
        for device in devices() {
            scope.spawn(check(device));
        }
    });
    wrong_credentials_are_said_after_one_attempt(&site);
}

fn wrong_credentials_are_said_after_one_attempt(site: &Site) {
    for device in devices() {
        let report = detect(site, &device, "not-the-password");
        assert_eq!(report["success"], false, "{}", device.name);
        let results = report["all_results"].as_array().unwrap();
        let failed: Vec<&Value> = results
            .iter()
            .filter(|r| r["error"]["code"] == "auth_failed")
            .collect();
        assert_eq!(failed.len(), 1, "{}: {report}", device.name);
        assert!(
            report["hint"]
                .as_str()
                .unwrap()
                .contains("refused the login"),
            "{report}"
        );
    }
}

#[test]
fn a_link_local_address_with_its_zone_is_reached() {
    let Some(site) = Site::up("v6", "hik") else {
        return;
    };
    let namespace = format!("{}-hik", site.prefix);
    let address = wait_for("a link-local address", Duration::from_secs(10), || {
        let show = [
            "netns", "exec", &namespace, "ip", "-6", "-o", "addr", "show", "dev", "eth0",
        ];
        let out = Command::new("ip").args(show).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let found = text
            .split_whitespace()
            .find(|word| word.starts_with("fe80"))?;
        (!text.contains("tentative")).then(|| found.split('/').next().unwrap().to_owned())
    });
    let url = format!("rtsp://[{address}%eth0]:554/Streaming/Channels/101");
    let args = ["probe", &url, "-u", "admin", "--frames", "--json"];
    let report = wait_for("a picture", Duration::from_secs(15), || {
        let out = site.run(PROGRAM, &args, &[("OHMVISION_PASSWORD", "Hik12345")]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        (report["success"] == true).then_some(report)
    });
    assert_eq!(
        (&report["codec"], &report["resolution"]),
        (&json!("h264"), &json!("1280x720"))
    );
}
