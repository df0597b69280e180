//! Sony's search, UDP 2380: `KEY:value` between bytes of 0xFF, answered by broadcast to the sender's
//! port. Checked against a recorded answer.

use super::Facts;
use super::fields::{clean, ip_text, mac_text, port};

pub const PORT: u16 = 2380;

const START: u8 = 0x02;
const BETWEEN: u8 = 0xff;
const END: u8 = 0x03;

pub fn query() -> Vec<u8> {
    [&[START], b"ENQ:allinfo".as_slice(), &[BETWEEN, END]].concat()
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let body = datagram.strip_prefix(&[START])?;
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    for field in body.split(|b| *b == BETWEEN || *b == END).take(64) {
        let field = String::from_utf8_lossy(field);
        let Some((key, value)) = field.split_once(':') else {
            continue;
        };
        match key {
            "MAC" => facts.mac = mac_text(value),
            "MODEL" => facts.model = clean(value),
            "SERIAL" => facts.serial = clean(value),
            "IPADR" => facts.ip = ip_text(value),
            "WEBPORT" => facts.http_port = port(value.trim().parse().ok()),
            "SOFTVERSION" => facts.firmware = clean(value),
            _ => {}
        }
    }
    (facts.mac.is_some() || facts.model.is_some()).then_some(facts)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            assert_eq!(query(), testing::hex("02454e51 3a616c6c 696e666f ff03"));
            assert_eq!(decode(&query()), None);
            let said = |text: &Option<String>| text.clone().unwrap();
            let fields = [
                format!("MAC:{}", testing::mac_with(facts.mac.unwrap(), "-")),
                format!("MODEL:{}", said(&facts.model)),
                format!("SERIAL:{}", said(&facts.serial)),
                format!("IPADR:{}", facts.ip.unwrap()),
                format!("WEBPORT:{}", facts.http_port.unwrap()),
                format!("SOFTVERSION:{}", said(&facts.firmware)),
            ];
            let mut bytes = vec![START];
            for field in fields {
                bytes.extend_from_slice(field.as_bytes());
                bytes.push(BETWEEN);
            }
            bytes.push(END);
            assert_eq!(decode(&bytes), Some(Facts { name: None, ..facts }));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&[START], bytes.as_slice()].concat()));
        }
    }
}
