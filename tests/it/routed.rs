//! A camera behind a router, and the names that the router gives to its hosts.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::sweep::{Wires, camera, device, inside, ip, onvif, run};

const FAR: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 40);

/// `/etc/netns/NAME/resolv.conf`: what programs in the namespace read in its place.
struct ResolvConf(PathBuf);

impl ResolvConf {
    fn new(namespace: &str, server: &str) -> Self {
        let dir = PathBuf::from("/etc/netns").join(namespace);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("resolv.conf"), format!("nameserver {server}\n")).unwrap();
        Self(dir)
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Calls every host by the name `hikvision-door`.
fn name_server(namespace: &str) {
    let socket = inside(namespace, || UdpSocket::bind("0.0.0.0:53").unwrap());
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend_from_slice(
                b"\xc0\x0c\0\x0c\0\x01\0\0\0\x3c\0\x14\x0ehikvision-door\x03lan\0",
            );
            let _ = socket.send_to(&answer, from);
        }
    });
}

#[test]
fn a_camera_behind_a_router_is_found_and_named() {
    let Some(mut wires) = Wires::new("ro") else {
        return;
    };
    let switch = wires.add("sw");
    wires.bridge(&switch, "br0");
    wires.bridge(&switch, "br1");
    let gateway = wires.add("gw");
    wires.plug(
        &switch,
        "br0",
        &gateway,
        "eth0",
        "02:77:00:00:00:01",
        &["10.77.0.1/24"],
    );
    let router = wires.add("rt");
    wires.plug(
        &switch,
        "br0",
        &router,
        "eth0",
        "02:77:00:00:00:fe",
        &["10.77.0.254/24"],
    );
    wires.plug(
        &switch,
        "br1",
        &router,
        "eth1",
        "02:90:00:00:00:fe",
        &["10.90.0.254/24"],
    );
    let far = wires.add("c0");
    wires.plug(
        &switch,
        "br1",
        &far,
        "eth0",
        "44:19:b6:00:00:40",
        &["10.90.0.40/24"],
    );
    assert!(
        run(&router, &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
            .status
            .success()
    );
    ip(&[
        "-n",
        &gateway,
        "route",
        "add",
        "default",
        "via",
        "10.77.0.254",
    ]);
    ip(&["-n", &far, "route", "add", "default", "via", "10.90.0.254"]);
    camera(&far);
    onvif(&far, FAR);
    name_server(&router);
    let _names = ResolvConf::new(&gateway, "10.77.0.254");

    let devices = wires.scan(&gateway, &[], &["10.77.0.0/24", "10.90.0.0/24"]);
    let ips: Vec<&Value> = devices.iter().map(|d| &d["ip"]).collect();
    assert_eq!(
        ips,
        ["10.77.0.254", "10.90.0.40", "10.90.0.254"],
        "the router on both sides and the camera behind it"
    );
    let seen = device(&devices, "10.90.0.40");
    assert_eq!(seen["open_ports"], json!([554]), "{seen}");
    assert_eq!(
        (&seen["is_onvif"], &seen["is_camera"]),
        (&json!(true), &json!(true)),
        "{seen}"
    );
    assert_eq!(
        (&seen["mac"], &seen["off_subnet"]),
        (&Value::Null, &json!(false)),
        "the router's MAC is not its own: {seen}"
    );
    assert_eq!(seen["hostname"], "hikvision-door.lan", "{seen}");
    let named = json!("dns name \"hikvision-door.lan\": Hikvision");
    assert!(
        seen["evidence"].as_array().unwrap().contains(&named),
        "{seen}"
    );
    // A name is what somebody chose: it makes no camera, and no maker.
    let other = device(&devices, "10.77.0.254");
    assert_eq!(
        (&other["is_camera"], &other["manufacturer"]),
        (&json!(false), &Value::Null),
        "{other}"
    );
}
