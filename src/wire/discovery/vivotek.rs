//! Vivotek's search, UDP 10000: five bytes that the answer repeats, then type, length and value in
//! bytes. Checked against a recorded answer.

use super::Facts;
use super::fields::{clean, ipv4, mac, port, u16_le};

pub const PORT: u16 = 10000;

const MAGIC: [u8; 4] = [0x4a, 0x5d, 0x8f, 0x1c];

pub fn query(session: u8) -> Vec<u8> {
    [&[session], MAGIC.as_slice()].concat()
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if datagram.get(1..5)? != MAGIC {
        return None;
    }
    let mut rest = datagram.get(5..)?;
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    let mut short = None;
    while let Some((kind, value)) = next(&mut rest) {
        let said = || clean(&String::from_utf8_lossy(value));
        match kind {
            1 => facts.model = said(),
            2 => facts.mac = mac(value, 0),
            3 => facts.ip = ipv4(value, 0),
            6 => facts.http_port = port(u16_le(value, 0)),
            9 => short = said(),
            _ => {}
        }
    }
    facts.model = facts.model.or(short);
    (facts.model.is_some() || facts.mac.is_some()).then_some(facts)
}

/// Type 4 has one byte of value and no length.
fn next<'b>(rest: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let kind = *rest.first()?;
    let (from, length) = match kind {
        4 => (1, 1),
        _ => (2, usize::from(*rest.get(1)?)),
    };
    let value = rest.get(from..)?.get(..length)?;
    *rest = rest.get(from + length..)?;
    Some((kind, value))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    const ANSWER: &str = "024a5d8f 1c010746 442d3030 30310206 00005e00 53010304 c0000240 09074644
        2d303030 31";

    #[test]
    fn a_recorded_layout() {
        let facts = decode(&testing::hex(ANSWER)).unwrap();
        assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
        assert_eq!(facts.model.as_deref(), Some("FD-0001"));
        assert_eq!(decode(&query(2)), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts(), session in proptest::num::u8::ANY) {
            let mut bytes = query(session);
            let model = facts.model.clone().unwrap();
            bytes.extend_from_slice(&[4, 9, 1, model.len() as u8]);
            bytes.extend_from_slice(model.as_bytes());
            bytes.extend_from_slice(&[2, 6]);
            bytes.extend_from_slice(&facts.mac.unwrap().0);
            bytes.extend_from_slice(&[3, 4]);
            bytes.extend_from_slice(&testing::ipv4_bytes(&facts));
            bytes.extend_from_slice(&[6, 2]);
            bytes.extend_from_slice(&facts.http_port.unwrap().to_le_bytes());
            let facts = Facts { firmware: None, serial: None, name: None, ..facts };
            assert_eq!(decode(&bytes), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[query(0), bytes].concat()));
        }
    }
}
