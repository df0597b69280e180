//! What the tests of all decoders share: addresses of the documentation ranges, hexadecimal texts, and
//! facts as a device may have them.

use std::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::Facts;
use crate::model::Mac;

pub const MAC: Mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]);
pub const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 64));

/// The bytes of a hexadecimal text; blanks do not count.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub fn mac_with(mac: Mac, separator: &str) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(separator)
}

pub fn ipv4_bytes(facts: &Facts) -> [u8; 4] {
    match facts.ip {
        Some(IpAddr::V4(ip)) => ip.octets(),
        other => panic!("no IPv4 address: {other:?}"),
    }
}

/// `text` in a field of `N` bytes, filled up with NUL.
pub fn padded<const N: usize>(text: Option<&str>) -> [u8; N] {
    let mut field = [0; N];
    let text = text.unwrap_or_default().as_bytes();
    field[..text.len()].copy_from_slice(text);
    field
}

/// Bytes of any kind, as a hostile device sends them.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..400)
}

/// A camera that says everything which nearly every protocol carries.
pub fn facts() -> impl Strategy<Value = Facts> {
    let mac = any::<[u8; 5]>().prop_map(|[a, b, c, d, e]| Mac([0x02, a, b, c, d, e]));
    let ip = any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c]));
    let text = "[A-Za-z0-9][A-Za-z0-9._-]{0,7}";
    (mac, ip, [text; 4], 1u16..).prop_map(|(mac, ip, [model, firmware, serial, name], port)| {
        Facts {
            ip: Some(ip),
            mac: Some(mac),
            model: Some(model),
            firmware: Some(firmware),
            serial: Some(serial),
            name: Some(name),
            http_port: Some(port),
            is_camera: Some(true),
            ..Facts::default()
        }
    })
}
