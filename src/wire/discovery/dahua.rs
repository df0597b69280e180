//! Dahua's two searches. DHIP: a header of 32 bytes and JSON, UDP 37810. The older one: fixed binary,
//! UDP 5050. Both were checked against recorded answers; brands on Dahua boards speak them too.

use serde_json::Value;

use super::Facts;
use super::fields::{clean, ip_text, ipv4, json_port, json_text, mac_text, port, text, u16_le};

pub const PORT: u16 = 37810;
pub const GROUP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(239, 255, 255, 251);
pub const OLD_PORT: u16 = 5050;

const HEADER: usize = 32;

/// `DHDiscover.search`: all numbers of the header are little endian.
pub fn query() -> Vec<u8> {
    message("{\"method\":\"DHDiscover.search\",\"params\":{\"mac\":\"\",\"uni\":1}}\n")
}

fn message(json: &str) -> Vec<u8> {
    let length = (json.len() as u32).to_le_bytes();
    let mut out = vec![0x20, 0, 0, 0];
    out.extend_from_slice(b"DHIP\0\0\0\0\0\0\0\0");
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(json.as_bytes());
    out
}

/// Reads `client.notifyDevInfo`. Some firmwares send JSON that is not closed: it is searched by key
/// then.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    if datagram.get(4..8)? != b"DHIP" {
        return None;
    }
    let body = String::from_utf8_lossy(datagram.get(HEADER..)?);
    let body = body.get(body.find('{')?..)?;
    let body = body.trim_end_matches(['\0', '\n', '\r', ' ']);
    if !body.contains("notifyDevInfo") {
        return None;
    }
    Some(match serde_json::from_str::<Value>(body) {
        Ok(json) => whole(&json),
        Err(_) => broken(body),
    })
}

fn whole(json: &Value) -> Facts {
    let info = |key: &str| json_text(json, &format!("/params/deviceInfo/{key}"));
    let mac = json_text(json, "/mac").or_else(|| info("mac"));
    let ip = info("IPv4Address/IPAddress").or_else(|| info("IPv6Address/IPAddress"));
    let count = |key: &str| info(key).and_then(|n| n.parse::<u16>().ok()).unwrap_or(0);
    let channels =
        u32::from(count("VideoInputChannels")) + u32::from(count("RemoteVideoInputChannels"));
    Facts {
        ip: ip.as_deref().and_then(ip_text),
        mac: mac.as_deref().and_then(mac_text),
        maker: info("Vendor")
            .or_else(|| info("Manufacturer"))
            .filter(|name| is_a_maker(name)),
        model: info("DeviceType"),
        firmware: info("Version"),
        serial: info("SerialNo"),
        http_port: json_port(json, "/params/deviceInfo/HttpPort"),
        name: info("MachineName"),
        channels: Some(channels).filter(|n| *n > 1),
        is_camera: Some(true),
        ..Facts::default()
    }
}

fn broken(body: &str) -> Facts {
    let find = |key: &str| {
        let key = format!("\"{key}\"");
        let after = body.get(body.find(&key)? + key.len()..)?;
        let after = after.trim_start().strip_prefix(':')?.trim_start();
        let end = after
            .get(1..)?
            .find(['"', ',', '}', '{'])
            .map_or(after.len(), |end| end + 1);
        clean(after.get(..end)?.trim_matches('"'))
    };
    Facts {
        ip: find("IPAddress").as_deref().and_then(ip_text),
        mac: find("mac").as_deref().and_then(mac_text),
        maker: find("Vendor").filter(|name| is_a_maker(name)),
        model: find("DeviceType"),
        firmware: find("Version"),
        serial: find("SerialNo"),
        http_port: port(find("HttpPort").and_then(|text| text.parse().ok())),
        name: find("MachineName"),
        is_camera: Some(true),
        ..Facts::default()
    }
}

/// Boards without a brand call themselves so.
fn is_a_maker(name: &str) -> bool {
    !["General", "Private"].contains(&name)
}

/// The older search.
pub fn old_query() -> Vec<u8> {
    let mut out = vec![0; 32];
    out[..4].copy_from_slice(&[0xa3, 1, 0, 1]);
    out[16] = 2;
    out
}

