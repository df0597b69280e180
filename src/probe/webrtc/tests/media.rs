//! Faults behind the answer: a device in this process, with real ICE, DTLS and SRTP.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use dimpl::{Dtls, Output};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};

use super::{Fake, answer, at, created, failure, http};
use crate::model::{Codec, ErrorCode, Evidence, Stage};
use crate::policy::networks::AllowedNetworks;
use crate::probe::webrtc::crypto::STUN_INTEGRITY;
use crate::probe::webrtc::identity::{Identity, dtls_config};
use crate::probe::webrtc::peer::Local;
use crate::probe::{Depth, run};
use crate::wire::srtp::{Profile, tests::seal_rtp};
use crate::wire::webrtc;

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10, 0, 0, 3, 0, 0x10, 0, 0,
    3, 3, 0x20, 0xf1, 0x83, 0x2a,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0, 1];
const INTER: &[u8] = &[0x41, 0x9a, 0x20, 0x11];

/// What the device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Works,
    /// It waits for our DTLS handshake.
    Passive,
    /// Two packets change places, one comes twice.
    Disorder,
    /// A packet of the key frame is sent only when it is asked for.
    Loses,
    OtherCertificate,
    NoDtls,
    Silent,
    NoKeyFrame,
    HangsUp,
}

/// The packets of one key frame, or of frames without any.
fn packets(way: Way) -> VecDeque<Vec<u8>> {
    let units: &[&[u8]] = match way {
        Way::Silent => &[],
        Way::NoKeyFrame | Way::HangsUp => &[INTER, INTER, INTER],
        _ => &[SPS, PPS, IDR],
    };
    let packet = |(sequence, unit): (u8, &&[u8])| {
        let marker = if unit.len() < 6 && *unit != PPS {
            0x80
        } else {
            0
        };
        let mut packet = vec![0x80, marker | 96, 0, sequence, 0, 0, 0, 1, 0, 0, 0, 9];
        packet.extend_from_slice(unit);
        packet
    };
    let mut packets: VecDeque<Vec<u8>> = (1..).zip(units).map(packet).collect();
    match way {
        Way::Disorder => {
            packets.swap(1, 2);
            packets.insert(1, packets[0].clone());
        }
        Way::NoKeyFrame => packets[0][7] = 0,
        _ => {}
    }
    packets
}

/// A device that works or fails like this.
fn device(way: Way) -> Fake {
    Fake::start(move |line, request| {
        if !line.starts_with("POST") {
            return http("200 OK", "", "");
        }
        let offer = request.split("\r\n\r\n").nth(1).unwrap();
        let offer = webrtc::parse(offer.replace("recvonly", "sendonly").as_bytes()).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let identity = Identity::new().unwrap();
        let fingerprint: Vec<String> = identity
            .fingerprint
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut text = answer(&at(socket.local_addr().unwrap()))
            .replace("0123456789abcdef01234567", &identity.ice.pass)
            .replace("ufrag:abcd", &format!("ufrag:{}", identity.ice.ufrag));
        if way != Way::OtherCertificate {
            text = text.replace(super::FINGERPRINT, &fingerprint.join(":"));
        }
        if way == Way::Passive {
            text = text.replace("setup:active", "setup:passive");
        }
        thread::spawn(move || Device::new(way, socket, identity, &offer).run());
        created(&text)
    })
}

struct Device {
    way: Way,
    socket: UdpSocket,
    ice: IceAgent,
    dtls: Dtls,
    remote: Option<SocketAddr>,
    keys: Option<(Profile, Vec<u8>, bool)>,
    packets: VecDeque<Vec<u8>>,
    requests: usize,
}

impl Device {
    fn new(way: Way, socket: UdpSocket, identity: Identity, offer: &webrtc::Answer) -> Self {
        let now = Instant::now();
        let mut ice = IceAgent::with_hmac(identity.ice.clone(), STUN_INTEGRITY);
        let local = Candidate::host(socket.local_addr().unwrap(), "udp").unwrap();
        ice.add_local_candidate(local);
        ice.set_remote_credentials(IceCreds {
            ufrag: offer.user.clone(),
            pass: offer.password.clone(),
        });
        let remote = Candidate::host(offer.candidates[0].address, "udp").unwrap();
        ice.add_remote_candidate(remote);
        ice.handle_timeout(now);
        let mut dtls = Dtls::new_12(dtls_config().unwrap(), identity.certificate, now);
        dtls.set_active(way != Way::Passive);
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        Self {
            way,
            socket,
            ice,
            dtls,
            remote: None,
            keys: None,
            packets: packets(way),
            requests: 0,
        }
    }

