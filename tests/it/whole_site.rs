//! A whole site in one go: cameras of many kinds, two logins, a rogue and a babbler.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::site::{cameras, entries};
use super::harness::{Daemon, Site, is_skipped};

const LOGINS: &str = "# the two logins of this site\nadmin:Hik12345\nroot:Axis pass\n";
/// Those whose login is one of the two, and that do not want it in clear.
const STORED: [&str; 12] = [
    "hik", "dahua", "axis", "secure", "oxvif", "ratlet", "clock", "text", "digest", "hosts",
    "f200", "account",
];

fn scan(site: &Site) -> Vec<Value> {
    let out = site.run(PROGRAM, &["scan", "--json"], &[]);
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Lines `MECHANISM USER OUTCOME` of an ONVIF device, counted.
fn logins(site: &Site, device: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in site.logins(device).lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn thirty_cameras_need_two_logins() {
    if is_skipped("peers") {
        return;
    }
    let Some(site) = Site::up("ws", "all") else {
        return;
    };
    let found = scan(&site);
    let at = |ip: &str| found.iter().find(|d| d["ip"] == ip);
    for entry in entries() {
        let ip = entry["ip"].as_str().unwrap();
        let device = at(ip).unwrap_or_else(|| panic!("{} is not found", entry["name"]));
        assert_eq!(device["mac"], entry["mac"], "{device}");
        let fault = entry["onvif"]["fault"].as_str().unwrap_or_default();
        if fault == "babble" {
            assert_eq!(device["is_onvif"], false, "{device}");
            continue;
        }
        assert_eq!(device["manufacturer_id"], entry["manufacturer"], "{device}");
        if !fault.is_empty() {
            assert_eq!(device["is_camera"], true, "{device}");
            let model = entry["onvif"]["model"].as_str();
            let is_told = fault != "ratlet"; // its scopes name no hardware
            assert!(!is_told || device["model"].as_str() == model, "{device}");
        }
    }
    assert_eq!(found.len(), entries().len());

    let daemon = Daemon::start(Some(&site), "");
    let file = daemon.state.join("logins");
    let mut options = std::fs::OpenOptions::new();
    let mut writer = options
        .write(true)
        .create(true)
        .mode(0o600)
        .open(&file)
        .unwrap();
    std::io::Write::write_all(&mut writer, LOGINS.as_bytes()).unwrap();
    let setup = || {
        let file = file.to_str().unwrap();
        let url = format!("http://{}", daemon.address);
        let env = [
            ("OHMVISION_TOKEN", daemon.token.as_str()),
            ("OHMVISION_URL", url.as_str()),
        ];
        let args = ["setup", "--yes", "--json", "--logins", file];
        let out = site.run(PROGRAM, &args, &env);
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        told["rows"].as_array().unwrap().clone()
    };
    let rows = setup();
    for row in &rows {
        println!(
            "{} {} {} {}",
            row["ip"], row["status"], row["code"], row["reason"]
        );
    }
    let row = |name: &str| {
        let device = entries().into_iter().find(|e| e["name"] == name).unwrap();
        rows.iter().find(|r| r["ip"] == device["ip"]).cloned()
    };
    for camera in cameras()
        .iter()
        .filter(|c| STORED.contains(&c.name.as_str()))
    {
        let row = row(&camera.name).unwrap();
        assert_eq!(row["status"], "stored", "{row}");
        assert_eq!(row["url"], camera.url.as_str(), "{row}");
        assert_eq!(
            row["resolution"],
            format!("{}x{}", camera.width, camera.height)
        );
    }
    let stored = rows.iter().filter(|r| r["status"] == "stored").count();
    assert_eq!(stored, STORED.len());
    for (name, code) in [
        ("jpeg", "needs_cleartext_login"),
        ("rogue", "needs_cleartext_login"),
        ("odd", "login_refused"),
    ] {
        let row = row(name).unwrap();
        assert_eq!(
            (&row["status"], &row["code"]),
            (&json!("left_out"), &json!(code)),
            "{row}"
        );
        assert!(
            row["reason"].as_str().is_some_and(|r| r.len() > 20),
            "{row}"
        );
    }
    assert!(row("babble").is_none_or(|row| row["status"] == "left_out"));

    // A second run tries nothing anew.
    let again = setup();
    assert!(again.iter().all(|r| r["status"] != "stored"), "{again:?}");
    assert_eq!(site.logins("rogue"), "", "the rogue got a login");
    for entry in entries() {
        let name = entry["name"].as_str().unwrap();
        for (line, count) in logins(&site, name) {
            println!("{name}: {line} x{count}");
            assert!(
                !line.ends_with("refused") || count == 1,
                "{name}: {line} {count} times"
            );
        }
    }
    let accepted = logins(&site, "account");
    assert!(
        accepted.keys().all(|line| line.ends_with("refused")),
        "{accepted:?}"
    );
}