/// The older answer: 120 fixed bytes, then MAC and full model, then lines `Key:value`.
pub fn old_decode(datagram: &[u8]) -> Option<Facts> {
    const FIXED: usize = 0x78;
    if datagram.first() != Some(&0xb3) || datagram.len() < FIXED {
        return None;
    }
    let second = usize::from(*datagram.get(2)?);
    let mut facts = Facts {
        ip: ipv4(datagram, 0x38),
        model: text(datagram, 0x28, 16),
        http_port: port(u16_le(datagram, 0x5e)),
        is_camera: Some(true),
        ..Facts::default()
    };
    facts.mac = text(datagram, FIXED, second.min(17))
        .as_deref()
        .and_then(mac_text);
    if second > 17 {
        facts.model = text(datagram, FIXED + 17, second - 17).or(facts.model);
    }
    let third = datagram.get(FIXED + second..).unwrap_or_default();
    let third = String::from_utf8_lossy(
        third
            .get(..usize::from(u16_le(datagram, 0x14)?))
            .unwrap_or(third),
    );
    for (key, value) in third.lines().filter_map(|line| line.split_once(':')) {
        match key.trim() {
            "SerialNo" => facts.serial = clean(value),
            "Name" => facts.name = clean(value),
            _ => {}
        }
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    const QUERY: &str = "20000000 44484950 00000000 00000000 3b000000 00000000 3b000000 00000000
        7b226d65 74686f64 223a2244 48446973 636f7665 722e7365 61726368 222c2270
        6172616d 73223a7b 226d6163 223a2222 2c22756e 69223a31 7d7d0a";
    const OLD_QUERY: &str =
        "a3010001 00000000 00000000 00000000 02000000 00000000 00000000 00000000";

    fn json(facts: &Facts) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        serde_json::json!({
            "mac": testing::mac_with(facts.mac.unwrap(), ":"),
            "method": "client.notifyDevInfo",
            "params": {"deviceInfo": {
                "AlarmInputChannels": 1, "DeviceClass": "IPC", "DeviceType": facts.model,
                "HttpPort": facts.http_port, "Init": 166, "MachineName": facts.name,
                "IPv4Address": {"DefaultGateway": "192.0.2.1", "IPAddress": facts.ip},
                "Manufacturer": "Private", "Port": 37777, "SerialNo": text(&facts.serial),
                "Vendor": "General", "Version": facts.firmware, "VideoInputChannels": 1,
            }}
        })
        .to_string()
    }

    fn old_answer(facts: &Facts) -> Vec<u8> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let second = format!(
            "{}{}",
            testing::mac_with(facts.mac.unwrap(), ":"),
            text(&facts.model)
        );
        let third = format!(
            "SerialNo:{}\r\nName:{}\r\n\r\n",
            text(&facts.serial),
            text(&facts.name)
        );
        let mut out = vec![0; 0x78];
        out[0] = 0xb3;
        out[2] = second.len() as u8;
        out[0x14..0x16].copy_from_slice(&(third.len() as u16).to_le_bytes());
        out[0x28..0x2b].copy_from_slice(b"IPC");
        out[0x38..0x3c].copy_from_slice(&testing::ipv4_bytes(facts));
        out[0x5e..0x60].copy_from_slice(&facts.http_port.unwrap_or(0).to_le_bytes());
        out.extend(second.bytes().chain(third.bytes()));
        out
    }

    #[test]
    fn the_questions_are_as_recorded() {
        assert_eq!(query(), testing::hex(QUERY));
        assert_eq!(old_query(), testing::hex(OLD_QUERY));
        assert_eq!((decode(&query()), old_decode(&old_query())), (None, None));
    }

    #[test]
    fn a_broken_answer_is_searched_by_key() {
        let text = "{\"mac\":\"00:00:5e:00:53:01\",\"method\":\"client.notifyDevInfo\",\"params\":{\"deviceInfo\":{\"DeviceType\":\"IPC-HDW2431,\"HttpPort\":80,\"IPv4Address\":{\"IPAddress\":\"192.0.2.64\"},\"SerialNo\":\"4F0A1B2PAG00001\",\"Vendor\":\"Amcrest\",\"Version\":\"2.800\"}}}\n\0";
        let facts = decode(&message(text)).unwrap();
        assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
        assert_eq!(facts.model.as_deref(), Some("IPC-HDW2431"));
        assert_eq!(facts.serial.as_deref(), Some("4F0A1B2PAG00001"));
        assert_eq!(
            (facts.maker.as_deref(), facts.http_port),
            (Some("Amcrest"), Some(80))
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            assert_eq!(decode(&message(&json(&facts))), Some(facts.clone()));
            let old = Facts { firmware: None, ..facts };
            assert_eq!(old_decode(&old_answer(&old)), Some(old));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), old_decode(&bytes));
            let mut long = message(&String::from_utf8_lossy(&bytes));
            let _ = decode(&long);
            long[0] = 0xb3;
            long.resize(long.len() + 0x80, 0xff);
            let _ = old_decode(&long);
            let _ = broken(&String::from_utf8_lossy(&bytes));
        }
    }
}
