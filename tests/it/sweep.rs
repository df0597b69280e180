//! The host sweep on real links: several interfaces, one with the name of a VLAN, a camera from another subnet, IPv6 alone,
//! thousands of dead addresses; with CAP_NET_RAW and without.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::daemon::PROGRAM;
use super::harness::is_skipped;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const FACTORY_MAC: &str = "44:19:b6:00:00:64";

/// Namespaces of one test, taken down at the end.
pub struct Wires {
    prefix: String,
    names: Vec<String>,
}

impl Wires {
    pub fn new(name: &str) -> Option<Self> {
        (!is_skipped("lan")).then(|| Self {
            prefix: format!("{name}{}", std::process::id() % 10_000),
            names: Vec::new(),
        })
    }

    pub fn add(&mut self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &namespace]);
        self.names.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        namespace
    }

    /// A wire on the switch.
    pub fn bridge(&self, switch: &str, name: &str) {
        ip(&[
            "-n",
            switch,
            "link",
            "add",
            name,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
            "forward_delay",
            "0",
        ]);
        ip(&[
            "-n",
            switch,
            "link",
            "set",
            name,
            "addrgenmode",
            "none",
            "up",
        ]);
    }

    /// A host with one interface on a bridge of the switch; `addresses` may be empty.
    pub fn plug(
        &mut self,
        switch: &str,
        bridge: &str,
        host: &str,
        interface: &str,
        mac: &str,
        addresses: &[&str],
    ) {
        let port = format!("{}{interface}", host.rsplit('-').next().unwrap());
        ip(&[
            "-n", switch, "link", "add", &port, "type", "veth", "peer", "name", interface,
            "address", mac, "netns", host,
        ]);
        ip(&["-n", switch, "link", "set", &port, "master", bridge, "up"]);
        for address in addresses {
            ip(&["-n", host, "addr", "add", address, "dev", interface]);
        }
        ip(&["-n", host, "link", "set", interface, "up"]);
    }

    pub fn scan(&self, gateway: &str, wrap: &[&str], args: &[&str]) -> Vec<Value> {
        let out = run(
            gateway,
            &[wrap, &[PROGRAM, "scan", "--json"], args].concat(),
        );
        serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

pub fn ip(args: &[&str]) {
    let out = Command::new("ip").args(args).output().unwrap();
    assert!(
        out.status.success(),
        "ip {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

pub fn run(namespace: &str, command: &[&str]) -> Output {
    let mut ip = Command::new("ip");
    ip.args(["netns", "exec", namespace])
        .args(command)
        .output()
        .unwrap()
}

/// Runs `work` in a thread that has entered the namespace; its sockets are there.
pub fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let enter = move || {
        // SAFETY: a system call on a descriptor that is open; it changes this thread alone.
        let moved = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "setns: {}", std::io::Error::last_os_error());
        work()
    };
    std::thread::spawn(enter).join().unwrap()
}

/// An RTSP server that wants a login, on every address of the namespace.
pub fn camera(namespace: &str) {
    let listener = inside(namespace, || TcpListener::bind("[::]:554").unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 2048];
                while stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let answer = "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n\r\n";
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Answers WS-Discovery to the asker, from its one address.
pub fn onvif(namespace: &str, address: Ipv4Addr) {
    let socket = inside(namespace, move || {
        let socket = UdpSocket::bind("0.0.0.0:3702").unwrap();
        socket.join_multicast_v4(&GROUP, &address).unwrap();
        socket
    });
    std::thread::spawn(move || {
        let mut probe = [0; 4096];
        while let Ok((_, from)) = socket.recv_from(&mut probe) {
            // Larger than a frame: it comes in fragments.
            let padding = " ".repeat(3000);
            let answer = format!(
                "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
                 xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><s:Header><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches\
                 </a:Action></s:Header><s:Body><d:ProbeMatches><d:ProbeMatch><a:EndpointReference><a:Address>urn:uuid:00000000-0000-4000-8000-000000000064\
                 </a:Address></a:EndpointReference><d:Scopes>onvif://www.onvif.org/hardware/NEW{padding}</d:Scopes>\
                 <d:XAddrs>http://{address}/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
            );
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    });
}

pub fn device<'d>(devices: &'d [Value], ip: &str) -> &'d Value {
    let all: Vec<&Value> = devices.iter().filter(|d| d["ip"] == ip).collect();
    assert_eq!(
        all.len(),
        1,
        "{ip} stands {} times in {devices:#?}",
        all.len()
    );
    all[0]
}

/// As a user without any privilege.
const PLAIN: [&str; 8] = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
];

