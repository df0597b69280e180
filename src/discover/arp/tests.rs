use super::*;
use crate::discover::interfaces::Ipv4Net;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const FACTORY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 64);

fn interface() -> Interface {
    Interface {
        name: "eth0.20".into(),
        mac: Some(OURS.to_string()),
        ipv4: vec![Ipv4Net {
            address: GATEWAY,
            prefix: 24,
            network: "10.77.0.0/24".into(),
            hosts: 254,
        }],
        ..Interface::default()
    }
}

fn camera(n: u8) -> (Ipv4Addr, Mac) {
    (
        Ipv4Addr::new(10, 77, 0, n),
        Mac([0x44, 0x19, 0xb6, 0, 0, n]),
    )
}

fn ask(target: Ipv4Addr) -> Ask {
    Ask {
        target,
        source: GATEWAY,
    }
}

fn answer(ip: Ipv4Addr, mac: Mac) -> arp::Arp {
    arp::Arp::request(OURS, GATEWAY, ip).answered_by(mac)
}

#[test]
fn who_answers_lives_once_and_the_rest_is_silent() {
    let interface = interface();
    let ((ip, mac), (dead, _), (late, late_mac)) = (camera(9), camera(8), camera(7));
    let course = Course::new(
        &interface,
        OURS,
        vec![ask(ip), ask(dead), ask(late), ask(ip)],
    );
    for index in 0..3 {
        assert!(course.question(index).is_some());
    }
    assert!(course.question(3).is_none(), "each host stands once");
    let seen = course.hear(answer(ip, mac)).unwrap();
    assert!(
        matches!(
            seen,
            Seen::Alive {
                round_trip: Some(_),
                ..
            }
        ),
        "{seen:?}"
    );
    assert_eq!(course.hear(answer(ip, mac)), None);
    // Ascending: .7, .8, .9.
    assert!(course.question(2).is_none(), "answered already");
    assert!(course.question(0).is_some(), "asked again");
    let seen = course.hear(answer(late, late_mac)).unwrap();
    let wanted = Seen::Alive {
        ip: late,
        mac: late_mac,
        round_trip: None,
    };
    assert_eq!(seen, wanted, "nobody knows which question it answers");
    assert_eq!(course.silent(), vec![Seen::Silent { ip: dead }]);
}

#[test]
fn a_second_hardware_address_is_a_conflict() {
    let interface = interface();
    let (ip, mac) = camera(9);
    let course = Course::new(&interface, OURS, vec![ask(ip)]);
    course.question(0);
    course.hear(answer(ip, mac));
    let other = Mac([6; 6]);
    assert_eq!(
        course.hear(answer(ip, other)),
        Some(Seen::Conflict { ip, mac: other })
    );
    assert_eq!(course.hear(answer(ip, other)), None);
}

#[test]
fn hosts_from_elsewhere_are_guests() {
    let interface = interface();
    let mac = Mac([0x44, 0x19, 0xb6, 0, 0, 64]);
    let probe = Ask {
        target: FACTORY,
        source: Ipv4Addr::UNSPECIFIED,
    };
    let course = Course::new(&interface, OURS, vec![probe]);
    course.question(0);
    assert_eq!(
        course.silent(),
        Vec::new(),
        "a probe is no host that is missing"
    );
    let guest = Some(Seen::Guest { ip: FACTORY, mac });
    assert_eq!(course.hear(answer(FACTORY, mac)), guest);
    assert_eq!(course.hear(answer(FACTORY, mac)), None);
    let second = Mac([0x44, 0x19, 0xb6, 0, 0, 65]);
    let conflict = course.hear(answer(FACTORY, second));
    assert_eq!(
        conflict,
        Some(Seen::Conflict {
            ip: FACTORY,
            mac: second
        })
    );

    let looks_for_us = arp::Arp::request(mac, FACTORY, GATEWAY);
    assert!(course.is_question_of_guest(looks_for_us));
    let (ip, own) = camera(9);
    assert!(!course.is_question_of_guest(arp::Arp::request(own, ip, GATEWAY)));
    assert!(!course.is_question_of_guest(arp::Arp::request(mac, FACTORY, ip)));
}

#[test]
fn nobody_is_seen_in_broken_messages() {
    let interface = interface();
    let (ip, mac) = camera(9);
    let course = Course::new(&interface, OURS, vec![ask(ip)]);
    for (ip, mac) in [
        (ip, Mac::BROADCAST),
        (ip, Mac([0; 6])),
        (ip, OURS),
        (Ipv4Addr::UNSPECIFIED, mac),
        (Ipv4Addr::BROADCAST, mac),
        (Ipv4Addr::new(127, 0, 0, 1), mac),
    ] {
        assert_eq!(course.hear(answer(ip, mac)), None, "{ip} {mac}");
    }
    let (neighbour, other) = camera(10);
    assert_eq!(course.hear(answer(neighbour, other)), None, "not asked for");
}

#[test]
fn guests_are_bounded() {
    let interface = interface();
    let course = Course::new(&interface, OURS, Vec::new());
    let told = (0..2000_u16)
        .filter_map(|n| {
            let [a, b] = n.to_be_bytes();
            course.hear(answer(
                Ipv4Addr::new(192, 168, a, b),
                Mac([4, 0, 0, 0, a, b]),
            ))
        })
        .count();
    assert_eq!(told, GUESTS_MAX);
}
