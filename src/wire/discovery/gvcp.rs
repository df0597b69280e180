//! GigE Vision control, UDP 3956: industrial and thermal cameras (FLIR A series). The discovery
//! command and answer are of the industry's standard.

use super::Facts;
use super::fields::{ipv4, mac, text, u16_be};

pub const PORT: u16 = 3956;

const LENGTH: usize = 256;

/// An answer is required and may be sent by broadcast.
pub fn query() -> Vec<u8> {
    vec![0x42, 0x11, 0, 2, 0, 0, 0, 1]
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let is_answer = u16_be(datagram, 0)? == 0 && u16_be(datagram, 2)? == 3;
    if !is_answer || datagram.len() < LENGTH {
        return None;
    }
    Some(Facts {
        mac: mac(datagram, 0x12),
        ip: ipv4(datagram, 0x2c),
        maker: text(datagram, 0x50, 32),
        model: text(datagram, 0x70, 32),
        firmware: text(datagram, 0x90, 32),
        serial: text(datagram, 0xe0, 16),
        is_camera: Some(true),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            assert_eq!(query(), testing::hex("42110002 00000001"));
            assert_eq!(decode(&query()), None);
            let mut bytes = vec![0; LENGTH];
            bytes[..8].copy_from_slice(&[0, 0, 0, 3, 0, 0xf8, 0, 1]);
            bytes[0x12..0x18].copy_from_slice(&facts.mac.unwrap().0);
            bytes[0x2c..0x30].copy_from_slice(&testing::ipv4_bytes(&facts));
            bytes[0x50..0x70].copy_from_slice(&testing::padded::<32>(Some("FLIR Systems")));
            bytes[0x70..0x90].copy_from_slice(&testing::padded::<32>(facts.model.as_deref()));
            bytes[0x90..0xb0].copy_from_slice(&testing::padded::<32>(facts.firmware.as_deref()));
            bytes[0xe0..0xf0].copy_from_slice(&testing::padded::<16>(facts.serial.as_deref()));
            let facts = Facts { maker: Some("FLIR Systems".into()), name: None, http_port: None, ..facts };
            assert_eq!(decode(&bytes), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&[0, 0, 0, 3], bytes.as_slice()].concat()));
        }
    }
}