#[test]
fn three_wires_a_vlan_and_a_camera_from_the_box() {
    let Some(mut wires) = Wires::new("sw") else {
        return;
    };
    let switch = wires.add("sw");
    for bridge in ["br0", "br1", "br2"] {
        wires.bridge(&switch, bridge);
    }
    let gateway = wires.add("gw");
    wires.plug(
        &switch,
        "br0",
        &gateway,
        "eth0",
        "02:77:00:00:00:01",
        &["10.77.0.1/24"],
    );
    wires.plug(
        &switch,
        "br1",
        &gateway,
        "eth1",
        "02:78:00:00:00:01",
        &["10.78.0.1/24"],
    );
    wires.plug(
        &switch,
        "br2",
        &gateway,
        "eth0.20",
        "02:79:00:00:00:01",
        &["10.79.0.1/24"],
    );
    // What distributions set: packets from other subnets are dropped.
    for interface in ["all", "eth0"] {
        let key = format!("net.ipv4.conf.{interface}.rp_filter=1");
        assert!(
            run(&gateway, &["sysctl", "-q", "-w", &key])
                .status
                .success()
        );
    }

    let first = wires.add("c0");
    wires.plug(
        &switch,
        "br0",
        &first,
        "eth0",
        "44:19:b6:00:00:10",
        &["10.77.0.10/24"],
    );
    let vlan = wires.add("c1");
    wires.plug(
        &switch,
        "br2",
        &vlan,
        "eth0",
        "44:19:b6:00:00:20",
        &["10.79.0.20/24"],
    );
    let second = wires.add("c2");
    wires.plug(
        &switch,
        "br1",
        &second,
        "eth0",
        "44:19:b6:00:00:30",
        &["10.78.0.30/24"],
    );
    let modern = wires.add("c3");
    wires.plug(
        &switch,
        "br1",
        &modern,
        "eth0",
        "44:19:b6:00:00:40",
        &["fe80::40/64"],
    );
    ip(&["-n", &modern, "addr", "add", "fe80::41/64", "dev", "eth0"]);
    let factory = wires.add("c4");
    wires.plug(
        &switch,
        "br0",
        &factory,
        "eth0",
        FACTORY_MAC,
        &["192.168.1.64/24"],
    );
    ip(&["-n", &factory, "route", "add", "default", "dev", "eth0"]);
    // By IPv6 it could be reached.
    ip(&["-n", &factory, "-6", "addr", "flush", "dev", "eth0"]);
    for host in [&first, &vlan, &second, &modern] {
        camera(host);
    }
    onvif(&factory, Ipv4Addr::new(192, 168, 1, 64));
    // Duplicate address detection.
    std::thread::sleep(Duration::from_secs(2));

    let devices = wires.scan(&gateway, &[], &[]);
    for (ip, interface) in [
        ("10.77.0.10", "eth0"),
        ("10.79.0.20", "eth0.20"),
        ("10.78.0.30", "eth1"),
    ] {
        let found = device(&devices, ip);
        assert_eq!(found["interface"], interface, "{found}");
        assert_eq!(found["open_ports"], serde_json::json!([554]), "{found}");
        assert_eq!(found["off_subnet"], false, "{found}");
        assert_eq!(found["vendor"], "Hikvision", "{found}");
    }
    let guest = device(&devices, "192.168.1.64");
    assert_eq!(
        (&guest["off_subnet"], &guest["interface"]),
        (&true.into(), &"eth0".into()),
        "{guest}"
    );
    assert_eq!(
        (&guest["mac"], &guest["is_onvif"]),
        (&FACTORY_MAC.into(), &true.into()),
        "{guest}"
    );
    let modern: Vec<&Value> = devices
        .iter()
        .filter(|d| d["mac"] == "44:19:b6:00:00:40")
        .collect();
    assert_eq!(
        modern.len(),
        1,
        "several addresses are one host: {modern:?}"
    );
    assert_eq!(
        (&modern[0]["interface"], &modern[0]["is_camera"]),
        (&"eth1".into(), &true.into())
    );

    let plain = wires.scan(&gateway, &PLAIN, &[]);
    for ip in ["10.77.0.10", "10.79.0.20", "10.78.0.30"] {
        assert!(device(&plain, ip)["mac"].is_string());
    }
}

#[test]
fn four_thousand_dead_addresses_neither_hide_the_living_nor_fill_the_table() {
    let Some(mut wires) = Wires::new("sf") else {
        return;
    };
    let switch = wires.add("sw");
    wires.bridge(&switch, "br0");
    let gateway = wires.add("gw");
    wires.plug(
        &switch,
        "br0",
        &gateway,
        "eth0",
        "02:77:00:00:00:01",
        &["10.80.0.1/20"],
    );
    let host = wires.add("c0");
    let living = ["10.80.0.2", "10.80.3.255", "10.80.7.77", "10.80.15.254"];
    let addresses = living.map(|ip| format!("{ip}/20"));
    wires.plug(
        &switch,
        "br0",
        &host,
        "eth0",
        "44:19:b6:00:00:10",
        &addresses.each_ref().map(String::as_str),
    );
    camera(&host);
    for wrap in [&[][..], &PLAIN] {
        let started = Instant::now();
        let devices = wires.scan(
            &gateway,
            wrap,
            &["--method", "arp", "--method", "tcp", "--no-identify"],
        );
        println!(
            "{} of 4,094 in {:.1} s",
            devices.len(),
            started.elapsed().as_secs_f64()
        );
        // One MAC is one device, with all of its addresses.
        assert_eq!(devices.len(), 1, "{devices:?}");
        let only = &devices[0];
        assert_eq!(only["open_ports"], serde_json::json!([554]), "{only}");
        for ip in living {
            let is_also_at = |also: &Value| also == ip;
            let mut also = only["addresses"].as_array().unwrap().iter();
            assert!(only["ip"] == ip || also.any(is_also_at), "{ip}: {only}");
        }
        if wrap.is_empty() {
            let table = run(&gateway, &["ip", "-4", "neigh"]).stdout;
            let entries = String::from_utf8_lossy(&table).lines().count();
            assert_eq!(
                entries,
                living.len(),
                "only the living stand in the neighbour table"
            );
        }
    }
}
