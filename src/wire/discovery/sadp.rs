//! SADP, the search of Hikvision and of the brands on its boards: XML over UDP 37020, to the group of
//! WS-Discovery, by broadcast or to one host. Checked against recorded answers.

use uuid::Uuid;

use super::Facts;
use super::fields::{clean, ip_text, mac_text, port};
use crate::wire::xml::{Step, walk};

pub const PORT: u16 = 37020;

/// The inquiry, the one message that changes nothing.
pub fn query(id: Uuid) -> Vec<u8> {
    let id = id.hyphenated().to_string().to_ascii_uppercase();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Probe><Uuid>{id}</Uuid><Types>inquiry</Types></Probe>"
    )
    .into_bytes()
}

/// Reads a `ProbeMatch`; `None` for anything else on this port.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let end = datagram.iter().rposition(|b| *b != 0)? + 1;
    let mut facts = Facts {
        is_camera: Some(true),
        ..Facts::default()
    };
    let mut is_match = false;
    let (mut analogue, mut digital) = (0, 0);
    walk(&datagram[..end], |step| {
        let Step::Leaf(leaf) = step else { return };
        let [root, name] = leaf.path else { return };
        is_match |= root == "ProbeMatch";
        let value = clean(leaf.text);
        match name.as_str() {
            "MAC" => facts.mac = mac_text(leaf.text),
            "IPv4Address" => facts.ip = ip_text(leaf.text).or(facts.ip),
            "IPv6Address" => facts.ip = facts.ip.or(ip_text(leaf.text)),
            "DeviceDescription" => facts.model = value,
            "DeviceSN" => facts.serial = value,
            "SoftwareVersion" => facts.firmware = value,
            "OEMInfo" => facts.maker = value.filter(|v| v != "N/A"),
            "HttpPort" => facts.http_port = port(leaf.text.parse().ok()),
            "Activated" => facts.is_activated = leaf.text.parse().ok(),
            "AnalogChannelNum" => analogue = leaf.text.parse::<u16>().unwrap_or(0),
            "DigitalChannelNum" => digital = leaf.text.parse::<u16>().unwrap_or(0),
            _ => {}
        }
    })
    .ok()?;
    facts.channels = Some(u32::from(analogue) + u32::from(digital)).filter(|n| *n > 1);
    is_match.then_some(facts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;

    fn answer(facts: &Facts) -> Vec<u8> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\r\n<ProbeMatch>\r\n<Uuid>0F1E</Uuid>\r\n<Types>inquiry</Types>\r\n\
             <DeviceType>10251</DeviceType>\r\n<DeviceDescription>{}</DeviceDescription>\r\n<DeviceSN>{}</DeviceSN>\r\n\
             <CommandPort>8000</CommandPort>\r\n<HttpPort>{}</HttpPort>\r\n<MAC>{}</MAC>\r\n<IPv4Address>{}</IPv4Address>\r\n\
             <IPv6Address>::</IPv6Address>\r\n<SoftwareVersion>{}</SoftwareVersion>\r\n<Activated>true</Activated>\r\n\
             <AnalogChannelNum>0</AnalogChannelNum>\r\n<DigitalChannelNum>0</DigitalChannelNum>\r\n<OEMInfo>N/A</OEMInfo></ProbeMatch>\r\n",
            text(&facts.model),
            text(&facts.serial),
            facts.http_port.unwrap_or(0),
            testing::mac_with(facts.mac.unwrap(), "-"),
            facts.ip.unwrap(),
            text(&facts.firmware),
        )
        .into_bytes()
    }

    #[test]
    fn the_inquiry_begins_as_recorded() {
        let query = query(Uuid::from_u128(0x0F1E2D3C_4B5A_6978_8796_A5B4C3D2E1F0));
        let start = testing::hex(
            "3c3f786d 6c207665 7273696f 6e3d2231 2e302220 656e636f 64696e67 3d227574 662d3822 3f3e3c50",
        );
        assert!(query.starts_with(&start));
        assert!(
            String::from_utf8(query).unwrap().contains(
                "<Uuid>0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0</Uuid><Types>inquiry</Types>"
            )
        );
    }

    #[test]
    fn a_recorder_in_factory_state() {
        let text = "<ProbeMatch><DeviceDescription>DS-7608NI</DeviceDescription><DeviceSN>DS-7608NI-K20820190101CCRR1</DeviceSN><MAC>00-00-5e-00-53-01</MAC><IPv4Address>192.0.2.64</IPv4Address><IPv6Address>2001:db8::1</IPv6Address><Activated>false</Activated><AnalogChannelNum>0</AnalogChannelNum><DigitalChannelNum>8</DigitalChannelNum><OEMInfo>ANNKE</OEMInfo></ProbeMatch>\0";
        let facts = decode(text.as_bytes()).unwrap();
        assert_eq!((facts.mac, facts.ip), (Some(MAC), Some(IP)));
        assert_eq!((facts.channels, facts.is_activated), (Some(8), Some(false)));
        assert_eq!(facts.maker.as_deref(), Some("ANNKE"));
    }

    #[test]
    fn questions_and_other_texts_are_no_devices() {
        assert_eq!(decode(&query(Uuid::nil())), None);
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0; 8]), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let facts = Facts { is_activated: Some(true), name: None, ..facts };
            assert_eq!(decode(&answer(&facts)), Some(facts));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = decode(&bytes);
        }
    }
}
