use super::*;
use crate::discover::ask::Sender;
use crate::wire::discovery::{Facts, PROTOCOLS};
use crate::wire::wsd::Match;

const MAC: Mac = Mac([0, 0, 0x5e, 0, 0x53, 1]);
const OTHER: Mac = Mac([0, 0, 0x5e, 0, 0x53, 2]);

fn heard(protocol: &str, from: &str, facts: Facts) -> Heard {
    Heard {
        protocol: PROTOCOLS.iter().find(|p| p.name == protocol).unwrap(),
        sender: Sender {
            ip: from.parse().unwrap(),
            interface: Some("eth0".into()),
            mac: None,
            off_subnet: false,
        },
        facts,
    }
}

fn onvif(from: &str, endpoint: &str, xaddrs: &[&str]) -> Heard {
    let answer = Match {
        endpoint: endpoint.into(),
        xaddrs: xaddrs.iter().map(|x| (*x).to_owned()).collect(),
        ..Match::default()
    };
    heard("ws_discovery", from, answer.into())
}

fn serial(from: &str, serial: &str) -> Heard {
    let facts = Facts {
        serial: Some(serial.into()),
        ..Facts::default()
    };
    heard("sadp", from, facts)
}

fn host(ip: &str, open: &[u16]) -> Host {
    Host {
        open: open.to_vec(),
        ..Host::at(SocketAddr::new(ip.parse().unwrap(), 0), "arp")
    }
}

/// First address and the others of each device.
fn addresses(hosts: &[(&str, &[u16])], heard: Vec<Heard>, macs: &[(&str, Mac)]) -> Vec<String> {
    let hosts = hosts.iter().map(|(ip, open)| host(ip, open)).collect();
    let macs: BTreeMap<IpAddr, Mac> = macs
        .iter()
        .map(|(ip, mac)| (ip.parse().unwrap(), *mac))
        .collect();
    let all = merged(hosts, heard, |ip| macs.get(&ip).copied());
    let line = |device: &Sightings| {
        let also: String = device.also_at.iter().map(|ip| format!(" {ip}")).collect();
        format!("{}{also}", device.host.address.ip())
    };
    all.iter().map(line).collect()
}

#[test]
fn one_device_has_one_row() {
    let heard = vec![
        onvif("10.0.0.9", "urn:uuid:a-1", &[]),
        onvif("10.0.0.8", "urn:uuid:b-1", &[]),
    ];
    let all = merged(vec![host("10.0.0.9", &[554])], heard, |_| None);
    assert_eq!(all.len(), 2);
    let both = all.iter().find(|d| d.was_swept).unwrap();
    assert_eq!(
        (both.host.open.as_slice(), both.heard.len()),
        (&[554][..], 1)
    );
    assert_eq!(both.host.interface.as_deref(), Some("eth0"));
}

#[test]
fn two_new_cameras_with_one_factory_address_are_two() {
    let guest = |mac, number: &str| {
        let mut heard = serial("192.168.1.64", number);
        heard.sender.mac = mac;
        heard.sender.off_subnet = true;
        heard
    };
    let host = Host {
        mac: Some(MAC),
        off_subnet: true,
        ..host("192.168.1.64", &[])
    };
    // The first is heard by the socket too, where the IP layer lets its answer through.
    let heard = vec![
        guest(Some(MAC), "DS-0000001"),
        guest(None, "DS-0000001"),
        guest(Some(OTHER), "DS-0000002"),
    ];
    let all = merged(vec![host], heard, |_| None);
    let macs: Vec<Option<Mac>> = all.iter().map(|d| d.host.mac).collect();
    assert_eq!(macs, [Some(MAC), Some(OTHER)]);
    assert!(all.iter().all(|d| d.host.off_subnet && d.heard.len() == 1));
}

#[test]
fn several_addresses_of_one_mac() {
    let macs = [("10.0.0.9", MAC), ("192.168.1.9", MAC), ("10.0.0.7", OTHER)];
    let hosts: [(&str, &[u16]); 3] = [
        ("10.0.0.9", &[]),
        ("192.168.1.9", &[554]),
        ("10.0.0.7", &[80]),
    ];
    assert_eq!(
        addresses(&hosts, vec![], &macs),
        ["10.0.0.7", "192.168.1.9 10.0.0.9"]
    );
}

#[test]
fn a_link_local_address_holds_its_mac() {
    let heard = vec![onvif("fe80::200:5eff:fe00:5301", "urn:uuid:a-1", &[])];
    let found = addresses(&[("10.0.0.9", &[80])], heard, &[("10.0.0.9", MAC)]);
    assert_eq!(found, ["10.0.0.9 fe80::200:5eff:fe00:5301"]);
}

#[test]
fn a_recorder_with_two_cards_is_one_by_its_serial_number() {
    let heard = vec![
        serial("10.0.0.9", "DS-76080001"),
        serial("10.1.0.9", "DS-76080001"),
    ];
    let macs = [("10.0.0.9", MAC), ("10.1.0.9", OTHER)];
    assert_eq!(addresses(&[], heard, &macs), ["10.0.0.9 10.1.0.9"]);
    let zeros = vec![
        serial("10.0.0.9", "00000000"),
        serial("10.1.0.9", "00000000"),
    ];
    assert_eq!(
        addresses(&[], zeros, &[]).len(),
        2,
        "no serial number at all"
    );
}

