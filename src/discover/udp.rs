//! UDP sockets for questions to a whole link: bound to one interface, so that each answer tells where
//! it came from; nothing that arrives is left in the kernel's buffer while an answer is read.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::interfaces::Interface;

/// A discovery must not leave the site.
const HOPS: u32 = 4;
/// Asked of the kernel, which gives as much as it allows: a few hundred cameras answer at once.
const RECEIVE_BYTES: usize = 1 << 20;
/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams of one socket that wait to be read.
const WAITING_MAX: usize = 1024;
/// Bytes of them.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// A socket on one interface.
#[derive(Debug)]
pub struct LinkSocket {
    socket: UdpSocket,
    index: u32,
    port: u16,
}

/// A datagram as it came.
#[derive(Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub payload: Vec<u8>,
}

impl LinkSocket {
    /// Opens one for IPv4. `port` 0 takes any; answers to these groups are read too.
    ///
    /// # Errors
    /// The port is taken by a program that does not share it, or the interface is gone.
    pub fn v4(interface: &Interface, port: u16, groups: &[Ipv4Addr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        prepare(&socket, interface, port)?;
        socket.set_broadcast(true)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        socket.set_multicast_loop_v4(false)?;
        if let Some(net) = interface.ipv4.first() {
            socket.set_multicast_if_v4(&net.address)?;
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        let index = InterfaceIndexOrAddress::Index(interface.index);
        for group in groups {
            socket.join_multicast_v4_n(group, &index)?;
        }
        Self::new(socket, interface)
    }

    /// Opens one for IPv6.
    ///
    /// # Errors
    /// As [`LinkSocket::v4`].
    pub fn v6(interface: &Interface, port: u16, groups: &[Ipv6Addr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        prepare(&socket, interface, port)?;
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(interface.index)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        for group in groups {
            socket.join_multicast_v6(group, interface.index)?;
        }
        Self::new(socket, interface)
    }

    /// Another socket on the same port: the kernel spreads what many devices send over both, so that
    /// their buffers add up, whose size the system limits.
    ///
    /// # Errors
    /// As [`LinkSocket::v4`].
    pub fn twin(&self, interface: &Interface) -> io::Result<Self> {
        let address = self.socket.local_addr()?;
        // Not before the first bind: the kernel could have picked the port of another pair.
        socket2::SockRef::from(&self.socket).set_reuse_port(true)?;
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        prepare(&socket, interface, 0)?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Self::new(socket, interface)
    }

    fn new(socket: Socket, interface: &Interface) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self {
            port: socket.local_addr()?.port(),
            socket,
            index: interface.index,
        })
    }

    /// The port that it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends from this address of the interface: a device answers to an address of its own network only.
    ///
    /// # Errors
    /// The interface went down or has no way there.
    pub async fn send(&self, payload: &[u8], source: IpAddr, to: SocketAddr) -> io::Result<()> {
        let (IpAddr::V4(source), SocketAddr::V4(to)) = (source, to) else {
            return self.socket.send_to(payload, to).await.map(drop);
        };
        let send = || send_from(&self.socket, self.index, payload, source, to);
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// Waits for datagrams and takes all that are there.
    ///
    /// # Errors
    /// Of the interface, as `ENETDOWN`; the socket stays usable.
    pub async fn receive(&self, waiting: &mut Waiting) -> io::Result<()> {
        self.socket.readable().await?;
        self.drain(waiting)
    }

    /// Takes what is there, without waiting.
    ///
    /// # Errors
    /// As [`LinkSocket::receive`].
    pub fn drain(&self, waiting: &mut Waiting) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while waiting.has_room() {
            match self.socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => waiting.push(from, buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What holds for both families, before the bind.
fn prepare(socket: &Socket, interface: &Interface, port: u16) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Less than asked for is no fault.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    // A port that devices prescribe is the same on all interfaces.
    socket.set_reuse_address(port != 0)?;
    match socket.bind_device(Some(interface.name.as_bytes())) {
        // Linux before 5.7 asks for a capability. With one interface nothing is lost.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

fn send_from(
    socket: &UdpSocket,
    index: u32,
    payload: &[u8],
    source: Ipv4Addr,
    to: SocketAddrV4,
) -> io::Result<()> {
    let info = libc::in_pktinfo {
        ipi_ifindex: libc::c_int::try_from(index).unwrap_or(0),
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from_ne_bytes(source.octets()),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let parts = [IoSlice::new(payload)];
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let to = SockaddrIn::from(to);
    let flags = MsgFlags::MSG_DONTWAIT;
    sendmsg(socket.as_raw_fd(), &parts, &control, flags, Some(&to))?;
    Ok(())
}

/// Datagrams that were taken and not read yet, within bounds; the kernel keeps the rest.
#[derive(Debug, Default)]
pub struct Waiting {
    datagrams: VecDeque<Datagram>,
    bytes: usize,
}

impl Waiting {
    fn has_room(&self) -> bool {
        self.datagrams.len() < WAITING_MAX && self.bytes < WAITING_BYTES_MAX
    }

    fn push(&mut self, from: SocketAddr, payload: &[u8]) {
        self.bytes += payload.len();
        self.datagrams.push_back(Datagram {
            from,
            payload: payload.to_vec(),
        });
    }

    pub fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.datagrams.pop_front()?;
        self.bytes -= datagram.payload.len();
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::interfaces;

    fn loopback() -> Interface {
        let all = interfaces::list();
        all.into_iter().find(|i| i.name == "lo").unwrap()
    }

    #[tokio::test]
    async fn a_burst_is_taken_whole_and_the_bound_holds() {
        let socket = LinkSocket::v4(&loopback(), 0, &[]).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, socket.port()));
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut waiting = Waiting::default();
        let mut sent = 0;
        while waiting.datagrams.len() < WAITING_MAX {
            peer.send_to(&[7; 100], to).unwrap();
            sent += 1;
            socket.receive(&mut waiting).await.unwrap();
        }
        assert_eq!(sent, WAITING_MAX);
        peer.send_to(b"one more", to).unwrap();
        socket.drain(&mut waiting).unwrap();
        assert_eq!(
            (waiting.datagrams.len(), waiting.bytes),
            (WAITING_MAX, 100 * WAITING_MAX)
        );
        while waiting.pop().is_some() {}
        assert_eq!(waiting.bytes, 0);
        socket.receive(&mut waiting).await.unwrap();
        assert_eq!(
            waiting.pop().unwrap().payload,
            b"one more",
            "the kernel kept it"
        );
    }

    #[tokio::test]
    async fn a_question_leaves_from_the_chosen_address() {
        let socket = LinkSocket::v4(&loopback(), 0, &[]).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let source = Ipv4Addr::new(127, 0, 0, 9);
        let to = peer.local_addr().unwrap();
        socket.send(b"who", source.into(), to).await.unwrap();
        let mut buffer = [0; 8];
        let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!(
            (&buffer[..length], from.ip()),
            (&b"who"[..], IpAddr::V4(source))
        );
    }

    #[tokio::test]
    async fn twins_share_the_load_of_many_devices() {
        let first = LinkSocket::v4(&loopback(), 0, &[]).unwrap();
        let second = first.twin(&loopback()).unwrap();
        assert_eq!(first.port(), second.port());
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, first.port()));
        for _ in 0..64 {
            let device = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            device.send_to(b"here", to).unwrap();
        }
        let (mut mine, mut theirs) = (Waiting::default(), Waiting::default());
        first.receive(&mut mine).await.unwrap();
        second.receive(&mut theirs).await.unwrap();
        let counts = (mine.datagrams.len(), theirs.datagrams.len());
        assert_eq!(counts.0 + counts.1, 64);
        assert!(counts.0 > 8 && counts.1 > 8, "{counts:?}");
    }

    #[tokio::test]
    async fn prescribed_ports_are_shared_between_interfaces() {
        let first = LinkSocket::v4(&loopback(), 0, &[]).unwrap();
        let second = LinkSocket::v4(&loopback(), first.port(), &[]);
        assert!(
            second.is_err(),
            "a port of a program that does not share it"
        );
        let port = first.port();
        drop(first);
        let first = LinkSocket::v4(&loopback(), port, &[Ipv4Addr::new(239, 255, 255, 250)]);
        let second = LinkSocket::v4(&loopback(), port, &[]);
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    }
}
