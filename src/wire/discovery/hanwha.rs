//! Hanwha's (once Samsung's) search, two versions of one fixed structure: asked on UDP 7701, answered
//! to 7711. Checked against recorded answers.

use super::Facts;
use super::fields::{ip_text, mac_text, text};

pub const PORT: u16 = 7701;
pub const ANSWER_PORT: u16 = 7711;

/// Both versions: cameras answer the one they know.
pub fn queries() -> [Vec<u8>; 2] {
    [(1, 262), (6, 334)].map(|(first, length)| {
        let mut out = vec![0; length];
        out[0] = first;
        out
    })
}

/// Offsets hold for both versions.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    const URL: usize = 0x85;
    let wanted = match datagram.first()? {
        0x0b => 262,
        0x0c => 334,
        _ => return None,
    };
    if datagram.len() < wanted {
        return None;
    }
    let url = text(datagram, URL, wanted - URL).unwrap_or_default();
    let authority = url.split('/').nth(2).unwrap_or_default();
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    Some(Facts {
        mac: text(datagram, 0x13, 18).as_deref().and_then(mac_text),
        ip: text(datagram, 0x25, 16).as_deref().and_then(ip_text),
        model: text(datagram, 0x6d, 10),
        http_port: port.or(url.starts_with("http://").then_some(80)),
        is_camera: Some(true),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    /// The first 160 bytes of an answer of version 1.
    const ANSWER: &str = "0b000000 00000000 00000000 00000000 00000030 303a3030 3a35453a 30303a35
        333a3031 00313932 2e302e32 2e363400 00000000 00323535 2e323535 2e323535
        2e300000 00313932 2e302e32 2e310000 00000000 00000000 00000000 00000000
        00000000 00000000 00000000 00584e56 2d303030 31000000 00000000 00000000
        00000000 00687474 703a2f2f 3139322e 302e322e 36343a38 302f0000 00000000";

    #[test]
    fn both_versions() {
        let mut bytes = testing::hex(ANSWER);
        for (first, length) in [(0x0b, 262), (0x0c, 334)] {
            bytes[0] = first;
            bytes.resize(length - 1, 0);
            assert_eq!(decode(&bytes), None, "cut");
            bytes.push(0);
            let facts = decode(&bytes).unwrap();
            assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
            assert_eq!(
                (facts.model.as_deref(), facts.http_port),
                (Some("XNV-0001"), Some(80))
            );
        }
        assert!(queries().iter().all(|query| decode(query).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let mut bytes = vec![0; 334];
            bytes[0] = 0x0c;
            let mut put = |at: usize, text: &str| bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            put(0x13, &testing::mac_with(facts.mac.unwrap(), ":"));
            put(0x25, &facts.ip.unwrap().to_string());
            put(0x6d, facts.model.as_deref().unwrap());
            put(0x85, &format!("http://{}:{}/x", facts.ip.unwrap(), facts.http_port.unwrap()));
            let facts = Facts { firmware: None, serial: None, name: None, ..facts };
            assert_eq!(decode(&bytes), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&[0x0b], bytes.as_slice()].concat()));
        }
    }
}