#[test]
fn duplicate_endpoints_stay_two_cameras() {
    let own = |ip: &str| {
        onvif(
            ip,
            "urn:uuid:copied",
            &[&format!("http://{ip}/onvif/device_service")],
        )
    };
    let both = || vec![own("10.0.0.8"), own("10.0.0.9")];
    let macs = [("10.0.0.8", MAC), ("10.0.0.9", OTHER)];
    assert_eq!(addresses(&[], both(), &macs).len(), 2);
    assert_eq!(addresses(&[], both(), &[]).len(), 2, "MACs unknown");
    assert_eq!(
        addresses(&[], both(), &macs[..1]).len(),
        2,
        "one MAC unknown"
    );
    let macs = [("10.0.0.8", MAC), ("10.0.0.9", MAC)];
    assert_eq!(
        addresses(&[], both(), &macs).len(),
        1,
        "one card, two addresses"
    );
}

#[test]
fn an_endpoint_joins_where_the_device_names_both_addresses() {
    let lists = [
        "http://10.0.0.8/onvif",
        "http://[fd00::8]/onvif",
        "http://10.1.0.8:80/onvif",
    ];
    let heard = vec![
        onvif("10.0.0.8", "urn:uuid:a-1", &lists),
        onvif("fd00::8", "urn:uuid:a-1", &[]),
        onvif("10.1.0.8", "urn:uuid:a-1", &[]),
    ];
    assert_eq!(addresses(&[], heard, &[]), ["10.0.0.8 10.1.0.8 fd00::8"]);
    let pair = vec![
        onvif("10.0.0.8", "urn:uuid:a-1", &[]),
        onvif("fd00::8", "urn:uuid:a-1", &[]),
    ];
    assert_eq!(
        addresses(&[], pair, &[]),
        ["10.0.0.8 fd00::8"],
        "one of each family"
    );
    let near = vec![
        onvif("10.0.0.8", "urn:uuid:a-1", &["http://10.0.0.80/"]),
        onvif("10.0.0.80", "urn:uuid:a-2", &[]),
    ];
    assert_eq!(addresses(&[], near, &[]).len(), 2);
}

#[test]
fn a_bridge_that_answers_for_others_hides_nobody() {
    let two = vec![
        onvif("10.0.0.8", "urn:uuid:a-1", &[]),
        onvif("10.0.0.9", "urn:uuid:b-1", &[]),
    ];
    let macs = [("10.0.0.8", MAC), ("10.0.0.9", MAC)];
    assert_eq!(addresses(&[], two, &macs).len(), 2, "different endpoints");
    let hosts: Vec<String> = (1..=5).map(|n| format!("10.0.0.{n}")).collect();
    let all: Vec<(&str, &[u16])> = hosts.iter().map(|ip| (ip.as_str(), &[80][..])).collect();
    let macs: Vec<(&str, Mac)> = hosts.iter().map(|ip| (ip.as_str(), MAC)).collect();
    assert_eq!(
        addresses(&all, vec![], &macs).len(),
        5,
        "five addresses of one MAC"
    );
}

#[test]
fn the_best_founded_answer_comes_first() {
    let heard = vec![
        heard("tdp", "10.0.0.9", Facts::default()),
        onvif("10.0.0.9", "", &[]),
        serial("10.0.0.9", "A"),
    ];
    let all = merged(Vec::new(), heard, |_| None);
    let names: Vec<&str> = all[0].heard.iter().map(|h| h.protocol.name).collect();
    assert_eq!(names, ["sadp", "ws_discovery", "tdp"]);
}

proptest::proptest! {
    /// Every address that was seen stands in exactly one device.
    #[test]
    fn no_address_is_lost_or_doubled(
        seen in proptest::collection::vec((0..6u8, 0..3usize, 0..3usize, 0..3u8), 0..12),
    ) {
        let ids = ["", "same-endpoint", "DS-76080001"];
        let heard: Vec<Heard> = seen.iter().map(|(ip, endpoint, serial, _)| {
            let facts = Facts {
                endpoint: Some(ids[*endpoint].into()),
                serial: Some(ids[*serial].into()),
                ..Facts::default()
            };
            heard("sadp", &format!("10.0.0.{ip}"), facts)
        }).collect();
        let wanted: BTreeSet<IpAddr> = heard.iter().map(|h| h.sender.ip).collect();
        let all = merged(Vec::new(), heard, |ip| {
            let IpAddr::V4(ip) = ip else { return None };
            let (.., mac) = seen.iter().find(|(last, ..)| *last == ip.octets()[3])?;
            (*mac > 0).then_some(Mac([2, 0, 0, 0, 0, *mac]))
        });
        let mut found: Vec<IpAddr> = all.iter().flat_map(|d| std::iter::once(d.host.address.ip()).chain(d.also_at.clone())).collect();
        found.sort_unstable();
        assert_eq!(found, wanted.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_name_goes_to_who_is_there_and_finds_nobody() {
    let mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
    let named = |ip: &str, mac| Heard {
        protocol: &crate::wire::discovery::DHCP,
        sender: crate::discover::ask::Sender {
            ip: ip.parse().unwrap(),
            interface: Some("eth0".into()),
            mac: None,
            off_subnet: false,
        },
        facts: crate::wire::discovery::Facts {
            mac: Some(mac),
            hostname: Some("IPC-Door".to_owned()),
            ..Default::default()
        },
    };
    let there = Host {
        mac: Some(mac),
        ..Host::at("10.0.0.9:0".parse().unwrap(), "arp")
    };
    let other = Mac([0x44, 0x19, 0xb6, 9, 9, 9]);
    let heard = vec![
        named("10.0.0.9", mac),
        named("10.0.0.9", other),
        named("10.0.0.77", mac),
    ];
    let all = merged(vec![there], heard, |_| None);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].heard.len(), 1);
    assert_eq!(all[0].heard[0].facts.hostname.as_deref(), Some("IPC-Door"));
}
