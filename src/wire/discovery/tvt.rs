//! TVT's search `MHED`, UDP 23456 with groups of its own (unverified).

use std::net::Ipv4Addr;

use super::Facts;
use super::fields::{ipv4, mac, port, text, u16_le, u32_le};

pub const PORT: u16 = 23456;
pub const GROUP: Ipv4Addr = Ipv4Addr::new(234, 55, 55, 55);
/// Answers may come here.
pub const ANSWER_GROUP: Ipv4Addr = Ipv4Addr::new(234, 55, 55, 56);

const MAGIC: [u8; 4] = *b"MHED";
const FOUND: u16 = 7;
const LENGTH: usize = 240;
/// Camera and recorders, of the device types.
const VIDEO_TYPES: [u8; 4] = [0, 1, 2, 3];

pub fn query() -> Vec<u8> {
    let mut out = [&MAGIC, [8, 0, 1, 0, 1, 0].as_slice()].concat();
    out.resize(140, 0);
    out
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let is_answer = datagram.starts_with(&MAGIC) && u16_le(datagram, 4)? == FOUND;
    if !is_answer || datagram.len() < LENGTH {
        return None;
    }
    Some(Facts {
        name: text(datagram, 12, 20),
        mac: mac(datagram, 32),
        ip: ipv4(datagram, 40),
        http_port: port(u16_le(datagram, 60)),
        model: text(datagram, 196, 16),
        channels: u32_le(datagram, 228).filter(|n| (2..=1024).contains(n)),
        is_camera: Some(VIDEO_TYPES.contains(datagram.get(64)?)),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts(), channels in 2..64u32) {
            assert_eq!(query().len(), 140);
            assert_eq!(decode(&query()), None);
            let mut bytes = vec![0; LENGTH];
            bytes[..6].copy_from_slice(b"MHED\x07\0");
            bytes[12..32].copy_from_slice(&testing::padded::<20>(facts.name.as_deref()));
            bytes[32..38].copy_from_slice(&facts.mac.unwrap().0);
            bytes[40..44].copy_from_slice(&testing::ipv4_bytes(&facts));
            bytes[60..62].copy_from_slice(&facts.http_port.unwrap().to_le_bytes());
            bytes[64] = 3;
            bytes[196..212].copy_from_slice(&testing::padded::<16>(facts.model.as_deref()));
            bytes[228..232].copy_from_slice(&channels.to_le_bytes());
            let facts = Facts { firmware: None, serial: None, channels: Some(channels), ..facts };
            assert_eq!(decode(&bytes), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[b"MHED\x07\0", bytes.as_slice()].concat()));
        }
    }
}
