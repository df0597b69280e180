//! Which way packets would go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// A network for documents (RFC 5737): stands for "anywhere", so that the default route answers.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Our own address on the way to `to`, or on the default route. Nothing is sent.
pub fn source_address(to: Option<IpAddr>) -> Option<IpAddr> {
    let to = to.unwrap_or(ANYWHERE);
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Connecting a datagram socket only asks for the route.
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_address(Some(loopback)), Some(loopback));
    }
}
