//! TP-Link's searches: TDP of Tapo and newer Kasa devices, UDP 20002 and 20004; the older one of Kasa,
//! UDP 9999. Neither was seen on a wire by us; the checksum agrees with a known packet (unverified).
//! Plugs and lamps answer both.

use serde_json::Value;

use super::Facts;
use super::fields::{crc32, ip_text, json_port, json_text, mac_text};

pub const TDP_PORTS: [u16; 2] = [20002, 20004];
pub const KASA_PORT: u16 = 9999;

const HEADER: usize = 16;
/// Stands in the checksum's place while it is computed.
const CHECKSUM_SEED: [u8; 4] = [0x5a, 0x6b, 0x7c, 0x8d];
/// Devices encrypt what they keep from passers-by under this key. The private half was thrown away:
/// nothing in it is wanted here, but without a key newer devices stay silent.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkP0YphxxgJlNUnRe1QME\\n\
    mfOO6nm5lmgZjVif47Jm143IQ7Pb8J6Zyqb+5KTTPYziGcbnzDELpcRdHklkQENV\\n\
    6OAHTZn3ErXcNWXjJbQrZ2nAaPk5/eWFmMX95L0Xi3JJp88LSZgnGw+VgEPJEPoe\\n\
    AYUHFUrSgvi8fbOb3m3T3yhSiPUlrMeDDAkARWgyNbe7J66HYweKATdEVGFulRyJ\\n\
    B90rcRHRATTVEP86I4BNaJkAfxmvawHanDpSJcJfh+ixowbcp5c8HMnxyLoLa76i\\n\
    NRMDhWQiQWajE+Vg8VGoLiTW9d3bZ2AQlUge1nUB9dIZrV3FxyRC5sGlAMbCLmSm\\n\
    kwIDAQAB\\n\
    -----END PUBLIC KEY-----\\n";

/// With a key for newer devices; short for older firmware.
pub fn tdp_queries(serial: [u8; 4]) -> [Vec<u8>; 2] {
    let json = format!("{{\"params\":{{\"rsa_key\":\"{PUBLIC_KEY}\"}}}}");
    [tdp(0x11, serial, json.as_bytes()), tdp(0, [0; 4], b"")]
}

fn tdp(flags: u8, serial: [u8; 4], json: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 1];
    out.extend_from_slice(&(json.len() as u16).to_be_bytes());
    out.extend_from_slice(&[flags, 0]);
    out.extend_from_slice(&serial);
    out.extend_from_slice(&CHECKSUM_SEED);
    out.extend_from_slice(json);
    let checksum = !crc32(!0, &out);
    if let Some(field) = out.get_mut(12..HEADER) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    out
}

pub fn tdp_decode(datagram: &[u8]) -> Option<Facts> {
    if datagram.first()? != &2 {
        return None;
    }
    let json: Value = serde_json::from_slice(datagram.get(HEADER..)?).ok()?;
    let said = |key: &str| json_text(&json, &format!("/result/{key}"));
    let kind = said("device_type")?;
    Some(Facts {
        ip: said("ip").as_deref().and_then(ip_text),
        mac: said("mac").as_deref().and_then(mac_text),
        maker: Some(
            if kind.contains("KASA") || kind.starts_with("IOT.") {
                "Kasa"
            } else {
                "Tapo"
            }
            .to_owned(),
        ),
        model: said("device_model").map(without_region),
        firmware: said("firmware_version"),
        name: said("device_name"),
        http_port: json_port(&json, "/result/mgt_encrypt_schm/http_port"),
        endpoint: said("device_id"),
        is_camera: Some(is_camera(&kind)),
        ..Facts::default()
    })
}

/// `C200(EU)` -> `C200`.
fn without_region(model: String) -> String {
    match model.split_once('(') {
        Some((model, _)) => model.trim().to_owned(),
        None => model,
    }
}

fn is_camera(kind: &str) -> bool {
    ["CAMERA", "DOORBELL", "NVR"]
        .iter()
        .any(|word| kind.to_ascii_uppercase().contains(word))
}

pub fn kasa_query() -> Vec<u8> {
    kasa_encrypted(b"{\"system\":{\"get_sysinfo\":{}}}")
}

/// Each byte is hidden under the one before it.
fn kasa_encrypted(plain: &[u8]) -> Vec<u8> {
    let mut key = KASA_KEY;
    plain
        .iter()
        .map(|byte| {
            key ^= byte;
            key
        })
        .collect()
}

const KASA_KEY: u8 = 171;

