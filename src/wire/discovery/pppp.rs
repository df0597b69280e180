//! LAN search of the PPPP peer-to-peer libraries, UDP 32108 (unverified). The id tells the platform
//! and no model. Only the search is sent; the handshake is never continued.

use super::Facts;
use super::fields::{text, u16_be, u32_be};

pub const PORT: u16 = 32108;

const LENGTH: u16 = 20;

/// The search, and its extended form.
pub fn queries() -> [Vec<u8>; 2] {
    [vec![0xf1, 0x30, 0, 0], vec![0xf1, 0x32, 0, 0]]
}

/// An id such as `ABCD-123456-XYZAB`.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if u16_be(datagram, 0)? != 0xf141 || u16_be(datagram, 2)? < LENGTH {
        return None;
    }
    let prefix = text(datagram, 4, 8)?;
    let number = u32_be(datagram, 12)?;
    let check = text(datagram, 16, 8)?;
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    (is_word(&prefix) && is_word(&check)).then(|| Facts {
        endpoint: Some(format!("{prefix}-{number:06}-{check}")),
        is_camera: Some(true),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn an_id() {
        let answer = "f1410014 41424344 00000000 0001e240 58595a41 42000000";
        let facts = decode(&testing::hex(answer)).unwrap();
        assert_eq!(facts.endpoint.as_deref(), Some("ABCD-123456-XYZAB"));
        assert!(queries().iter().all(|query| decode(query).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(prefix in "[A-Z]{1,7}", number in 0..1_000_000u32, check in "[A-Z]{1,7}") {
            let mut bytes = vec![0xf1, 0x41, 0, 20];
            bytes.extend_from_slice(&testing::padded::<8>(Some(&prefix)));
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&testing::padded::<8>(Some(&check)));
            assert_eq!(decode(&bytes).unwrap().endpoint, Some(format!("{prefix}-{number:06}-{check}")));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&[0xf1, 0x41, 0, 20], bytes.as_slice()].concat()));
        }
    }
}
