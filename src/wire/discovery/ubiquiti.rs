//! Ubiquiti's discovery: type-length-value over UDP 10001, by broadcast or its own group. Checked
//! against recorded answers. Access points and switches answer too.

use super::Facts;
use super::fields::{clean, ipv4, mac, u16_be};

pub const PORT: u16 = 10001;
pub const GROUP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(233, 89, 188, 1);

const HEADER: usize = 4;

/// Versions 1 and 2.
pub fn queries() -> [Vec<u8>; 2] {
    [vec![1, 0, 0, 0], vec![2, 8, 0, 0]]
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    // Consoles send the question of four bytes back.
    if datagram.len() <= HEADER {
        return None;
    }
    match (datagram.first()?, datagram.get(1)?) {
        (1, 0) | (2, 6 | 9 | 0x0b) => {}
        _ => return None,
    }
    let length = usize::from(u16_be(datagram, 2)?);
    let mut rest = datagram.get(HEADER..)?.get(..length)?;
    let mut facts = Facts::default();
    let (mut platform, mut model, mut product) = (None, None, None);
    while let Some((kind, value)) = next(&mut rest) {
        let said = || clean(&String::from_utf8_lossy(value));
        match kind {
            0x01 => facts.mac = mac(value, 0).or(facts.mac),
            0x02 => {
                facts.mac = facts.mac.or(mac(value, 0));
                facts.ip = facts.ip.or(ipv4(value, 6));
            }
            0x03 => facts.firmware = said(),
            0x0b => facts.name = said(),
            0x0c => platform = said(),
            0x14 => model = said(),
            0x15 => product = said(),
            _ => {}
        }
    }
    facts.mac?;
    let names = [&platform, &model, &product];
    let is_video = |name: &String| ["UVC", "UNVR", "ENVR"].iter().any(|p| name.starts_with(p));
    let is_console = |name: &String| ["UDM", "UCK", "UDR"].iter().any(|p| name.starts_with(p));
    facts.is_camera = if names.iter().any(|n| n.as_ref().is_some_and(is_video)) {
        Some(true)
    } else if names.iter().any(|n| n.as_ref().is_some_and(is_console)) {
        // A console records only where its Protect application is installed.
        None
    } else {
        Some(false)
    };
    facts.model = product.or(model).or(platform);
    Some(facts)
}

/// The next type and value; `None` at the end and on overrun.
fn next<'b>(rest: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let kind = *rest.first()?;
    let length = usize::from(u16_be(rest, 1)?);
    let value = rest.get(3..)?.get(..length)?;
    *rest = rest.get(3 + length..)?;
    Some((kind, value))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    const ANSWER: &str = "01000032 02000a00 005e0053 01c00002 40010006 00005e00 53010b00 0563616d
        2d310c00 03555643 03000666 772e342e 30100002 3412";

    fn answer(facts: &Facts) -> Vec<u8> {
        let mut body = Vec::new();
        let mut put = |kind: u8, value: &[u8]| {
            body.push(kind);
            body.extend_from_slice(&(value.len() as u16).to_be_bytes());
            body.extend_from_slice(value);
        };
        let mac = facts.mac.unwrap().0;
        put(0x02, &[&mac[..], &testing::ipv4_bytes(facts)].concat());
        put(0x03, facts.firmware.as_deref().unwrap().as_bytes());
        put(0x0b, facts.name.as_deref().unwrap().as_bytes());
        put(0x0c, b"UVC");
        put(0x14, facts.model.as_deref().unwrap().as_bytes());
        let length = (body.len() as u16).to_be_bytes();
        [&[2, 6, length[0], length[1]], body.as_slice()].concat()
    }

    #[test]
    fn a_camera_and_an_access_point() {
        let bytes = testing::hex(ANSWER);
        let facts = decode(&bytes).unwrap();
        assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
        assert_eq!(
            (facts.name.as_deref(), facts.model.as_deref()),
            (Some("cam-1"), Some("UVC"))
        );
        assert_eq!(
            (facts.firmware.as_deref(), facts.is_camera),
            (Some("fw.4.0"), Some(true))
        );
        let mut other = bytes;
        let at = other.windows(3).position(|w| w == b"UVC").unwrap();
        other[at..at + 3].copy_from_slice(b"U7P");
        assert_eq!(decode(&other).unwrap().is_camera, Some(false));
        assert!(
            queries().iter().all(|query| decode(query).is_none()),
            "echoes"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let facts = Facts { serial: None, http_port: None, ..facts };
            assert_eq!(decode(&answer(&facts)), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = decode(&bytes);
            let length = (bytes.len() as u16).to_be_bytes();
            let _ = decode(&[&[1, 0, length[0], length[1]], bytes.as_slice()].concat());
        }
    }
}
