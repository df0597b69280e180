//! The search of Panasonic and i-PRO, asked on UDP 10670 and answered to 10669. The layout was checked
//! against a recorded answer; the checksum is unknown and sent as zero, as a known client does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Facts;
use super::fields::{array, clean, ipv4, mac, port, u16_be};
use crate::model::Mac;

pub const PORT: u16 = 10670;
pub const ANSWER_PORT: u16 = 10669;

const HEADER: usize = 52;
const ASK: u16 = 0x000d;
const ANSWER: u16 = 0x000e;
/// A date as a known client sends it; cameras do not look at it.
const DATE: [u8; 14] = [
    0x00, 0x01, 0x20, 0x11, 0x1e, 0x11, 0x23, 0x1f, 0x1e, 0x19, 0x13, 0x00, 0x00, 0x02,
];

/// Names who asks: cameras answer to that address.
pub fn query(own_mac: Mac, own_ip: Ipv4Addr) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0];
    out.extend_from_slice(&ASK.to_be_bytes());
    out.resize(12, 0);
    out.extend_from_slice(&own_mac.0);
    out.extend_from_slice(&own_ip.octets());
    out.extend_from_slice(&DATE);
    out.resize(HEADER - 4, 0);
    out.extend_from_slice(&[0xff, 0xff, 0, 0]);
    out
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if u16_be(datagram, 0)? != 1 || u16_be(datagram, 4)? != ANSWER || datagram.len() < HEADER {
        return None;
    }
    let camera = mac(datagram, 6)?;
    // Two known layouts: values begin behind the header, or one byte later.
    let (_, facts) = [HEADER + 1, HEADER]
        .into_iter()
        .map(|at| values(datagram.get(at..).unwrap_or_default()))
        .max_by_key(|(known, _)| *known)?;
    Some(Facts {
        mac: Some(camera),
        is_camera: Some(true),
        ..facts
    })
}

/// Type, length and value; how many of them are known.
fn values(mut rest: &[u8]) -> (usize, Facts) {
    let mut facts = Facts::default();
    let (mut known, mut full, mut short) = (0, None, None);
    while let (Some(kind), Some(length)) = (u16_be(rest, 0), u16_be(rest, 2)) {
        let Some(value) = rest.get(4..).and_then(|v| v.get(..usize::from(length))) else {
            break;
        };
        let said = || clean(&String::from_utf8_lossy(value));
        known += 1;
        match kind {
            0x20 => facts.ip = ipv4(value, 0).or(facts.ip),
            0x25 => facts.http_port = port(u16_be(value, 0)),
            0x40 => facts.ip = facts.ip.or(ipv6(value)),
            0xa7 => full = said(),
            0xa8 => short = said(),
            0xa9 => facts.firmware = said(),
            _ => known -= 1,
        }
        rest = rest.get(4 + value.len()..).unwrap_or_default();
    }
    facts.model = full.or(short);
    (known, facts)
}

fn ipv6(value: &[u8]) -> Option<IpAddr> {
    let ip = Ipv6Addr::from(array::<16>(value, 0)?);
    (!ip.is_unspecified()).then_some(IpAddr::V6(ip))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, MAC};
    use super::*;

    const QUERY: &str = "00010000 000d0000 00000000 00005e00 53fec000 020a0001 20111e11 231f1e19
        13000002 00000000 00000000 00000000 ffff0000";

    #[test]
    fn the_question_is_as_recorded() {
        let bytes = query(
            Mac([0, 0, 0x5e, 0, 0x53, 0xfe]),
            Ipv4Addr::new(192, 0, 2, 10),
        );
        assert_eq!(bytes, testing::hex(QUERY));
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn an_answer_without_values_names_its_mac() {
        let mut bytes = testing::hex(QUERY);
        bytes[5] = 0x0e;
        bytes[6..12].copy_from_slice(&MAC.0);
        assert_eq!(decode(&bytes).unwrap().mac, Some(MAC));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts(), gap in 0..2usize) {
            let mut bytes = vec![0; HEADER + gap];
            bytes[1] = 1;
            bytes[5] = 0x0e;
            bytes[6..12].copy_from_slice(&facts.mac.unwrap().0);
            let mut put = |kind: u16, value: &[u8]| {
                bytes.extend_from_slice(&kind.to_be_bytes());
                bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
                bytes.extend_from_slice(value);
            };
            put(0x20, &testing::ipv4_bytes(&facts));
            put(0x25, &facts.http_port.unwrap().to_be_bytes());
            put(0x40, &[0; 16]);
            put(0xa7, facts.model.as_deref().unwrap().as_bytes());
            put(0xa9, facts.firmware.as_deref().unwrap().as_bytes());
            bytes.extend_from_slice(&[0xff, 0xff, 1, 2]);
            assert_eq!(decode(&bytes), Some(Facts { serial: None, name: None, ..facts }));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), values(&bytes));
        }
    }
}
