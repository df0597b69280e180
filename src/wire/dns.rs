//! Messages of the Domain Name System (RFC 1035): names, questions, and who an address belongs to.

use std::net::IpAddr;

use super::discovery::fields::{clean, u16_be};

pub const PORT: u16 = 53;
pub const TYPE_PTR: u16 = 12;
/// Answers with this bit.
pub const IS_RESPONSE: u16 = 0x8000;
const CLASS_IN: u16 = 1;
/// First byte of the flags: the server may ask others.
const RECURSION_DESIRED: u8 = 1;
/// Records of one answer that are read.
const ANSWERS_MAX: u16 = 8;
/// Compression pointers that one name may follow.
const JUMPS_MAX: usize = 16;
/// Section 2.3.4.
const NAME_BYTES_MAX: usize = 255;

/// Asks a server for the name of an address (section 3.5; RFC 3596 section 2.5).
pub fn reverse_question(id: u16, ip: IpAddr) -> Vec<u8> {
    question(id, &[reverse_name(ip)], TYPE_PTR, CLASS_IN)
}

fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let nibbles = octets.iter().rev().flat_map(|b| [b & 15, b >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            format!("{labels}ip6.arpa")
        }
    }
}

/// The name in the answer to [`reverse_question`] of this id and address; `None` where there is none.
pub fn reverse_answer(datagram: &[u8], id: u16, ip: IpAddr) -> Option<String> {
    let flags = u16_be(datagram, 2)?;
    if u16_be(datagram, 0)? != id || flags & IS_RESPONSE == 0 || flags & 15 != 0 {
        return None;
    }
    if u16_be(datagram, 4)? != 1 {
        return None;
    }
    let (asked, at) = name(datagram, 12)?;
    if !asked.eq_ignore_ascii_case(&reverse_name(ip)) {
        return None;
    }
    let mut at = at + 4;
    for _ in 0..u16_be(datagram, 6)?.min(ANSWERS_MAX) {
        let (_, fixed) = name(datagram, at)?;
        let length = usize::from(u16_be(datagram, fixed + 8)?);
        if u16_be(datagram, fixed)? == TYPE_PTR {
            return clean(&name(datagram, fixed + 10)?.0);
        }
        at = fixed + 10 + length;
    }
    None
}

/// A message with one question for each name.
pub fn question(id: u16, names: &[String], kind: u16, class: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let flags = if class == CLASS_IN {
        RECURSION_DESIRED
    } else {
        0
    };
    let mut out = vec![high, low, flags, 0];
    out.extend_from_slice(&(names.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    for name in names {
        put_name(&mut out, name);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&class.to_be_bytes());
    }
    out
}

/// Writes a name, label by label.
pub fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
}

/// The name at `at`, and where it ends (RFC 1035, section 4.1.4).
pub fn name(datagram: &[u8], at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let (mut at, mut end, mut jumps) = (at, None, 0);
    loop {
        let length = usize::from(*datagram.get(at)?);
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            0xc0.. => {
                end = end.or(Some(at + 2));
                at = usize::from(u16_be(datagram, at)? & 0x3fff);
                jumps += 1;
                if jumps > JUMPS_MAX {
                    return None;
                }
            }
            1..=63 => {
                let label = datagram.get(at + 1..)?.get(..length)?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(label));
                at += 1 + length;
                if text.len() > NAME_BYTES_MAX {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's answer: the question again, then one record that points back to it.
    pub(crate) fn answer(question: &[u8], host: &str) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2] |= 0x80;
        out[7] = 1;
        out.extend_from_slice(&[0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60]);
        let mut data = Vec::new();
        put_name(&mut data, host);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
        out
    }

    #[test]
    fn an_address_is_asked_for_backwards() {
        let ip = IpAddr::from([192, 168, 1, 64]);
        let asked = reverse_question(0x1234, ip);
        let wanted = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0264\x011\x03168\x03192\x07in-addr\x04arpa\0\0\x0c\0\x01";
        assert_eq!(asked, wanted);
        let v6 = reverse_name("2001:db8::567:89ab".parse().unwrap());
        // The example of RFC 3596, section 2.5, with this address.
        assert_eq!(
            v6,
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let ip = IpAddr::from([10, 0, 0, 5]);
        let asked = reverse_question(7, ip);
        let answered = answer(&asked, "axis-accc8e0f.lan");
        assert_eq!(
            reverse_answer(&answered, 7, ip).as_deref(),
            Some("axis-accc8e0f.lan")
        );
        assert_eq!(reverse_answer(&answered, 8, ip), None, "another id");
        assert_eq!(
            reverse_answer(&answered, 7, IpAddr::from([10, 0, 0, 6])),
            None,
            "another host"
        );
        assert_eq!(reverse_answer(&asked, 7, ip), None, "the question itself");
        let mut unknown = asked.clone();
        unknown[2] |= 0x80;
        unknown[3] |= 3;
        assert_eq!(reverse_answer(&unknown, 7, ip), None, "no such name");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), at in 0usize..80) {
            let ip = IpAddr::from([10, 0, 0, 5]);
            let _ = reverse_answer(&bytes, 0, ip);
            let mut real = answer(&reverse_question(0, ip), "a.lan");
            let at = at % real.len();
            real[at] ^= bytes.first().copied().unwrap_or(1);
            let _ = reverse_answer(&real, 0, ip);
        }
    }
}
