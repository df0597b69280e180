//! Answers that the IP layer throws away: a camera with its factory address in another subnet, or one
//! that the reverse-path filter refuses. Open only while we ask.

use std::io;
use std::sync::Arc;

use super::interfaces::Interface;
use crate::model::Mac;
use crate::sys::packet::{self, PacketSocket};
use crate::wire::discovery::DHCP_PORT;
use crate::wire::{bpf, ipv4};

/// Ethernet with a large frame; a larger datagram comes in fragments.
const FRAME_BYTES_MAX: usize = 9216;

/// One answer as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    pub interface: Arc<str>,
    /// Of the sender.
    pub mac: Mac,
    pub from: std::net::SocketAddrV4,
    /// Our source port that was answered to: it tells which protocol this is.
    pub to_port: u16,
    pub payload: Vec<u8>,
}

/// The answers to our source ports on one interface.
#[derive(Debug)]
pub struct Capture {
    interface: Interface,
    name: Arc<str>,
    socket: PacketSocket,
    reader: ipv4::Reader,
    buffer: Vec<u8>,
}

impl Capture {
    /// Listens for UDP to these ports (at most [`bpf::PORTS_MAX`]); `None` where this process may not, or
    /// the interface has no hardware address.
    ///
    /// # Errors
    /// The interface is gone or down.
    pub fn open(interface: &Interface, ports: &[u16]) -> io::Result<Option<Self>> {
        if !packet::is_allowed() || interface.mac.is_none() || ports.is_empty() {
            return Ok(None);
        }
        let filter = bpf::udp_to(ports);
        Ok(Some(Self {
            name: interface.name.as_str().into(),
            interface: interface.clone(),
            socket: PacketSocket::open(interface.index, ipv4::ETHERTYPE, &filter)?,
            reader: ipv4::Reader::default(),
            buffer: vec![0; FRAME_BYTES_MAX],
        }))
    }

    /// Name of the interface.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next answer from outside the interface's networks, or the next request for an address; answers
    /// from inside reach the ordinary sockets. Nothing is lost when the wait is broken off.
    ///
    /// # Errors
    /// The interface went down.
    pub async fn next(&mut self) -> io::Result<Captured> {
        loop {
            let length = self.socket.receive(&mut self.buffer).await?;
            let frame = self.buffer.get(..length).unwrap_or_default();
            let Some(seen) = self.reader.read(frame) else {
                continue;
            };
            let from = *seen.from.ip();
            let is_answer = is_host(from) && !self.interface.contains(from);
            if seen.mac.is_unicast() && (is_answer || seen.to_port == DHCP_PORT) {
                return Ok(Captured {
                    interface: self.name.clone(),
                    mac: seen.mac,
                    from: seen.from,
                    to_port: seen.to_port,
                    payload: seen.payload,
                });
            }
        }
    }
}

/// An address that one host may have.
pub(super) fn is_host(ip: std::net::Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_loopback())
}
