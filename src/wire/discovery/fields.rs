//! Readers of what discovery answers are made of. Nothing panics on short input: it is `None`.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::model::Mac;
use crate::vendor;

/// Characters of one text that are kept.
const TEXT_CHARS_MAX: usize = 80;

/// A text as it may be shown: one line, bounded; `None` where nothing is left.
pub fn clean(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .take(TEXT_CHARS_MAX)
        .collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// `length` bytes at `at`, as far as they are there, up to the first NUL.
pub fn text(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let end = bytes.len().min(at.checked_add(length)?);
    let field = bytes.get(at..end)?;
    let field = field.split(|b| *b == 0).next()?;
    clean(&String::from_utf8_lossy(field))
}

pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

pub fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

pub fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// A port other than zero.
pub fn port(number: Option<u16>) -> Option<u16> {
    number.filter(|port| *port > 0)
}

/// Four bytes in network order; `None` for 0.0.0.0.
pub fn ipv4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let ip = Ipv4Addr::from(array::<4>(bytes, at)?);
    (!ip.is_unspecified()).then_some(IpAddr::V4(ip))
}

/// Six bytes; `None` for all zero and for group addresses.
pub fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    array(bytes, at).map(Mac).filter(|mac| mac.is_unicast())
}

/// Twelve hexadecimal digits with any of the usual separators.
pub fn mac_text(text: &str) -> Option<Mac> {
    vendor::parse_mac(text.trim())
        .map(Mac)
        .filter(|mac| mac.is_unicast())
}

/// An address in text; `None` for the unspecified one.
pub fn ip_text(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.trim().parse().ok()?;
    (!ip.is_unspecified()).then_some(ip)
}

/// A text or a number below `pointer` (RFC 6901).
pub fn json_text(json: &Value, pointer: &str) -> Option<String> {
    match json.pointer(pointer)? {
        Value::String(text) => clean(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A port below `pointer`.
pub fn json_port(json: &Value, pointer: &str) -> Option<u16> {
    let number = json.pointer(pointer)?.as_u64()?;
    port(u16::try_from(number).ok())
}

/// CRC-32 of Ethernet and zip, reflected: the register after `bytes`, from `start` on.
pub fn crc32(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            let carry = if register & 1 == 1 { 0xedb8_8320 } else { 0 };
            register >> 1 ^ carry
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_cut_or_empty_are_not_there() {
        assert_eq!(text(b"ab\0cd", 0, 5).as_deref(), Some("ab"));
        assert_eq!(text(b"ab", 1, 16).as_deref(), Some("b"));
        assert_eq!(text(b"ab", 2, 16), None);
        assert_eq!(text(b"ab", 3, usize::MAX), None);
        assert_eq!(clean(" a\u{1b}[31m\r\n "), Some("a[31m".to_owned()));
        assert_eq!(ipv4(&[0, 0, 0, 0], 0), None);
        assert_eq!(mac(&[0xff; 6], 0), None);
        assert_eq!(u32_be(&[1, 2, 3], 0), None);
        assert_eq!(
            mac_text("00-00-5E-00-53-01"),
            Some(Mac([0, 0, 0x5e, 0, 0x53, 1]))
        );
    }
}
