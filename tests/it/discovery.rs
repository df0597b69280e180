//! Cameras that answer nothing but a search of discovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ohmvision::discover::hello::{self, Move};
use ohmvision::policy::networks::AllowedNetworks;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::harness::Site;
use super::harness::daemon::PROGRAM;

/// Devices by address.
fn found(site: &Site, args: &[&str]) -> BTreeMap<String, Value> {
    let out = site.run(PROGRAM, args, &[]);
    let devices: Vec<Value> = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    let by_ip = |device: Value| (device["ip"].as_str().unwrap().to_owned(), device);
    devices.into_iter().map(by_ip).collect()
}

#[test]
fn each_makers_search_finds_its_camera() {
    let Some(site) = Site::up("dv", "hik") else {
        return;
    };
    let more: Vec<String> = (101..=123).map(|n| format!("10.77.0.{n}/24")).collect();
    site.host("vendors", "10.77.0.100", &more);
    let cameras = site.searched("vendors", &["vendors", "10.77.0.101"]);
    assert_eq!(cameras.before.len(), 23);
    let found = found(&site, &["scan", "--json"]);
    for line in &cameras.before {
        let (ip, protocol) = line.split_once(' ').unwrap();
        let device = found
            .get(ip)
            .unwrap_or_else(|| panic!("{protocol} is not found"));
        let evidence = device["evidence"].to_string();
        let method = match protocol {
            "mdns" | "ssdp" => protocol,
            _ => "vendor",
        };
        let found_by = device["found_by"].as_array().unwrap();
        assert!(found_by.contains(&method.into()), "{device}");
        // A vacuum cleaner answers miIO too: it is found and named no camera.
        assert_eq!(device["is_camera"], protocol != "miio", "{device}");
        let has_maker = !["miio", "pppp"].contains(&protocol);
        assert_eq!(device["manufacturer_id"].is_string(), has_maker, "{device}");
        let is_unverified =
            ["tdp", "kasa", "reolink", "miio", "pppp", "v380", "mhed"].contains(&protocol);
        assert_eq!(evidence.contains("(unverified)"), is_unverified, "{device}");
        assert!(!device.to_string().contains("never-shown"), "{device}");
    }
    let hik = &found["10.77.0.101"];
    assert_eq!(hik["serial_number"], "SN00A0001", "{hik}");
    assert_eq!(
        hik["needs_credentials"], true,
        "found, needs credentials: {hik}"
    );
}

#[test]
fn a_burst_of_answers_is_taken_whole() {
    let Some(site) = Site::up("db", "hik") else {
        return;
    };
    let more: Vec<String> = (0..250).map(|n| format!("10.78.1.{n}/16")).collect();
    site.host("many", "10.77.0.99", &more);
    site.address("gw", "10.78.0.1/16");
    let _cameras = site.searched("many", &["onvif", "10.78.1.0", "250"]);
    let found = found(&site, &["discover", "--json"]);
    let lost: Vec<String> = (0..250)
        .map(|n| format!("10.78.1.{n}"))
        .filter(|ip| !found.contains_key(ip))
        .collect();
    assert!(lost.is_empty(), "{} of 250 lost", lost.len());
    assert!(found.values().all(|device| device["is_onvif"] == true));
}

#[test]
fn copied_endpoints_and_ipv6_alone() {
    let Some(site) = Site::up("dc", "hik") else {
        return;
    };
    let more = ["10.77.0.91/24", "10.77.0.92/24", "10.77.0.93/24"].map(str::to_owned);
    site.host("copies", "10.77.0.90", &more);
    site.host("six", "10.77.0.80", &[]);
    let _copies = site.searched("copies", &["copies", "10.77.0.91", "3"]);
    // The address that the kernel makes of the MAC that `lan` gives.
    let six = "fe80::77:ff:fe00:150";
    for host in ["gw", "six"] {
        site.settled(host);
    }
    let _six = site.searched("six", &["onvif6", six]);
    let found = found(&site, &["discover", "--json"]);
    for ip in ["10.77.0.91", "10.77.0.92", "10.77.0.93", six] {
        let device = found
            .get(ip)
            .unwrap_or_else(|| panic!("{ip} is not in {:?}", found.keys()));
        assert_eq!(device["is_onvif"], true, "{device}");
        assert_eq!(device["interface"], "eth0", "{device}");
    }
    assert_eq!(found[six]["mac"], "02:77:00:00:01:50");
}

#[test]
fn hello_and_bye_are_heard() {
    let Some(site) = Site::up("dh", "hik") else {
        return;
    };
    site.host("greeter", "10.77.0.70", &[]);
    let _greeter = site.searched("greeter", &["greet", "10.77.0.70"]);
    site.enter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (tell, mut heard) = mpsc::channel(16);
        let networks = Arc::new(AllowedNetworks::parse(&["private"]).unwrap());
        let stop = CancellationToken::new();
        let listener = tokio::spawn(hello::listen(vec![], networks, tell, stop.clone()));
        let mut moves = Vec::new();
        while moves.len() < 2 {
            let news = tokio::time::timeout(Duration::from_secs(5), heard.recv());
            let news = news.await.expect("news within 5 s").unwrap();
            assert_eq!(news.from.to_string(), "10.77.0.70");
            assert_eq!(
                news.device.xaddrs,
                ["http://10.77.0.70/onvif/device_service"]
            );
            if !moves.contains(&news.what) {
                moves.push(news.what);
            }
        }
        assert!(moves.contains(&Move::Hello) && moves.contains(&Move::Bye));
        stop.cancel();
        listener.await.unwrap();
    });
}