    fn run(mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        let mut datagram = [0; 2048];
        while Instant::now() < end {
            if let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
                self.take(&mut datagram[..length], from);
            }
            self.ice.handle_timeout(Instant::now());
            while let Some(event) = self.ice.poll_event() {
                if let IceAgentEvent::NominatedSend { destination, .. } = event {
                    self.remote = Some(destination);
                }
            }
            while let Some(transmit) = self.ice.poll_transmit() {
                let to = transmit.destination;
                self.socket.send_to(&transmit.contents, to).unwrap();
            }
            if self.way != Way::NoDtls && self.remote.is_some() && self.handshake().is_none() {
                return;
            }
            if self.keys.is_some() && self.play().is_none() {
                return;
            }
        }
    }

    fn take(&mut self, datagram: &mut [u8], from: SocketAddr) {
        match datagram[0] {
            0..=3 => {
                let packet = StunPacket {
                    proto: Protocol::Udp,
                    source: from,
                    destination: self.socket.local_addr().unwrap(),
                    message: StunMessage::parse(datagram).unwrap(),
                };
                self.ice.handle_packet(Instant::now(), packet);
            }
            20..=63 => {
                let _ = self.dtls.handle_packet(datagram);
            }
            _ => self.requests += 1,
        }
    }

    /// `None` when the other side has ended it.
    fn handshake(&mut self) -> Option<()> {
        let _ = self.dtls.handle_timeout(Instant::now());
        let mut out = [0; 2048];
        loop {
            match self.dtls.poll_output(&mut out) {
                Output::Packet(packet) => {
                    self.socket.send_to(packet, self.remote.unwrap()).unwrap();
                }
                Output::KeyingMaterial(material, profile) => {
                    assert_eq!(profile, dimpl::SrtpProfile::AEAD_AES_256_GCM);
                    let profile = Profile::AeadAes256Gcm;
                    self.keys = Some((profile, material.to_vec(), self.dtls.is_active()));
                }
                Output::CloseNotify => return None,
                Output::Timeout(_) => return Some(()),
                _ => {}
            }
        }
    }

    /// One packet at a time. `None` at the end.
    fn play(&mut self) -> Option<()> {
        match (self.packets.pop_front(), self.way) {
            (Some(packet), Way::Loses) if packet[3] == 2 && self.requests < 2 => {
                // It goes on behind the lost one, and comes back to it.
                let later = self.packets.pop_front();
                self.packets.push_front(packet);
                later.into_iter().for_each(|later| self.send(&later));
            }
            (Some(packet), _) => self.send(&packet),
            (None, Way::HangsUp) => {
                self.dtls.close().unwrap();
                return self.handshake().and(None);
            }
            (None, _) => {}
        }
        Some(())
    }

    fn send(&self, packet: &[u8]) {
        let (profile, material, is_client) = self.keys.as_ref().unwrap();
        let sealed = seal_rtp(*profile, material, *is_client, packet, 0);
        self.socket.send_to(&sealed, self.remote.unwrap()).unwrap();
    }
}

/// Less than the shortest wait is left, while ICE has its timers.
#[tokio::test]
async fn the_last_moment_of_a_wait_is_a_wait() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let answer = webrtc::parse(answer(&at(address)).as_bytes()).unwrap();
    let networks = AllowedNetworks::parse(&["loopback"]).unwrap();
    let local = Local::bind(address).unwrap();
    let mut peer = local.connect(&answer, networks.into()).unwrap();
    for _ in 0..20 {
        let until = tokio::time::Instant::now() + Duration::from_micros(500);
        assert!(peer.next(until).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_key_frame_proves_the_stream() {
    for way in [Way::Works, Way::Passive, Way::Disorder, Way::Loses] {
        let fake = device(way);
        let attempt = run(&fake.target(Depth::Frame)).await;
        let outcome = attempt.result.unwrap_or_else(|e| panic!("{way:?}: {e}"));
        assert_eq!(outcome.evidence, Evidence::KeyFrame, "{way:?}");
        assert_eq!(outcome.media.codec, Some(Codec::H264));
        assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
        assert!(outcome.first_frame_ms.unwrap() >= outcome.response_time_ms);
        assert_eq!(fake.lines().last().unwrap(), "DELETE /session/7 HTTP/1.1");
    }
}

#[tokio::test]
async fn each_fault_names_its_stage() {
    for (way, code, stage, word) in [
        (
            Way::OtherCertificate,
            ErrorCode::Tls,
            Stage::Start,
            "another certificate",
        ),
        (Way::NoDtls, ErrorCode::Tls, Stage::Start, "DTLS handshake"),
        (
            Way::Silent,
            ErrorCode::NoFrame,
            Stage::FirstPacket,
            "sends no video",
        ),
        (
            Way::NoKeyFrame,
            ErrorCode::NoFrame,
            Stage::FirstFrame,
            "among 3 packets",
        ),
        (
            Way::HangsUp,
            ErrorCode::Reset,
            Stage::FirstFrame,
            "ended the stream",
        ),
    ] {
        let fake = device(way);
        let attempt = run(&fake.target(Depth::Frame)).await;
        let (got, at, text) = failure(&attempt);
        assert_eq!((got, at), (code, stage), "{way:?}: {text}");
        assert!(text.contains(word), "{way:?}: {text}");
        assert_eq!(fake.lines().last().unwrap(), "DELETE /session/7 HTTP/1.1");
    }
}
