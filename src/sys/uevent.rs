//! The kernel's device events over netlink (netlink(7), NETLINK_KOBJECT_UEVENT). No privilege is needed;
//! in a container of its own network none may come.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::wire::uevent::{MESSAGE_BYTES_MAX, Uevent};

/// Multicast group of the kernel itself; udev's is 2.
const KERNEL_GROUP: u32 = 1;
/// What may wait: a hub with cameras makes some dozens of events.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// Hears of devices that come and go.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
}

impl Listener {
    /// # Errors
    /// No such socket here (a sandbox without AF_NETLINK).
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        SockRef::from(&socket).set_recv_buffer_size(WAITING_BYTES_MAX)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        // SAFETY: an OwnedFd stays the same and open until it is dropped.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Waits until a video device came or went, or events were lost, so that one may have.
    ///
    /// # Errors
    /// The socket broke.
    pub async fn video_change(&self) -> io::Result<()> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let read = |socket: &OwnedFd| {
                recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer).map_err(io::Error::from)
            };
            let (length, from) = match self.socket.async_io(Interest::READABLE, read).await {
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(()),
                received => received?,
            };
            // Number 0 is the kernel; other senders are programs.
            let is_kernel = from.is_some_and(|from| from.pid() == 0);
            let message = buffer.get(..length).unwrap_or_default();
            if is_kernel && Uevent::parse(message).is_some_and(|event| event.is_video()) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::socket::{MsgFlags, sendto};

    use super::*;

    #[tokio::test]
    async fn only_the_kernel_is_heard() {
        let listener = Listener::open().unwrap();
        let own =
            nix::sys::socket::getsockname::<NetlinkAddr>(listener.socket.as_raw_fd()).unwrap();
        let other = Listener::open().unwrap();
        let message = b"add@/devices/x/video0\0ACTION=add\0SUBSYSTEM=video4linux\0DEVNAME=video0\0";
        let to = NetlinkAddr::new(own.pid(), 0);
        let sent = sendto(other.socket.as_raw_fd(), message, &to, MsgFlags::empty());
        let wait = tokio::time::timeout(Duration::from_millis(50), listener.video_change()).await;
        assert!(wait.is_err(), "another program was believed ({sent:?})");
    }
}
