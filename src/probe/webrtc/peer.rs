//! The connection of one session: one UDP socket, ICE over it (RFC 8445), DTLS (RFC 5764), SRTP.
//! No task of its own: it moves while it is asked for the next packet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dimpl::{Dtls, Output};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, CandidateKind, IceAgent, IceAgentEvent, IceConnectionState, Protocol};
use ring::digest::{SHA256, digest};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::crypto::STUN_INTEGRITY;
use super::identity::{Identity, dtls_config};
use crate::policy::networks::AllowedNetworks;
use crate::wire::srtp::{self, Profile, RtcpSealer, RtpOpener};
use crate::wire::webrtc::{Answer, Offer};

/// Larger datagrams are cut, and then fail their checks.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// The shortest wait for a datagram.
const MOMENT: Duration = Duration::from_millis(1);
/// Pairs of addresses that are checked at the same time.
const PAIRS_MAX: usize = 32;

/// Our side before the other one has answered.
#[derive(Debug)]
pub(super) struct Local {
    identity: Identity,
    socket: UdpSocket,
    /// The address that we tell: the one on the way to the server, with the socket's port.
    address: SocketAddr,
}

impl Local {
    /// Listens on every address of the family of `towards`, our own address on the way to the server:
    /// media may come from another of its addresses, over another of our interfaces.
    ///
    /// # Errors
    /// One sentence, when there is no socket or no random number.
    pub(super) fn bind(towards: SocketAddr) -> Result<Self, String> {
        let any: IpAddr = match towards {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bind = || -> io::Result<(UdpSocket, SocketAddr)> {
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.set_nonblocking(true)?;
            let address = SocketAddr::new(towards.ip(), socket.local_addr()?.port());
            Ok((UdpSocket::from_std(socket)?, address))
        };
        let (socket, address) = bind().map_err(|e| format!("no UDP socket for media: {e}"))?;
        Ok(Self {
            identity: Identity::new()?,
            socket,
            address,
        })
    }

    pub(super) fn offer(&self) -> Result<String, String> {
        let candidate = self.candidate()?;
        let offer = Offer {
            session_id: self.identity.session_id,
            user: &self.identity.ice.ufrag,
            password: &self.identity.ice.pass,
            fingerprint: &self.identity.fingerprint,
            address: self.address,
            priority: candidate.prio(),
        };
        Ok(offer.text())
    }

    fn candidate(&self) -> Result<Candidate, String> {
        let candidate = Candidate::host(self.address, "udp");
        candidate.map_err(|_| format!("{} is no address for media", self.address))
    }

    /// Our own address that was told, without the port.
    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Addresses of an answer that can be tried from here.
    pub(super) fn reachable(&self, answer: &Answer) -> Vec<SocketAddr> {
        let candidates = answer.candidates.iter();
        let scoped = candidates.map(|c| scoped(c.address, self.address));
        scoped
            .filter(|theirs| theirs.is_ipv4() == self.address.is_ipv4())
            .collect()
    }

    /// Takes the answer; nothing is sent yet. Candidates that are not allowed are left out.
    pub(super) fn connect(
        self,
        answer: &Answer,
        networks: Arc<AllowedNetworks>,
    ) -> Result<Peer, String> {
        let now = std::time::Instant::now();
        let local = self.candidate()?;
        let mut ice = IceAgent::with_hmac(self.identity.ice.clone(), STUN_INTEGRITY);
        ice.set_controlling(true);
        ice.set_max_candidate_pairs(PAIRS_MAX);
        ice.add_local_candidate(local);
        ice.set_remote_credentials(is::IceCreds {
            ufrag: answer.user.clone(),
            pass: answer.password.clone(),
        });
        for candidate in &answer.candidates {
            let address = scoped(candidate.address, self.address);
            if networks.allows(address) {
                ice.add_remote_candidate(Candidate::from_parts(
                    candidate.foundation.clone(),
                    1,
                    Protocol::Udp,
                    candidate.priority,
                    address,
                    CandidateKind::Host,
                    None,
                    None,
                    None,
                ));
            }
        }
        ice.handle_timeout(now);
        let mut dtls = Dtls::new_12(dtls_config()?, self.identity.certificate, now);
        dtls.set_active(!answer.is_dtls_client);
        Ok(Peer {
            socket: self.socket,
            address: self.address,
            networks,
            ice,
            dtls: Box::new(dtls),
            dtls_wake: None,
            fingerprint: answer.fingerprint,
            remote: None,
            is_certificate_known: false,
            srtp: None,
            received: Box::new([0; DATAGRAM_BYTES_MAX]),
            sending: vec![0; DATAGRAM_BYTES_MAX],
        })
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// No way to the other side was found yet.
    Searching,
    /// ICE has found one.
    Reachable,
    /// Keys are agreed with the side that the answer named.
    Secured,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("the device's side of the DTLS handshake is not right: {0}")]
    Dtls(String),
    #[error("the device shows another certificate for media than its answer names")]
    Fingerprint,
    #[error("the device ended the stream")]
    Closed,
    #[error("the way to the device broke: it no longer answers ICE")]
    Lost,
    #[error("the socket for media broke: {0}")]
    Socket(#[from] io::Error),
}

pub(super) struct Peer {
    socket: UdpSocket,
    address: SocketAddr,
    networks: Arc<AllowedNetworks>,
    ice: IceAgent,
    dtls: Box<Dtls>,
    dtls_wake: Option<std::time::Instant>,
    /// SHA-256 of the certificate that the answer names.
    fingerprint: [u8; 32],
    /// Where ICE sends to.
    remote: Option<SocketAddr>,
    is_certificate_known: bool,
    srtp: Option<(RtpOpener, RtcpSealer)>,
    received: Box<[u8; DATAGRAM_BYTES_MAX]>,
    sending: Vec<u8>,
}

impl Peer {
    pub(super) fn progress(&self) -> Progress {
        match (&self.srtp, self.remote) {
            (Some(_), _) if self.is_certificate_known => Progress::Secured,
            (_, Some(_)) => Progress::Reachable,
            _ => Progress::Searching,
        }
    }

    /// Works until a packet of RTP came, or the connection made progress, or the time is over.
    ///
    /// # Errors
    /// [`PeerError`]: nothing more will come.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<&[u8]>, PeerError> {
        let before = self.progress();
        loop {
            self.work().await?;
            let now = Instant::now();
            if self.progress() != before || now >= until {
                return Ok(None);
            }
            let wake = [self.ice.poll_timeout(), self.dtls_wake];
            let wake = wake.into_iter().flatten().map(Instant::from_std).min();
            // A timer that is due already still lets packets in.
            let soon = now + MOMENT;
            let wake = wake.map_or(until, |wake| wake.max(soon)).min(until);
            let receive = self.socket.recv_from(&mut self.received[..]);
            let (length, from) = match timeout_at(wake, receive).await {
                Err(_) => {
                    self.tick()?;
                    continue;
                }
                Ok(received) => received?,
            };
            if self.networks.allows(from)
                && let Some(length) = self.take(length, from)?
            {
                return Ok(self.received.get(..length));
            }
        }
    }

    /// Sends a request about the media.
    pub(super) fn request(&mut self, rtcp: Vec<u8>) {
        let sealed = self
            .srtp
            .as_mut()
            .and_then(|(_, rtcp_out)| rtcp_out.seal(rtcp));
        if let (Some(packet), Some(remote)) = (sealed, self.remote) {
            // Lost like any other packet; it is asked again.
            let _ = self.socket.try_send_to(&packet, remote);
        }
    }

    /// Says goodbye, once.
    pub(super) fn close(&mut self) {
        if self.srtp.is_some() && self.dtls.close().is_ok() {
            while let Output::Packet(packet) = self.dtls.poll_output(&mut self.sending) {
                if let Some(remote) = self.remote {
                    let _ = self.socket.try_send_to(packet, remote);
                }
            }
        }
    }

    fn tick(&mut self) -> Result<(), PeerError> {
        let now = std::time::Instant::now();
        self.ice.handle_timeout(now);
        if self.remote.is_some() && self.dtls_wake.is_some_and(|wake| wake <= now) {
            self.dtls.handle_timeout(now).map_err(dtls_error)?;
        }
        Ok(())
    }

    /// Takes one datagram (RFC 9443 section 3): the length of a packet of RTP that came out of it.
    fn take(&mut self, length: usize, from: SocketAddr) -> Result<Option<usize>, PeerError> {
        let Some(datagram) = self.received.get_mut(..length) else {
            return Ok(None);
        };
        match datagram {
            [0..=3, ..] => {
                if let Ok(message) = StunMessage::parse(datagram) {
                    let packet = StunPacket {
                        proto: Protocol::Udp,
                        source: from,
                        destination: self.address,
                        message,
                    };
                    let now = std::time::Instant::now();
                    self.ice.handle_packet(now, packet);
                    self.ice.handle_timeout(now);
                }
            }
            // Before ICE has found the way, whoever sends it may be anybody.
            [20..=63, ..] if self.remote.is_some() => {
                self.dtls.handle_packet(datagram).map_err(dtls_error)?;
            }
            // Reports of the sender tell nothing that we need.
            [128..=191, 192..=223, ..] => {}
            [128..=191, ..] if self.is_certificate_known => {
                let Some((opener, _)) = &mut self.srtp else {
                    return Ok(None);
                };
                return Ok(opener.open(datagram).map(<[u8]>::len));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Whatever ICE and DTLS have to say and to send.
    async fn work(&mut self) -> Result<(), PeerError> {
        let mut has_found_way = false;
        while let Some(event) = self.ice.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { destination, .. } => {
                    let is_first = self.remote.replace(destination).is_none();
                    has_found_way |= is_first;
                }
                IceAgentEvent::IceConnectionStateChange(IceConnectionState::Disconnected)
                    if self.remote.is_some() =>
                {
                    return Err(PeerError::Lost);
                }
                _ => {}
            }
        }
        if has_found_way {
            let now = std::time::Instant::now();
            self.dtls.handle_timeout(now).map_err(dtls_error)?;
        }
        while let Some(transmit) = self.ice.poll_transmit() {
            let to = transmit.destination;
            // An address without a route is one that ICE does not reach.
            let _ = self.socket.send_to(&transmit.contents, to).await;
        }
        match self.remote {
            Some(remote) => self.work_dtls(remote).await,
            None => Ok(()),
        }
    }

    async fn work_dtls(&mut self, remote: SocketAddr) -> Result<(), PeerError> {
        loop {
            match self.dtls.poll_output(&mut self.sending) {
                Output::Packet(packet) => {
                    let _ = self.socket.send_to(packet, remote).await;
                }
                Output::BufferTooSmall { needed } if needed <= 1 << 16 => {
                    self.sending.resize(needed, 0);
                }
                Output::BufferTooSmall { .. } => {
                    return Err(PeerError::Dtls("a message is too long".to_owned()));
                }
                Output::Timeout(wake) => {
                    self.dtls_wake = Some(wake);
                    return Ok(());
                }
                Output::PeerCert(der) => {
                    if digest(&SHA256, der).as_ref() != self.fingerprint {
                        return Err(PeerError::Fingerprint);
                    }
                    self.is_certificate_known = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    let is_client = self.dtls.is_active();
                    let profile = srtp_profile(profile);
                    let session = profile.and_then(|p| srtp::session(p, &material, is_client));
                    let none = || PeerError::Dtls("no SRTP profile in common".to_owned());
                    self.srtp = Some(session.ok_or_else(none)?);
                }
                Output::CloseNotify => return Err(PeerError::Closed),
                _ => {}
            }
        }
    }
}

/// A device does not know the zone of its own link-local address: it is ours.
fn scoped(mut theirs: SocketAddr, ours: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(theirs), SocketAddr::V6(ours)) = (&mut theirs, ours)
        && theirs.ip().is_unicast_link_local()
    {
        theirs.set_scope_id(ours.scope_id());
    }
    theirs
}

fn srtp_profile(profile: dimpl::SrtpProfile) -> Option<Profile> {
    match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

fn dtls_error(error: dimpl::Error) -> PeerError {
    PeerError::Dtls(error.to_string())
}
