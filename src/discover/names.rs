//! Names of hosts, as the site's own name server knows them: a router tells by them what a device called
//! itself when it asked for its address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::policy::networks::AllowedNetworks;
use crate::wire::dns;

/// A server of the site answers within this, or it is not asked again.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BYTES_MAX: u64 = 64 << 10;
/// Longest answer without EDNS (RFC 1035 section 2.3.4).
const ANSWER_BYTES_MAX: usize = 512;

/// Asks the name server. One outside the allowed networks is none: the site's addresses are nobody
/// else's business.
#[derive(Debug)]
pub struct Names {
    server: Option<SocketAddr>,
    /// It left a question without an answer, or cannot be reached.
    is_silent: AtomicBool,
    next_id: AtomicU16,
}

impl Names {
    /// The first of the system's servers that may be asked.
    pub fn of_system(networks: &AllowedNetworks) -> Self {
        let is_short = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|about| about.len() <= RESOLV_CONF_BYTES_MAX)
        };
        let path = Path::new(RESOLV_CONF);
        let text = is_short(path).then(|| std::fs::read_to_string(path));
        let text = text.and_then(Result::ok).unwrap_or_default();
        let may_ask = |server: &SocketAddr| {
            // A stub of this machine passes the question on to whom its administrator chose.
            server.ip().is_loopback() || networks.allows(*server)
        };
        Self::of(servers(&text).find(may_ask))
    }

    fn of(server: Option<SocketAddr>) -> Self {
        Self {
            server,
            is_silent: AtomicBool::new(false),
            next_id: AtomicU16::new(rand_id()),
        }
    }

    /// False where no host's name will ever be told.
    pub fn can_tell(&self) -> bool {
        self.server.is_some() && !self.is_silent.load(Ordering::Relaxed)
    }

    /// The host's name; `None` where the server knows none, says nothing, or is not to be asked.
    pub async fn of_host(&self, ip: IpAddr) -> Option<String> {
        let server = self.server?;
        let is_link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if is_link_local || self.is_silent.load(Ordering::Relaxed) {
            return None;
        }
        match timeout(ANSWER_LIMIT, self.ask(server, ip)).await {
            Ok(Ok(name)) => name,
            Ok(Err(_)) | Err(_) => {
                self.is_silent.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    async fn ask(&self, server: SocketAddr, ip: IpAddr) -> io::Result<Option<String>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let from: SocketAddr = match server {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(from).await?;
        socket.connect(server).await?;
        socket.send(&dns::reverse_question(id, ip)).await?;
        let mut buffer = [0; ANSWER_BYTES_MAX];
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        Ok(dns::reverse_answer(answer, id, ip))
    }
}

/// Where it starts is hard to guess for others on the wire.
fn rand_id() -> u16 {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    low as u16
}

/// Servers of a resolv.conf(5), in its order.
fn servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let ip: IpAddr = (words.next()? == "nameserver")
            .then(|| words.next())??
            .parse()
            .ok()?;
        Some(SocketAddr::new(ip, dns::PORT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_the_system_lists_them() {
        let text = "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver  fd00::53\n";
        let found: Vec<String> = servers(text).map(|s| s.to_string()).collect();
        assert_eq!(found, ["192.168.1.1:53", "[fd00::53]:53"]);
    }

    #[tokio::test]
    async fn a_host_gets_the_name_that_the_server_knows() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Names::of(server.local_addr().ok());
        let ip = IpAddr::from([10, 0, 0, 5]);
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend_from_slice(b"\xc0\x0c\0\x0c\0\x01\0\0\0\x3c\0\x09\x03cam\x03lan\0");
            server.send_to(&answer, from).await.unwrap();
        };
        let (name, ()) = tokio::join!(names.of_host(ip), serve);
        assert_eq!(name.as_deref(), Some("cam.lan"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_asked_once() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Names::of(gone.local_addr().ok());
        drop(gone);
        assert_eq!(names.of_host(IpAddr::from([10, 0, 0, 5])).await, None);
        assert!(names.is_silent.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_waited_for_once() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Names::of(server.local_addr().ok());
        let ip = IpAddr::from([10, 0, 0, 5]);
        let started = tokio::time::Instant::now();
        assert_eq!(names.of_host(ip).await, None);
        assert_eq!(names.of_host(ip).await, None);
        assert_eq!(started.elapsed(), ANSWER_LIMIT);
        assert_eq!(Names::of(None).of_host(ip).await, None);
    }
}
