//! The search of Xiongmai boards (XMEye), as their published protocol has it: a header of 20 bytes and
//! JSON, UDP 34569 on both ends. Hundreds of brands are built on them.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::Facts;
use super::fields::{json_port, json_text, mac_text, u16_le, u32_le};

pub const PORT: u16 = 34569;

const HEADER: usize = 20;
const SEARCH: u16 = 1530;
const FOUND: u16 = 1531;
/// Longest JSON by the protocol.
const JSON_BYTES_MAX: usize = 16 * 1024;

pub fn query() -> Vec<u8> {
    message(SEARCH, "")
}

fn message(id: u16, json: &str) -> Vec<u8> {
    let mut out = vec![0; 14];
    out[0] = 0xff;
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(json.as_bytes());
    out
}

pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if datagram.first()? != &0xff || u16_le(datagram, 14)? != FOUND {
        return None;
    }
    let length = usize::try_from(u32_le(datagram, 16)?).ok()?;
    let body = datagram.get(HEADER..)?;
    let body = body.get(..length.min(JSON_BYTES_MAX)).unwrap_or(body);
    let end = body.iter().rposition(|b| *b == b'}')? + 1;
    let json: Value = serde_json::from_slice(body.get(..end)?).ok()?;
    let common = json.get("NetWork.NetCommon")?;
    let said = |key: &str| json_text(common, &format!("/{key}"));
    Some(Facts {
        ip: said("HostIP").as_deref().and_then(address),
        mac: said("MAC").as_deref().and_then(mac_text),
        name: said("HostName"),
        serial: said("SN"),
        firmware: said("Version"),
        http_port: json_port(common, "/HttpPort"),
        channels: said("ChannelNum")
            .and_then(|n| n.parse().ok())
            .filter(|n| *n > 1),
        is_camera: Some(true),
        ..Facts::default()
    })
}

/// `0x400200C0` is 192.0.2.64.
fn address(text: &str) -> Option<IpAddr> {
    let number = u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
    (number != 0).then(|| IpAddr::V4(Ipv4Addr::from(number.to_le_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP};
    use super::*;

    #[test]
    fn question_and_address() {
        assert_eq!(
            query(),
            testing::hex("ff000000 00000000 00000000 0000fa05 00000000")
        );
        assert_eq!(decode(&query()), None);
        assert_eq!(address("0x400200C0"), Some(IP));
        assert_eq!(address("0x00000000"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let ip = u32::from_le_bytes(testing::ipv4_bytes(&facts));
            let json = serde_json::json!({"NetWork.NetCommon": {
                "HostIP": format!("0x{ip:08X}"), "MAC": testing::mac_with(facts.mac.unwrap(), ":"),
                "HostName": facts.name, "SN": facts.serial, "HttpPort": facts.http_port, "TCPPort": 34567,
                "Version": facts.firmware, "ChannelNum": 1, "Submask": "0x00FFFFFF",
            }, "Ret": 100, "SessionID": "0x00000000"});
            let facts = Facts { model: None, ..facts };
            assert_eq!(decode(&message(FOUND, &format!("{json}\n\0"))), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), decode(&message(FOUND, &String::from_utf8_lossy(&bytes))));
        }
    }
}
