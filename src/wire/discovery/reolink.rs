//! Reolink's two searches. The short one, UDP 2000: cameras answer to port 3000 with a block whose
//! layout nobody published, so texts are picked out of it (unverified). The framed one, UDP 2015 and
//! 2018: XML under a fixed key stream; the frames were checked against recorded ones.

use std::net::IpAddr;

use super::Facts;
use super::fields::{array, clean, ip_text, port, u32_le};
use crate::wire::xml::{Step, walk};

pub const PORT: u16 = 2000;
pub const ANSWER_PORT: u16 = 3000;
pub const FRAMED_PORTS: [u16; 2] = [2015, 2018];

const MAGIC: [u8; 4] = [0x3a, 0xcf, 0x87, 0x2a];
const HEADER: usize = 20;
/// Transmission id of every question of ours; it is the key stream's offset too.
const TRANSMISSION: u32 = 1;
/// Length of a camera's id for peer-to-peer connections.
const UID_LENGTH: usize = 16;

pub fn query() -> Vec<u8> {
    vec![0xaa, 0xaa, 0, 0]
}

/// Picks an IPv4 address, the id and the name out of the block.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    let runs = datagram.split(|b| !(0x20..0x7f).contains(b));
    for run in runs.filter(|run| run.len() >= 3).take(64) {
        let run = String::from_utf8_lossy(run);
        // Printable bytes of a number may stand right before the id.
        let uid = run
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| is_uid(word));
        let ip = ip_text(&run).filter(IpAddr::is_ipv4);
        match (uid, ip) {
            (Some(uid), _) => facts.endpoint = facts.endpoint.or_else(|| clean(uid)),
            (None, Some(ip)) => facts.ip = facts.ip.or(Some(ip)),
            (None, None) => facts.name = facts.name.or_else(|| clean(&run)),
        }
    }
    (facts.endpoint.is_some() || facts.ip.is_some()).then_some(facts)
}

fn is_uid(text: &str) -> bool {
    text.len() == UID_LENGTH
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        && text.contains(|c: char| c.is_ascii_digit())
}

/// Asks for an answer to `port`.
pub fn framed_query(port: u16) -> Vec<u8> {
    frame(
        &format!("<P2P><C2D_S><to><port>{port}</port></to></C2D_S></P2P>"),
        TRANSMISSION,
    )
}

fn frame(xml: &str, transmission: u32) -> Vec<u8> {
    let payload = crypted(xml.as_bytes(), transmission);
    let mut out = MAGIC.to_vec();
    for word in [payload.len() as u32, 1, transmission, checksum(&payload)] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&payload);
    out
}

/// Reads what a frame with a right checksum says.
pub fn framed_decode(datagram: &[u8]) -> Option<Facts> {
    if array::<4>(datagram, 0)? != MAGIC {
        return None;
    }
    let length = usize::try_from(u32_le(datagram, 4)?).ok()?;
    let payload = datagram.get(HEADER..)?.get(..length)?;
    if checksum(payload) != u32_le(datagram, 16)? {
        return None;
    }
    let xml = crypted(payload, u32_le(datagram, 12)?);
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    let mut is_answer = false;
    walk(&xml, |step| match step {
        Step::Open(path) => is_answer |= path.last().is_some_and(|name| name.starts_with("D2C")),
        Step::Leaf(leaf) => match leaf.name() {
            "uid" => facts.endpoint = clean(leaf.text),
            "ip" => facts.ip = facts.ip.or(ip_text(leaf.text)),
            "name" | "devname" => facts.name = clean(leaf.text),
            "type" | "model" => facts.model = clean(leaf.text),
            "httpPort" => facts.http_port = port(leaf.text.parse().ok()),
            _ => {}
        },
        Step::Attribute(_) | Step::Close(_) => {}
    })
    .ok()?;
    is_answer.then_some(facts)
}

/// The same in both directions.
fn crypted(bytes: &[u8], transmission: u32) -> Vec<u8> {
    const KEY: [u32; 8] = [
        0x1f2d3c4b, 0x5a6c7f8d, 0x38172e4b, 0x8271635a, 0x863f1a2b, 0xa5c6f7d8, 0x8371e1b4,
        0x17f2d3a5,
    ];
    let stream = KEY.map(|word| word.wrapping_add(transmission).to_le_bytes());
    let stream = stream.as_flattened().iter().cycle();
    bytes
        .iter()
        .zip(stream)
        .map(|(byte, key)| byte ^ key)
        .collect()
}

/// CRC-32 that starts at zero and is not inverted at its end.
fn checksum(bytes: &[u8]) -> u32 {
    super::fields::crc32(0, bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const FRAME: &str = "3acf872a 35000000 01000000 01000000 bd76cfae 706c1f4f b0432f68 08714406
        67171ebc 106a50f4 adc9f595 85d141bf 89a39d65 38021130 fa105266 636d257c
        04304fbe 034a0dd6 e7";

    #[test]
    fn the_framed_question_is_as_recorded() {
        assert_eq!(framed_query(30000), testing::hex(FRAME));
        assert_eq!(framed_decode(&framed_query(1)), None, "no answer");
    }

    #[test]
    fn texts_are_picked_out_of_the_block() {
        let texts: [&[u8]; 3] = [
            b"\xaa\xaa\0\x01Front door",
            b"192.0.2.64",
            b"\x28\x2395270000ABCDEFGH",
        ];
        let block = texts.join(&[0u8, 0][..]);
        let facts = decode(&block).unwrap();
        assert_eq!(facts.ip, Some(testing::IP));
        assert_eq!(facts.endpoint.as_deref(), Some("95270000ABCDEFGH"));
        assert_eq!(facts.name.as_deref(), Some("Front door"));
        assert_eq!(
            (decode(&query()), decode(b"M-SEARCH * HTTP/1.1")),
            (None, None)
        );
    }

    #[test]
    fn a_wrong_checksum_is_no_answer() {
        let mut bytes = frame("<P2P><D2C_S><uid>A</uid></D2C_S></P2P>", 7);
        assert_eq!(
            framed_decode(&bytes).unwrap().endpoint.as_deref(),
            Some("A")
        );
        bytes[HEADER] ^= 1;
        assert_eq!(framed_decode(&bytes), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts(), transmission in proptest::num::u32::ANY) {
            let said = |text: &Option<String>| text.clone().unwrap();
            let xml = format!(
                "<P2P><D2C_S><uid>{}</uid><ip>{}</ip><devname>{}</devname><type>{}</type><httpPort>{}</httpPort></D2C_S></P2P>",
                said(&facts.serial), facts.ip.unwrap(), said(&facts.name), said(&facts.model), facts.http_port.unwrap(),
            );
            let facts = Facts { endpoint: facts.serial.clone(), serial: None, mac: None, firmware: None, ..facts };
            assert_eq!(framed_decode(&frame(&xml, transmission)), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), framed_decode(&bytes));
            let _ = framed_decode(&frame(&String::from_utf8_lossy(&bytes), 3));
        }
    }
}
