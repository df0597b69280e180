//! Packet sockets (packet(7)): whole Ethernet frames of one interface, needs CAP_NET_RAW. They see what
//! the IP layer would throw away, and ask for neighbours without an entry in the kernel's table.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::wire::bpf::Instruction;

/// Frames of one EtherType on one interface, those that the filter keeps.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
}

/// Whether this process may open packet sockets. Asked once: privileges do not come while it runs.
pub fn is_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| Socket::new(Domain::PACKET, Type::RAW, None).is_ok())
}

impl PacketSocket {
    /// Opens it on the interface with this index. On a VLAN interface the kernel adds and takes off the
    /// tag, and the parent's socket does not see its frames.
    ///
    /// # Errors
    /// No CAP_NET_RAW, no such interface, or it is down.
    pub fn open(interface: u32, ethertype: u16, filter: &[Instruction]) -> io::Result<Self> {
        // Without a protocol it hears nothing before filter and interface are set.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let filter: Vec<SockFilter> = filter
            .iter()
            .map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k))
            .collect();
        socket.attach_filter(&filter)?;
        socket.bind(&address(interface, ethertype))?;
        // SAFETY: a Socket owns its descriptor, which stays the same and open until it is dropped.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// The interface is down, or its queue is full (`ENOBUFS`).
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, |socket| socket.send(frame))
            .await?;
        Ok(())
    }

    /// Sends whole frames with one call; how many went.
    ///
    /// # Errors
    /// None went: the interface is down, or its queue is full (`ENOBUFS`).
    pub async fn send_all<F: AsRef<[u8]>>(&self, frames: &[F]) -> io::Result<usize> {
        let slices: Vec<[IoSlice<'_>; 1]> = frames
            .iter()
            .map(|frame| [IoSlice::new(frame.as_ref())])
            .collect();
        let addresses: Vec<Option<()>> = vec![None; slices.len()];
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
                let sent = sendmmsg(
                    socket.as_raw_fd(),
                    &mut headers,
                    &slices,
                    &addresses,
                    [],
                    MsgFlags::empty(),
                )?;
                Ok(sent.count())
            })
            .await
    }

    /// The next frame; its length. A longer one is cut to the buffer.
    ///
    /// # Errors
    /// The interface went down.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket
            .async_io(Interest::READABLE, |mut socket| {
                io::Read::read(&mut socket, buffer)
            })
            .await
    }
}

fn address(interface: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is the kernel's address of the family that is set here, and fits the storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as libc::sa_family_t;
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = interface as libc::c_int;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: family and length are those of the sockaddr_ll written above.
    unsafe { SockAddr::new(storage, length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bpf;

    #[tokio::test]
    async fn a_process_without_the_privilege_is_told_so() {
        match PacketSocket::open(1, crate::wire::arp::ETHERTYPE, &bpf::arp()) {
            Ok(_) => assert!(is_allowed()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert!(!is_allowed());
            }
        }
    }
}
