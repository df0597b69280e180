//! Bosch's autodetect, asked on UDP 1757 and answered to 1758: 32 bytes, or XML of newer units. Both
//! were checked against recorded answers.

use super::Facts;
use super::fields::{array, clean, ip_text, ipv4, mac, mac_text, port};
use crate::wire::xml::{Step, walk};

pub const PORT: u16 = 1757;
pub const ANSWER_PORT: u16 = 1758;

const MAGIC: [u8; 4] = [0x99, 0x39, 0xa4, 0x27];
const LENGTH: usize = 32;

pub fn query(transaction: [u8; 4]) -> Vec<u8> {
    [MAGIC, transaction, [0xff, 0x00, 0x06, 0xde]].concat()
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if array::<4>(datagram, 0)? != MAGIC {
        return described(datagram);
    }
    if datagram.len() < LENGTH {
        return None;
    }
    Some(Facts {
        mac: Some(mac(datagram, 8)?),
        ip: ipv4(datagram, 0x10),
        is_camera: Some(true),
        ..Facts::default()
    })
}

fn described(datagram: &[u8]) -> Option<Facts> {
    let end = datagram.iter().rposition(|b| *b != 0)? + 1;
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    let mut unit = None;
    walk(&datagram[..end], |step| {
        let Step::Leaf(leaf) = step else { return };
        if !(leaf.is_in("root") && leaf.is_in("device")) {
            return;
        }
        match leaf.name() {
            "friendlyName" => facts.model = clean(leaf.text),
            "unitName" => unit = clean(leaf.text),
            "serialNumber" => facts.serial = clean(leaf.text),
            "deviceGUID" => facts.endpoint = clean(leaf.text),
            "physAddress" => facts.mac = mac_text(leaf.text),
            "unitIPAddress" => facts.ip = ip_text(leaf.text).or(facts.ip),
            "unitIPv6Address" => facts.ip = facts.ip.or(ip_text(leaf.text)),
            "HTTPPort" => facts.http_port = port(leaf.text.parse().ok()),
            _ => {}
        }
    })
    .ok()?;
    facts.name = unit;
    facts.mac.is_some().then_some(facts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    #[test]
    fn question_and_short_answer() {
        assert_eq!(
            query([1, 2, 3, 4]),
            testing::hex("9939a427 01020304 ff0006de")
        );
        assert_eq!(decode(&query([0; 4])), None);
        let answer = "9939a427 01020304 00005e00 530103ff c0000240 ffffff00 c0000201 00030071";
        let facts = decode(&testing::hex(answer)).unwrap();
        assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let said = |text: &Option<String>| text.clone().unwrap();
            let xml = format!(
                "<?xml version=\"1.0\"?><root xmlns=\"OEMExt00:device-1-0\"><device><friendlyName>{}</friendlyName><unitName>{}</unitName><deviceGUID>g-1</deviceGUID>\
                 <serialNumber>{}</serialNumber><physAddress>{}</physAddress><unitIPAddress>{}</unitIPAddress><unitIPv6Address>::</unitIPv6Address><HTTPPort>{}</HTTPPort></device></root>\0",
                said(&facts.model), said(&facts.name), said(&facts.serial),
                testing::mac_with(facts.mac.unwrap(), "-"), facts.ip.unwrap(), facts.http_port.unwrap(),
            );
            let facts = Facts { firmware: None, endpoint: Some("g-1".into()), ..facts };
            assert_eq!(decode(xml.as_bytes()), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&[&MAGIC, bytes.as_slice()].concat()));
        }
    }
}
