use super::*;

const CAMERA: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
const OTHER: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 4]);

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, n)
}

#[test]
fn a_router_that_answers_for_all_invents_no_hosts() {
    let mut hosts: Vec<Host> = (1..=40)
        .map(|n| Host {
            mac: Some(CAMERA),
            has_answered_tcp: n == 9,
            ..Host::at(SocketAddr::new(ip(n).into(), 0), "arp")
        })
        .collect();
    hosts.push(Host {
        mac: Some(OTHER),
        ..Host::at(SocketAddr::new(ip(200).into(), 0), "arp")
    });
    let kept: Vec<IpAddr> = without_proxies(hosts)
        .iter()
        .map(|host| host.address.ip())
        .collect();
    assert_eq!(kept, [IpAddr::V4(ip(9)), IpAddr::V4(ip(200))]);
}

#[tokio::test]
async fn hosts_without_arp_are_knocked_at_and_all_are_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let order = Order {
        interfaces: Vec::new(),
        host_sweep: HostSweep::Tcp,
        ports: Arc::from([port, 1]),
        more_ports: Arc::from([]),
        rates: Rates::default(),
        guests_for: Duration::ZERO,
    };
    let networks = [
        "127.0.0.1/32".parse().unwrap(),
        "10.77.0.0/29".parse().unwrap(),
    ];
    let targets = Targets::of(&networks, &[]);
    // Only loopback may be asked: the rest is told as silent without a packet.
    let allowed = Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap());
    let (tell, mut told) = mpsc::channel(64);
    let hosts = sweep(
        order,
        targets,
        allowed,
        Arc::new(|_| false),
        Arc::new(|_| {}),
        &tell,
    )
    .await;
    drop(tell);
    let mut scanned = 0;
    while let Some(Told::Scanned(count)) = told.recv().await {
        scanned += count;
    }
    assert_eq!(scanned, 7);
    assert_eq!(hosts.len(), 1);
    assert_eq!(
        (hosts[0].open.clone(), hosts[0].found_by),
        (vec![port], "tcp")
    );
}

#[test]
fn factory_addresses_are_probed_only_where_they_are_foreign() {
    let interface = |address: [u8; 4]| Interface {
        ipv4: vec![crate::discover::interfaces::Ipv4Net {
            address: address.into(),
            prefix: 24,
            network: String::new(),
            hosts: 254,
        }],
        ..Interface::default()
    };
    let link = |address| Link {
        interface: interface(address),
        asks: Vec::new(),
    };
    let private = AllowedNetworks::parse(&["private"]).unwrap();
    let all = FACTORY_ADDRESSES.len();
    assert_eq!(factory_asks(&link([10, 77, 0, 1]), &private).len(), all);
    let near = factory_asks(&link([192, 168, 1, 1]), &private);
    assert!(!near.is_empty() && near.len() < all);
    assert!(near.iter().all(|ask| ask.source.is_unspecified()));
    assert_eq!(
        factory_asks(&link([10, 77, 0, 1]), &AllowedNetworks::default()),
        []
    );
}
