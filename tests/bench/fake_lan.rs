//! Many hosts behind one interface, for the scanners: ARP answers with a MAC for each host, cameras that
//! listen and answer WS-Discovery, and hosts that refuse every connection. The kernel of the namespace
//! does their TCP.
//!
//! usage: fake_lan INTERFACE FIRST-ADDRESS CAMERAS OTHERS (inside the namespace; prepared by discovery.py)
//!
//! The n-th host has the address FIRST + STEP * n. Prints `ready`, then runs until it is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use ohmvision::model::Mac;
use ohmvision::sys::packet::PacketSocket;
use ohmvision::wire::{arp, bpf, wsd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// Cameras of each eight that answer WS-Discovery.
const TALKATIVE: u32 = 7;
/// The longest delay that WS-Discovery allows (APP_MAX_DELAY), in milliseconds.
const DELAY_MS_MAX: u32 = 500;
/// Between two hosts.
const STEP: u32 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [interface, first, cameras, others] = &args[..] else {
        panic!("usage: fake_lan INTERFACE FIRST-ADDRESS CAMERAS OTHERS");
    };
    let first: Ipv4Addr = first.parse().unwrap();
    let (cameras, others): (u32, u32) = (cameras.parse().unwrap(), others.parse().unwrap());
    let address = move |n: u32| Ipv4Addr::from(u32::from(first) + n * STEP);
    let hosts: BTreeSet<Ipv4Addr> = (0..cameras + others).map(address).collect();

    let index = nix::net::if_::if_nametoindex(interface.as_str()).unwrap();
    let socket = PacketSocket::open(index, arp::ETHERTYPE, &bpf::arp()).unwrap();
    tokio::spawn(answer_arp(socket, hosts));
    for n in 0..cameras {
        for port in ports(n) {
            tokio::spawn(serve(TcpListener::bind((address(n), port)).await.unwrap()));
        }
    }
    let talkative: Vec<(u32, Ipv4Addr)> = (0..cameras)
        .filter(|n| n % 8 < TALKATIVE)
        .map(|n| (n, address(n)))
        .collect();
    println!("ready");
    answer_probes(index, talkative).await;
}

/// 115 on 40 cameras.
fn ports(n: u32) -> Vec<u16> {
    let own = [Some(8000), Some(37777), Some(8899), None][(n % 4) as usize];
    let secure = (n % 8 == 3).then_some(443);
    [Some(80), Some(554), own, secure]
        .into_iter()
        .flatten()
        .collect()
}

fn mac(ip: Ipv4Addr) -> Mac {
    let [_, b, c, d] = ip.octets();
    Mac([0x44, 0x19, 0xb6, b, c, d])
}

async fn answer_arp(socket: PacketSocket, hosts: BTreeSet<Ipv4Addr>) {
    let mut buffer = [0; 128];
    loop {
        let length = socket.receive(&mut buffer).await.unwrap();
        let Some(asked) = arp::Arp::parse(&buffer[..length]) else {
            continue;
        };
        if asked.operation == arp::Operation::Request && hosts.contains(&asked.target_ip) {
            let answer = asked.answered_by(mac(asked.target_ip));
            socket.send(&answer.frame()).await.unwrap();
        }
    }
}

/// Enough of RTSP and HTTP to be recognised: both ask for a login.
async fn serve(listener: TcpListener) {
    let is_rtsp = listener.local_addr().unwrap().port() == 554;
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let mut request = [0; 2048];
            while let Ok(length) = stream.read(&mut request).await {
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                if length == 0 {
                    return;
                }
                let cseq = text
                    .lines()
                    .find(|line| line.starts_with("CSeq"))
                    .unwrap_or("CSeq: 1");
                let answer = match (is_rtsp, text.starts_with("OPTIONS")) {
                    (true, true) => format!("RTSP/1.0 200 OK\r\n{cseq}\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n"),
                    (true, false) => format!(
                        "RTSP/1.0 401 Unauthorized\r\n{cseq}\r\nWWW-Authenticate: Digest realm=\"IP Camera(B1234)\", nonce=\"1\"\r\n\r\n"
                    ),
                    (false, _) => "HTTP/1.1 401 Unauthorized\r\nServer: App-webs/\r\nContent-Length: 0\r\nWWW-Authenticate: Digest realm=\"IP Camera(B1234)\", nonce=\"1\", qop=\"auth\"\r\n\r\n".to_owned(),
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn answer_probes(interface: u32, cameras: Vec<(u32, Ipv4Addr)>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, wsd::PORT));
    socket.bind(&any.into()).unwrap();
    let on = socket2::InterfaceIndexOrAddress::Index(interface);
    socket.join_multicast_v4_n(&wsd::GROUP_V4, &on).unwrap();
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let mut senders = Vec::new();
    for (n, ip) in cameras {
        senders.push((n, ip, Arc::new(UdpSocket::bind((ip, 0)).await.unwrap())));
    }
    let mut buffer = [0; 4096];
    let mut asked = BTreeSet::new();
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        // Repetitions of one question are one question.
        if !text.contains("/Probe<")
            || !text.contains("NetworkVideoTransmitter")
            || !asked.insert(from)
        {
            continue;
        }
        for (n, ip, sender) in &senders {
            let (sender, answer) = (sender.clone(), probe_match(*n, *ip));
            let delay = Duration::from_millis((n * 7919 % DELAY_MS_MAX).into());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = sender.send_to(answer.as_bytes(), from).await;
            });
        }
    }
}

fn probe_match(n: u32, ip: Ipv4Addr) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\"><s:Header>\
         <a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</a:Action></s:Header><s:Body><d:ProbeMatches><d:ProbeMatch>\
         <a:EndpointReference><a:Address>urn:uuid:00000000-0000-4000-8000-{n:012}</a:Address></a:EndpointReference>\
         <d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/name/Camera onvif://www.onvif.org/hardware/B1234</d:Scopes>\
         <d:XAddrs>http://{ip}/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
    )
}
