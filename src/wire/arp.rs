//! ARP for IPv4 over Ethernet (RFC 826): questions, answers, and the address probe of RFC 5227.

use std::net::Ipv4Addr;

use crate::model::Mac;

/// EtherType of ARP.
pub const ETHERTYPE: u16 = 0x0806;
/// Ethernet header and ARP body. The driver pads short frames, so a received one may be longer.
pub const FRAME_BYTES: usize = 42;

const ETHERNET: u16 = 1;
const IPV4: u16 = 0x0800;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Request,
    Reply,
}

/// One ARP message: `sender` asks about, or answers to, `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    pub operation: Operation,
    pub sender_mac: Mac,
    /// 0.0.0.0 in a probe: nobody learns the asker's address from it.
    pub sender_ip: Ipv4Addr,
    pub target_mac: Mac,
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Who has `target_ip`? With the sender 0.0.0.0 it is an address probe (RFC 5227 section 1.1), which a
    /// host answers whatever subnet it believes to be in.
    pub fn request(sender_mac: Mac, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac,
            sender_ip,
            target_mac: Mac([0; 6]),
            target_ip,
        }
    }

    /// The answer to this request by the host that has its target.
    pub fn answered_by(self, mac: Mac) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// The whole frame: a request goes to everybody, a reply to its target.
    pub fn frame(&self) -> [u8; FRAME_BYTES] {
        let (to, operation) = match self.operation {
            Operation::Request => (Mac::BROADCAST, 1_u16),
            Operation::Reply => (self.target_mac, 2),
        };
        let mut frame = [0; FRAME_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&to.0);
        put(&self.sender_mac.0);
        put(&ETHERTYPE.to_be_bytes());
        put(&ETHERNET.to_be_bytes());
        put(&IPV4.to_be_bytes());
        put(&[6, 4]);
        put(&operation.to_be_bytes());
        put(&self.sender_mac.0);
        put(&self.sender_ip.octets());
        put(&self.target_mac.0);
        put(&self.target_ip.octets());
        frame
    }

    /// Reads a frame; `None` for everything but ARP for IPv4 over Ethernet.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let body: &[u8; FRAME_BYTES] = frame.get(..FRAME_BYTES)?.try_into().ok()?;
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let is_ours = word(12) == ETHERTYPE && word(14) == ETHERNET && word(16) == IPV4;
        if !is_ours || body[18..20] != [6, 4] {
            return None;
        }
        let mac = |at: usize| Mac(std::array::from_fn(|i| body[at + i]));
        let ip = |at: usize| Ipv4Addr::from(std::array::from_fn(|i| body[at + i]));
        Some(Self {
            operation: match word(20) {
                1 => Operation::Request,
                2 => Operation::Reply,
                _ => return None,
            },
            sender_mac: mac(22),
            sender_ip: ip(28),
            target_mac: mac(32),
            target_ip: ip(38),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = Mac([2, 0, 0x5e, 0x10, 0, 1]);
    const CAMERA: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn a_request_is_what_the_standard_draws() {
        let asked = Arp::request(
            OURS,
            Ipv4Addr::new(192, 0, 2, 1),
            Ipv4Addr::new(192, 0, 2, 9),
        );
        let wanted = "ffffffffffff 02005e100001 0806 0001 0800 06 04 0001 \
                      02005e100001 c0000201 000000000000 c0000209";
        assert_eq!(asked.frame().to_vec(), bytes(wanted));
    }

    #[test]
    fn an_answer_padded_by_the_driver_is_read() {
        let frame = "02005e100001 4419b6010203 0806 0001 0800 06 04 0002 \
                     4419b6010203 c0000209 02005e100001 c0000201 000000000000000000000000000000000000";
        let answer = Arp::parse(&bytes(frame)).unwrap();
        let asked = Arp::request(
            OURS,
            Ipv4Addr::new(192, 0, 2, 1),
            Ipv4Addr::new(192, 0, 2, 9),
        );
        assert_eq!(answer, asked.answered_by(CAMERA));
    }

    #[test]
    fn other_frames_are_nobody() {
        let good = Arp::request(OURS, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 168, 1, 64));
        for (at, value) in [(13, 0), (15, 6), (17, 6), (18, 8), (19, 16), (21, 3)] {
            let mut frame = good.frame();
            frame[at] = value;
            assert_eq!(Arp::parse(&frame), None, "byte {at}");
        }
        assert_eq!(Arp::parse(&good.frame()[..41]), None);
    }

    proptest! {
        #[test]
        fn frames_come_back(
            macs in any::<[[u8; 6]; 2]>(), ips in any::<[[u8; 4]; 2]>(), is_reply in any::<bool>(),
        ) {
            let arp = Arp {
                operation: if is_reply { Operation::Reply } else { Operation::Request },
                sender_mac: Mac(macs[0]),
                sender_ip: ips[0].into(),
                target_mac: Mac(macs[1]),
                target_ip: ips[1].into(),
            };
            prop_assert_eq!(Arp::parse(&arp.frame()), Some(arp));
        }

        #[test]
        fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Arp::parse(&frame);
        }
    }
}
