use super::*;
use crate::discover::ports::Dialler;
use crate::policy::networks::AllowedNetworks;

const CAMERA: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
const OTHER: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 4]);
const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, n)
}

fn alive(n: u8, mac: Mac) -> Seen {
    Seen::Alive {
        ip: ip(n),
        mac,
        round_trip: None,
    }
}

/// What comes of it: `probe`, `probe late`, `probe?`, `keep`, `done` or `-`.
fn heard(book: &mut Book, seen: Seen) -> &'static str {
    match book.note(seen, &"eth0".into(), &[OURS]) {
        Next::Probe(look) => match (look.is_certain, look.counts) {
            (true, true) => "probe",
            (true, false) => "probe late",
            (false, _) => "probe?",
        },
        Next::Keep(host) => {
            book.hosts.push(host);
            "keep"
        }
        Next::Done => "done",
        Next::Nothing => "-",
    }
}

#[test]
fn each_host_is_probed_and_counted_once() {
    let mut book = Book::default();
    assert_eq!(heard(&mut book, alive(9, CAMERA)), "probe");
    assert_eq!(
        heard(&mut book, alive(9, CAMERA)),
        "-",
        "on a second interface"
    );
    assert_eq!(heard(&mut book, Seen::Silent { ip: ip(9) }), "-");
    assert_eq!(heard(&mut book, Seen::Silent { ip: ip(8) }), "done");
    assert_eq!(heard(&mut book, Seen::Silent { ip: ip(8) }), "-");
    assert_eq!(heard(&mut book, alive(8, OTHER)), "probe late");
    let known = Seen::Known {
        ip: ip(7),
        mac: OTHER,
    };
    assert_eq!(heard(&mut book, known), "probe?", "it may have gone");
}

#[test]
fn a_conflict_is_evidence() {
    let mut book = Book::default();
    let first = Host {
        mac: Some(CAMERA),
        ..Host::at(SocketAddr::new(ip(9).into(), 0), "arp")
    };
    book.hosts.push(first);
    let conflict = Seen::Conflict {
        ip: ip(9),
        mac: OTHER,
    };
    assert_eq!(heard(&mut book, conflict), "-");
    let evidence = &book.finished()[0].evidence;
    assert_eq!(
        evidence,
        &["address conflict: 44:19:b6:01:02:04 answers for 10.77.0.9 too"]
    );
}

#[test]
fn guests_are_kept_and_we_are_none() {
    let mut book = Book::default();
    let factory = Ipv4Addr::new(192, 168, 1, 64);
    let guest = |mac| Seen::Guest { ip: factory, mac };
    assert_eq!(heard(&mut book, guest(CAMERA)), "keep");
    assert_eq!(heard(&mut book, guest(OURS)), "-");
    assert!(book.hosts[0].off_subnet);
}

#[tokio::test]
async fn an_ipv6_host_with_an_ipv4_address_stands_once() {
    let dialler = Dialler::new(Arc::new(AllowedNetworks::default()), 1);
    let prober = Prober {
        dialler: Arc::new(dialler),
        ports: Arc::from([]),
        more: Arc::from([]),
        is_camera: Arc::new(|_| false),
        found: Arc::new(|_| {}),
    };
    let link = Link {
        interface: Interface::default(),
        asks: Vec::new(),
    };
    let mut near = Near::new(Arc::new(prober), &[link], &[]);
    for mac in [CAMERA, OTHER] {
        let found = echo::Found {
            address: "[fe80::9%3]:0".parse().unwrap(),
            mac: Some(mac),
            has_answered: true,
        };
        near.hear(Heard::Ipv6(0, found));
    }
    near.begin_ipv6(false);
    assert!(near.probing.is_empty(), "who has IPv4 is not known yet");
    near.hear(Heard::Link(0, alive(9, CAMERA)));
    near.hear(Heard::Link(0, Seen::Asked));
    near.begin_ipv6(false);
    let mut macs = Vec::new();
    while let Some(Ok(look)) = near.probing.join_next().await {
        assert!(look.is_certain);
        macs.push((look.host.address.is_ipv6(), look.host.mac));
    }
    macs.sort_unstable();
    assert_eq!(macs, [(false, Some(CAMERA)), (true, Some(OTHER))]);
}
