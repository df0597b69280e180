//! The search of VStarcam and older Wansview cameras, UDP 8600, answered to the same port. Checked
//! against a recorded answer. Some firmwares append logins: nothing but the fields below is read.

use super::Facts;
use super::fields::{ip_text, mac, port, text, u16_le};

pub const PORT: u16 = 8600;

pub fn query() -> Vec<u8> {
    vec![0x44, 0x48, 1, 1]
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    const NAME: usize = 0x7c;
    if !datagram.starts_with(&[0x44, 0x48, 1, 8]) || datagram.len() < NAME {
        return None;
    }
    Some(Facts {
        ip: text(datagram, 4, 16).as_deref().and_then(ip_text),
        mac: mac(datagram, 0x54),
        http_port: port(u16_le(datagram, 0x5a)),
        serial: text(datagram, 0x5c, 32),
        name: text(datagram, NAME, 32),
        firmware: text(datagram, 0xcc, 32),
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
            let mut bytes = vec![0; 304];
            bytes[..4].copy_from_slice(&[0x44, 0x48, 1, 8]);
            bytes[4..20].copy_from_slice(&testing::padded::<16>(Some(&facts.ip.unwrap().to_string())));
            bytes[0x54..0x5a].copy_from_slice(&facts.mac.unwrap().0);
            bytes[0x5a..0x5c].copy_from_slice(&facts.http_port.unwrap().to_le_bytes());
            bytes[0x5c..0x7c].copy_from_slice(&testing::padded::<32>(facts.serial.as_deref()));
            bytes[0x7c..0x9c].copy_from_slice(&testing::padded::<32>(facts.name.as_deref()));
            bytes[0xcc..0xec].copy_from_slice(&testing::padded::<32>(facts.firmware.as_deref()));
            bytes.extend_from_slice(b"admin\0secret\0");
            let read = decode(&bytes).unwrap();
            assert!(!format!("{read:?}").contains("secret"));
            assert_eq!(read, Facts { model: None, ..facts });
            assert_eq!(decode(&query()), None);
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&[0x44, 0x48, 1, 8], bytes.as_slice()].concat()));
        }
    }
}
