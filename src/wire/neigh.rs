//! The kernel's neighbour table over rtnetlink (rtnetlink(7), `struct ndmsg`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Mac;

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    pub ip: IpAddr,
    /// Index of the interface.
    pub interface: u32,
    /// Only where the neighbour answered at some time.
    pub mac: Option<Mac>,
    pub state: State,
}

/// What the kernel knows of a neighbour (`NUD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Asked, no answer yet.
    Incomplete,
    /// It answered within the last half minute or so.
    Reachable,
    /// It answered some time ago.
    Stale,
    /// Asked three times without an answer.
    Failed,
    /// Entered by hand, or needs no asking.
    Fixed,
}

/// Part of the table that one message brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub neighbours: Vec<Neighbour>,
    /// No further message follows.
    pub is_last: bool,
}

const HEADER_BYTES: usize = 16;
const NDMSG_BYTES: usize = 12;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// NLM_F_REQUEST and NLM_F_DUMP.
const REQUEST_DUMP: u16 = 0x301;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// Asks for the whole table, IPv4 and IPv6.
pub fn dump_request() -> Vec<u8> {
    let mut message = ((HEADER_BYTES + NDMSG_BYTES) as u32).to_ne_bytes().to_vec();
    message.extend(RTM_GETNEIGH.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    // Sequence and port: one question, one answer.
    message.extend([0; 8]);
    // AF_UNSPEC, every interface.
    message.extend([0; NDMSG_BYTES]);
    message
}

/// Reads what one receive call returned. What cannot be read ends the page, and the table.
pub fn parse(mut bytes: &[u8]) -> Page {
    let mut page = Page::default();
    while let Some((message, kind, rest)) = message(bytes) {
        match kind {
            NLMSG_DONE | NLMSG_ERROR => page.is_last = true,
            RTM_NEWNEIGH => page.neighbours.extend(neighbour(message)),
            _ => {}
        }
        bytes = rest;
    }
    page.is_last |= !bytes.is_empty();
    page
}

/// Body and kind of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((body, kind, rest))
}

fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = state(u16::from_ne_bytes(body.get(8..10)?.try_into().ok()?))?;
    let mut attributes = body.get(NDMSG_BYTES..)?;
    let (mut ip, mut mac) = (None, None);
    while let Some((kind, value, rest)) = attribute(attributes) {
        match kind {
            NDA_DST => ip = address(value),
            NDA_LLADDR => {
                mac = value
                    .try_into()
                    .ok()
                    .map(Mac)
                    .filter(|mac| mac.is_unicast())
            }
            _ => {}
        }
        attributes = rest;
    }
    Some(Neighbour {
        ip: ip?,
        interface,
        mac,
        state,
    })
}

fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let value = bytes.get(4..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, value, rest))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from(v6).into())
}

fn state(bits: u16) -> Option<State> {
    Some(match bits {
        0x01 => State::Incomplete,
        0x02 => State::Reachable,
        // Stale, delay, probe.
        0x04 | 0x08 | 0x10 => State::Stale,
        0x20 => State::Failed,
        // No ARP needed, permanent.
        0x40 | 0x80 => State::Fixed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMERA: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);

    fn entry(ip: &[u8], state: u16, mac: Option<Mac>) -> Vec<u8> {
        let mut body = vec![if ip.len() == 4 { 2 } else { 10 }, 0, 0, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([0, 1]);
        let mut put = |kind: u16, value: &[u8]| {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        };
        put(NDA_DST, ip);
        if let Some(mac) = mac {
            put(NDA_LLADDR, &mac.0);
        }
        put(3, &[0; 16]);
        wrapped(RTM_NEWNEIGH, &body)
    }

    fn wrapped(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(body);
        message
    }

    #[test]
    fn a_page_of_both_families() {
        let link_local = "fe80::4619:b6ff:fe01:203".parse::<Ipv6Addr>().unwrap();
        let mut bytes = entry(&[10, 77, 0, 9], 0x02, Some(CAMERA));
        bytes.extend(entry(&link_local.octets(), 0x04, Some(CAMERA)));
        bytes.extend(entry(&[10, 77, 0, 8], 0x20, None));
        let page = parse(&bytes);
        let seen: Vec<_> = page
            .neighbours
            .iter()
            .map(|n| (n.ip.to_string(), n.state, n.mac))
            .collect();
        let wanted = [
            ("10.77.0.9".to_owned(), State::Reachable, Some(CAMERA)),
            (link_local.to_string(), State::Stale, Some(CAMERA)),
            ("10.77.0.8".to_owned(), State::Failed, None),
        ];
        assert_eq!(seen, wanted);
        assert!(page.neighbours.iter().all(|n| n.interface == 7) && !page.is_last);
        assert!(parse(&wrapped(NLMSG_DONE, &[0; 4])).is_last);
    }

    #[test]
    fn a_cut_message_ends_the_table() {
        let bytes = entry(&[10, 77, 0, 9], 0x02, Some(CAMERA));
        for cut in 1..bytes.len() {
            let page = parse(&bytes[..cut]);
            assert!(page.is_last && page.neighbours.is_empty(), "{cut}");
        }
        let mut zero = bytes;
        zero[..4].fill(0);
        assert!(parse(&zero).is_last);
    }

    #[test]
    fn the_question_is_a_dump() {
        let (body, kind, rest) = message(&dump_request())
            .map(|(b, k, r)| (b.len(), k, r.len()))
            .unwrap();
        assert_eq!((body, kind, rest), (NDMSG_BYTES, RTM_GETNEIGH, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_attributes_panic(attributes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut body = vec![2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1];
            body.extend(attributes);
            let _ = parse(&wrapped(RTM_NEWNEIGH, &body));
        }
    }
}
