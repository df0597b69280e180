//! What a device calls itself when it asks for its address (RFC 2131, options of RFC 2132). Nothing is
//! asked: such messages go to everybody on the link and are heard in passing.

use std::net::{IpAddr, Ipv4Addr};

use super::Facts;
use super::fields::clean;
use crate::model::Mac;

/// Port of the servers: devices send there.
pub const SERVER_PORT: u16 = 67;

const REQUEST: u8 = 1;
const ETHERNET: [u8; 2] = [1, 6];
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS_AT: usize = 240;
const CIADDR_AT: usize = 12;
const CHADDR_AT: usize = 28;
const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const REQUESTED_ADDRESS: u8 = 50;
const END: u8 = 255;

/// The device that asks; none where it names neither itself nor an address.
pub fn decode(payload: &[u8]) -> Vec<Facts> {
    read(payload).into_iter().collect()
}

fn read(payload: &[u8]) -> Option<Facts> {
    let is_request = payload.first() == Some(&REQUEST) && payload.get(1..3)? == ETHERNET;
    if !is_request || payload.get(OPTIONS_AT - 4..OPTIONS_AT)? != COOKIE {
        return None;
    }
    let mac = Mac(payload.get(CHADDR_AT..CHADDR_AT + 6)?.try_into().ok()?);
    let mut ip = address(payload.get(CIADDR_AT..CIADDR_AT + 4)?);
    let mut hostname = None;
    let mut rest = payload.get(OPTIONS_AT..)?;
    loop {
        match *rest {
            [PAD, ref after @ ..] => rest = after,
            [END, ..] | [] | [_] => break,
            [option, length, ref after @ ..] => {
                // One that is cut off ends the message.
                let Some((value, after)) = after.split_at_checked(usize::from(length)) else {
                    break;
                };
                match option {
                    HOST_NAME => hostname = clean(&String::from_utf8_lossy(value)),
                    REQUESTED_ADDRESS => ip = ip.or(address(value)),
                    _ => {}
                }
                rest = after;
            }
        }
    }
    Some(Facts {
        ip: Some(IpAddr::V4(ip?)),
        mac: Some(mac).filter(|mac| mac.is_unicast()),
        hostname: Some(hostname?),
        ..Facts::default()
    })
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(bytes)).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; OPTIONS_AT];
        message[..3].copy_from_slice(&[REQUEST, 1, 6]);
        message[CHADDR_AT..CHADDR_AT + 6].copy_from_slice(&[0x44, 0x19, 0xb6, 1, 2, 3]);
        message[OPTIONS_AT - 4..].copy_from_slice(&COOKIE);
        message.extend_from_slice(options);
        message
    }

    #[test]
    fn a_camera_asks_for_its_old_address() {
        // Message type 3, requested address 10.77.0.9, host name "IPC-Door", end.
        let options = b"\x35\x01\x03\x32\x04\x0a\x4d\x00\x09\x0c\x08IPC-Door\xff";
        let facts = decode(&request(options));
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].ip, Some(IpAddr::from([10, 77, 0, 9])));
        assert_eq!(facts[0].mac, Some(Mac([0x44, 0x19, 0xb6, 1, 2, 3])));
        assert_eq!(facts[0].hostname.as_deref(), Some("IPC-Door"));
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        let named = b"\x0c\x03cam\xff";
        assert!(decode(&request(named)).is_empty(), "no address");
        assert!(
            decode(&request(b"\x32\x04\x0a\x4d\x00\x09\xff")).is_empty(),
            "no name"
        );
        let mut answer = request(b"\x32\x04\x0a\x4d\x00\x09\x0c\x03cam\xff");
        answer[0] = 2;
        assert!(decode(&answer).is_empty(), "of a server");
        assert!(
            decode(&request(b"\x32\x04\x0a\x4d\x00\x09\x0c\x30cam")).is_empty(),
            "cut off"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), options in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
            let _ = decode(&request(&options));
        }
    }
}
