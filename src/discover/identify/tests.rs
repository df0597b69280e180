use std::sync::Arc;

use super::super::ask::Sender;
use super::super::merge::merged;
use super::*;
use crate::brake::Brake;
use crate::model::Mac;
use crate::policy::networks::AllowedNetworks;
use crate::probe::Limits;
use crate::wire::discovery::PROTOCOLS;

fn detector() -> Detector {
    Detector {
        catalogue: Arc::new(Catalogue::builtin()),
        brake: Arc::new(Brake::for_one_run()),
        gate: None,
        networks: Arc::new(AllowedNetworks::default()),
        limits: Limits::default(),
    }
}

fn heard(protocol: &str, facts: Facts) -> Heard {
    Heard {
        protocol: PROTOCOLS.iter().find(|p| p.name == protocol).unwrap(),
        sender: Sender {
            ip: "10.0.0.9".parse().unwrap(),
            interface: Some("eth0".into()),
            mac: None,
            off_subnet: false,
        },
        facts,
    }
}

/// The device of what was heard, without a look at its ports.
fn known(heard: Vec<Heard>, mac: Option<Mac>) -> Device {
    let detector = detector();
    let mut all = merged(Vec::new(), heard, |_| mac);
    assert_eq!(all.len(), 1);
    let seen = all.remove(0);
    let host = seen.host.address.ip().to_string();
    let mut identity = Identity::new(None);
    note_heard(&mut identity, &detector.catalogue, &seen);
    device(&detector, seen, &host, identity)
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn a_camera_with_onvif_off_is_found_and_named_by_its_makers_search() {
    let facts = Facts {
        mac: Some(Mac([0x44, 0x19, 0xb6, 1, 2, 3])),
        model: text("DS-2CD2042WD-I"),
        firmware: text("V5.4.5"),
        serial: text("DS-2CD2042WD-I20160101AAWR1"),
        is_camera: Some(true),
        is_activated: Some(true),
        ..Facts::default()
    };
    let device = known(vec![heard("sadp", facts)], None);
    assert_eq!(device.manufacturer_id.as_deref(), Some("hikvision"));
    assert_eq!(device.model.as_deref(), Some("DS-2CD2042WD-I"));
    assert_eq!(device.firmware_version.as_deref(), Some("V5.4.5"));
    assert_eq!(device.mac.as_deref(), Some("44:19:b6:01:02:03"));
    assert!(device.is_camera && device.needs_credentials && !device.is_onvif);
    assert_eq!(device.found_by, ["vendor"]);
    assert!(
        device.confidence >= 0.9,
        "search and MAC agree: {}",
        device.confidence
    );
    let evidence = device.evidence.join("; ");
    assert!(
        evidence.contains("sadp answer, model \"DS-2CD2042WD-I\""),
        "{evidence}"
    );
}

#[test]
fn another_brand_on_the_makers_board_keeps_its_name() {
    let facts = Facts {
        maker: text("Amcrest"),
        is_camera: Some(true),
        ..Facts::default()
    };
    assert_eq!(
        known(vec![heard("dhip", facts)], None)
            .manufacturer_id
            .as_deref(),
        Some("amcrest")
    );
}

#[test]
fn what_is_not_verified_is_marked() {
    let facts = Facts {
        is_camera: Some(true),
        maker: text("Tapo"),
        ..Facts::default()
    };
    let device = known(vec![heard("tdp", facts)], None);
    assert_eq!(device.manufacturer_id.as_deref(), Some("tapo"));
    assert!(device.confidence <= 0.5);
    assert!(
        device
            .evidence
            .iter()
            .any(|line| line.contains("(unverified)")),
        "{:?}",
        device.evidence
    );
}

#[test]
fn houses_are_full_of_other_things() {
    let lamp = Facts {
        is_camera: Some(false),
        maker: text("Kasa"),
        ..Facts::default()
    };
    let device = known(vec![heard("kasa_xor", lamp)], None);
    assert!(
        !device.is_camera && device.manufacturer.is_none(),
        "{device:?}"
    );
    let television = Facts {
        maker: text("Samsung"),
        endpoint: text("uuid:television"),
        ..Facts::default()
    };
    assert!(!known(vec![heard("ssdp", television)], None).is_camera);
    let vacuum = Facts {
        endpoint: text("miio 16909060"),
        ..Facts::default()
    };
    assert!(!known(vec![heard("miio", vacuum)], None).is_camera);
}

#[test]
fn the_same_thing_said_by_several_makes_it_surer() {
    let named = |endpoint: &str| Facts {
        maker: text("Axis"),
        model: text("AXIS M1065-L"),
        is_camera: Some(true),
        endpoint: text(endpoint),
        ..Facts::default()
    };
    let one = known(vec![heard("mdns", named("a"))], None);
    let two = known(
        vec![heard("mdns", named("a")), heard("ssdp", named("b"))],
        None,
    );
    assert!(
        two.confidence > one.confidence,
        "{} {}",
        two.confidence,
        one.confidence
    );
    assert_eq!(two.found_by, ["mdns", "ssdp"]);
}

#[test]
fn another_address_in_the_answer_is_told() {
    let facts = Facts {
        ip: Some("192.168.1.64".parse().unwrap()),
        is_camera: Some(true),
        ..Facts::default()
    };
    let device = known(vec![heard("sadp", facts)], None);
    assert!(
        device
            .evidence
            .contains(&"sadp: calls itself 192.168.1.64".to_owned()),
        "{:?}",
        device.evidence
    );
}

#[test]
fn the_service_at_the_address_that_answered() {
    let answer = Match {
        scopes: vec!["onvif://www.onvif.org/hardware/MODEL".into()],
        xaddrs: vec![
            "http://10.0.0.90/onvif".into(),
            "http://10.0.0.9:8080/onvif".into(),
        ],
        ..Match::default()
    };
    let device = known(vec![heard("ws_discovery", answer.clone().into())], None);
    assert_eq!(
        device.onvif_url.as_deref(),
        Some("http://10.0.0.9:8080/onvif")
    );
    assert_eq!((device.is_onvif, device.model), (true, None));
    assert_eq!(
        named_ports(&[heard("ws_discovery", answer.into())]),
        [80, 8080]
    );
}

#[test]
fn a_link_local_address_is_dialled_with_its_interface() {
    assert_eq!(
        dial_name("fe80::1".parse().unwrap(), Some("eth0")),
        "fe80::1%eth0"
    );
    assert_eq!(
        dial_name("fd00::1".parse().unwrap(), Some("eth0")),
        "fd00::1"
    );
    assert_eq!(
        dial_name("10.0.0.9".parse().unwrap(), Some("eth0")),
        "10.0.0.9"
    );
}
