//! The search of V380 cameras: texts parted by `^`, asked on UDP 10008 and answered to 10009
//! (unverified).

use super::Facts;
use super::fields::{clean, ip_text, mac_text};

pub const PORT: u16 = 10008;
pub const ANSWER_PORT: u16 = 10009;

pub fn query() -> Vec<u8> {
    b"NVDEVSEARCH^100".to_vec()
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let text = String::from_utf8_lossy(datagram);
    let fields: Vec<&str> = text.trim_end_matches('\0').split('^').take(32).collect();
    if fields.first() != Some(&"NVDEVRESULT") {
        return None;
    }
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    Some(Facts {
        mac: mac_text(field(2)),
        ip: ip_text(field(3)),
        serial: clean(field(12)),
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
            assert_eq!(decode(&query()), None);
            let (mac, ip) = (testing::mac_with(facts.mac.unwrap(), "-"), facts.ip.unwrap());
            let text = format!("NVDEVRESULT^1^{mac}^{ip}^255.0.0.0^10.0.0.1^^^^^^^{}^\0", facts.serial.as_deref().unwrap());
            let facts = Facts { model: None, firmware: None, name: None, http_port: None, ..facts };
            assert_eq!(decode(text.as_bytes()), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[b"NVDEVRESULT^", bytes.as_slice()].concat()));
        }
    }
}