pub fn kasa_decode(datagram: &[u8]) -> Option<Facts> {
    let before = std::iter::once(&KASA_KEY).chain(datagram);
    let plain: Vec<u8> = datagram
        .iter()
        .zip(before)
        .map(|(byte, key)| byte ^ key)
        .collect();
    let json: Value = serde_json::from_slice(&plain).ok()?;
    let said = |key: &str| {
        json_text(&json, &format!("/system/get_sysinfo/{key}"))
            .or_else(|| json_text(&json, &format!("/system/get_sysinfo/system/{key}")))
    };
    let kind = said("type").or_else(|| said("mic_type"))?;
    Some(Facts {
        mac: said("mac")
            .or_else(|| said("ethernet_mac"))
            .as_deref()
            .and_then(mac_text),
        maker: Some("Kasa".to_owned()),
        model: said("model").map(without_region),
        firmware: said("sw_ver"),
        name: said("alias"),
        endpoint: said("deviceId"),
        is_camera: Some(is_camera(&kind)),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    #[test]
    fn the_questions_are_as_known() {
        let short = testing::hex("02000001 00000000 00000000 463cb5d3");
        let [long, other] = tdp_queries([1, 2, 3, 4]);
        assert_eq!(other, short);
        let json: Value = serde_json::from_slice(&long[HEADER..]).unwrap();
        let key = json["params"]["rsa_key"].as_str().unwrap();
        assert!(
            key.starts_with("-----BEGIN PUBLIC KEY-----\nMIIB") && key.ends_with("KEY-----\n"),
            "{key}"
        );
        assert!(long.len() < 1200, "one frame");
        let dummy = testing::hex(
            "02000001 001c1100 01020304 1bc29939 7b227061 72616d73 223a7b22 7273615f
             6b657922 3a222e2e 2e227d7d",
        );
        assert_eq!(
            tdp(0x11, [1, 2, 3, 4], br#"{"params":{"rsa_key":"..."}}"#),
            dummy
        );
        let kasa =
            testing::hex("d0f281f8 8bff9af7 d5ef94b6 d1b4c09f ec95e68f e187e8ca f08bf68b f6");
        assert_eq!(kasa_query(), kasa);
    }

    #[test]
    fn a_camera_and_a_hub() {
        let answer = |kind: &str| {
            let json = format!(
                r#"{{"error_code":0,"result":{{"device_id":"abc","device_model":"C200(EU)","device_type":"{kind}","mac":"00-00-5E-00-53-01","ip":"192.0.2.64","firmware_version":"1.3.9","mgt_encrypt_schm":{{"is_support_https":true,"http_port":443}}}}}}"#
            );
            tdp_decode(&tdp(0, [0; 4], json.as_bytes())).unwrap()
        };
        let camera = answer("SMART.IPCAMERA");
        assert_eq!(
            (camera.mac, camera.ip, camera.http_port),
            (Some(MAC), Some(IP), Some(443))
        );
        assert_eq!(
            (camera.model.as_deref(), camera.is_camera),
            (Some("C200"), Some(true))
        );
        assert_eq!(answer("SMART.TAPOHUB").is_camera, Some(false));
        assert_eq!(tdp_decode(&tdp_queries([0; 4])[1]), None);
        assert_eq!(kasa_decode(&kasa_query()), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let mac = testing::mac_with(facts.mac.unwrap(), "-");
            let facts = Facts { maker: Some("Tapo".into()), endpoint: facts.serial.clone(), serial: None, ..facts };
            let json = serde_json::json!({"result": {
                "device_id": facts.endpoint, "device_model": facts.model, "device_type": "SMART.IPCAMERA",
                "mac": mac, "ip": facts.ip, "firmware_version": facts.firmware, "device_name": facts.name,
                "mgt_encrypt_schm": {"http_port": facts.http_port},
            }}).to_string();
            assert_eq!(tdp_decode(&tdp(0, [9; 4], json.as_bytes())), Some(facts.clone()));
            let json = serde_json::json!({"system": {"get_sysinfo": {
                "deviceId": facts.endpoint, "model": facts.model, "type": "IOT.IPCAMERA",
                "mac": mac, "sw_ver": facts.firmware, "alias": facts.name,
            }}}).to_string();
            let facts = Facts { maker: Some("Kasa".into()), ip: None, http_port: None, ..facts };
            assert_eq!(kasa_decode(&kasa_encrypted(json.as_bytes())), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (tdp_decode(&bytes), tdp_decode(&tdp(0, [0; 4], &bytes)));
            let _ = (kasa_decode(&bytes), kasa_decode(&kasa_encrypted(&bytes)));
        }
    }
}
