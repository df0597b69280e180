//! The search of older Foscam cameras and their many copies: `MO_I` over UDP 10000, answered by
//! broadcast to the same port. Checked against recorded answers, plain and hidden.

use super::Facts;
use super::fields::{array, ipv4, mac_text, port, text, u16_be, u16_le};

pub const PORT: u16 = 10000;

const MAGIC: [u8; 4] = *b"MO_I";
const HEADER: usize = 0x17;
const LENGTH: usize = 87;

pub fn query() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.resize(HEADER + 4, 0);
    out[0x0f] = 4;
    out[0x13] = 4;
    out[HEADER + 3] = 1;
    out
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if array::<4>(datagram, 0)? != MAGIC || u16_le(datagram, 4)? != 1 || datagram.len() < LENGTH {
        return None;
    }
    let mut plain = datagram.get(..LENGTH)?.to_vec();
    if plain.get(6) != Some(&0) {
        let key = array::<8>(datagram, 7)?;
        for (byte, key) in plain.iter_mut().skip(HEADER).zip(key.iter().cycle()) {
            *byte ^= key;
        }
    }
    let id = text(&plain, HEADER, 13)?;
    let mac = mac_text(&id);
    Some(Facts {
        serial: mac.is_none().then_some(id),
        mac,
        name: text(&plain, 0x24, 21),
        ip: ipv4(&plain, 0x39),
        firmware: array::<4>(&plain, 0x4d).map(|v| v.map(|n| n.to_string()).join(".")),
        http_port: port(u16_be(&plain, 0x55)),
        is_camera: Some(true),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    const ANSWER: &str = "4d4f5f49 01000000 00000000 00000040 00000000 00000030 30303035 45303035
        33303100 46726f6e 7420646f 6f720000 00000000 00000000 00c00002 40ffffff
        00c00002 01c00002 01000000 00020000 01010000 090058";

    #[test]
    fn plain_and_hidden() {
        let asked = "4d4f5f49 00000000 00000000 00000004 00000004 00000000 000001";
        assert_eq!(query(), testing::hex(asked));
        assert_eq!(decode(&query()), None);
        let mut bytes = testing::hex(ANSWER);
        let facts = decode(&bytes).unwrap();
        assert_eq!(
            (facts.mac, facts.ip, facts.http_port),
            (Some(MAC), Some(IP), Some(88))
        );
        assert_eq!(
            (facts.name.as_deref(), facts.firmware.as_deref()),
            (Some("Front door"), Some("2.0.0.1"))
        );
        bytes[6] = 1;
        for n in 0..8 {
            bytes[7 + n] = 0x30 + n as u8;
        }
        for (n, byte) in bytes[HEADER..].iter_mut().enumerate() {
            *byte ^= 0x30 + (n % 8) as u8;
        }
        assert_eq!(decode(&bytes), Some(facts));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts(), version in proptest::array::uniform4(proptest::num::u8::ANY)) {
            let mut bytes = vec![0; LENGTH];
            bytes[..6].copy_from_slice(b"MO_I\x01\0");
            bytes[0x17..0x24].copy_from_slice(&testing::padded::<13>(Some(&testing::mac_with(facts.mac.unwrap(), ""))));
            bytes[0x24..0x39].copy_from_slice(&testing::padded::<21>(facts.name.as_deref()));
            bytes[0x39..0x3d].copy_from_slice(&testing::ipv4_bytes(&facts));
            bytes[0x4d..0x51].copy_from_slice(&version);
            bytes[0x55..0x57].copy_from_slice(&facts.http_port.unwrap().to_be_bytes());
            let firmware = Some(version.map(|n| n.to_string()).join("."));
            let facts = Facts { model: None, serial: None, firmware, ..facts };
            assert_eq!(decode(&bytes), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[b"MO_I\x01\0", bytes.as_slice()].concat()));
        }
    }
}
