//! Xiaomi's miIO hello, UDP 54321 (unverified). The answer names a device id and no model; vacuum
//! cleaners and lamps give it too, so it is a hint and no camera.

use super::Facts;
use super::fields::u32_be;

pub const PORT: u16 = 54321;

const LENGTH: usize = 32;
const START: [u8; 4] = [0x21, 0x31, 0x00, 0x20];

pub fn query() -> Vec<u8> {
    let mut out = vec![0xff; LENGTH];
    out[..4].copy_from_slice(&START);
    out
}

/// The last 16 bytes may be a token of a device that has no owner yet; they are not read.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if datagram.len() != LENGTH || !datagram.starts_with(&START) {
        return None;
    }
    let id = u32_be(datagram, 8).filter(|id| *id != 0 && *id != u32::MAX)?;
    Some(Facts {
        endpoint: Some(format!("miio {id}")),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn question_and_answer() {
        let asked = "21310020 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff";
        assert_eq!(query(), testing::hex(asked));
        assert_eq!(decode(&query()), None, "an echo");
        let answer = "21310020 00000000 01020304 65f0c000 ffffffff ffffffff ffffffff ffffffff";
        let facts = decode(&testing::hex(answer)).unwrap();
        assert_eq!(facts.endpoint.as_deref(), Some("miio 16909060"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(id in 1..u32::MAX) {
            let mut answer = query();
            answer[8..12].copy_from_slice(&id.to_be_bytes());
            assert_eq!(decode(&answer).unwrap().endpoint, Some(format!("miio {id}")));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&START, bytes.as_slice()].concat()));
        }
    }
}
