//! The kernel's neighbour table: hardware addresses of hosts on the same link, IPv4 and IPv6.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use socket2::SockRef;

use crate::model::Mac;
use crate::wire::neigh::{self, Neighbour, State};

/// The kernel fills a page of this size at most.
const PAGE_BYTES: usize = 32 * 1024;
/// The kernel's own limit is about a thousand for each family; operators raise it.
const NEIGHBOURS_MAX: usize = 16_384;
/// The kernel answers at once or never.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// The whole table.
///
/// # Errors
/// No netlink socket here (a sandbox without AF_NETLINK).
pub fn table() -> io::Result<Vec<Neighbour>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    SockRef::from(&socket).set_read_timeout(Some(ANSWER_LIMIT))?;
    let descriptor = socket.as_raw_fd();
    let kernel = NetlinkAddr::new(0, 0);
    sendto(
        descriptor,
        &neigh::dump_request(),
        &kernel,
        MsgFlags::empty(),
    )?;
    let mut buffer = vec![0; PAGE_BYTES];
    let mut found = Vec::new();
    while found.len() < NEIGHBOURS_MAX {
        let length = recv(descriptor, &mut buffer, MsgFlags::empty())?;
        let page = neigh::parse(buffer.get(..length).unwrap_or_default());
        found.extend(page.neighbours);
        if page.is_last {
            break;
        }
    }
    Ok(found)
}

/// The MAC of a host that was talked to, `aa:bb:cc:dd:ee:ff`; `None` for a routed host.
pub fn mac_of(ip: IpAddr) -> Option<String> {
    let is_host = |n: &Neighbour| n.ip == ip && n.mac.is_some();
    let found = table().ok()?.into_iter().find(is_host)?;
    found.mac.map(|mac| mac.to_string())
}

/// The hosts of the table that answered, and did not fail since.
pub fn hosts() -> Vec<(IpAddr, Mac)> {
    let lives = |n: &Neighbour| matches!(n.state, State::Reachable | State::Stale);
    let host = |n: Neighbour| n.mac.filter(|mac| mac.is_unicast()).map(|mac| (n.ip, mac));
    let table = table().unwrap_or_default();
    table.into_iter().filter(lives).filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends() {
        // What stands in it is the machine's own; that it is read to its end is ours.
        assert!(table().unwrap().len() < NEIGHBOURS_MAX);
        assert_eq!(mac_of("203.0.113.9".parse().unwrap()), None);
    }
}
