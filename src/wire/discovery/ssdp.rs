//! SSDP and UPnP descriptions (UPnP Device Architecture 1.1, sections 1.2, 1.3 and 2.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Facts;
use super::fields::clean;
use crate::wire::xml::{Step, XmlError, walk};

pub const PORT: u16 = 1900;
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x0c);

/// Longest address of a description that is kept.
const URL_BYTES_MAX: usize = 256;
/// Lines of one message that are read.
const LINES_MAX: usize = 64;

/// Searches for root devices and for everything: some devices answer only one of them.
pub fn queries(host: &str) -> [Vec<u8>; 2] {
    ["upnp:rootdevice", "ssdp:all"].map(|target| {
        format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {host}:{PORT}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
        )
        .into_bytes()
    })
}

/// An answer to a search, or a NOTIFY of a device that is there.
pub fn decode(datagram: &[u8]) -> Option<Facts> {
    let text = String::from_utf8_lossy(datagram);
    let mut lines = text.lines().take(LINES_MAX);
    let first = lines.next()?;
    let is_answer = first.starts_with("HTTP/1.") && first.split(' ').nth(1) == Some("200");
    let is_notify = first.starts_with("NOTIFY ");
    if !(is_answer || is_notify) {
        return None;
    }
    let mut facts = Facts::default();
    let mut is_leaving = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "location" if value.len() <= URL_BYTES_MAX => {
                facts.description_url = value.starts_with("http://").then(|| value.to_owned());
            }
            "server" => facts.server = clean(value),
            "usn" => facts.endpoint = device_name(value),
            "st" | "nt" => facts.is_camera = facts.is_camera.or(is_camera(value)),
            "nts" => is_leaving = value == "ssdp:byebye",
            _ => {}
        }
    }
    (!is_leaving && (facts.endpoint.is_some() || facts.description_url.is_some())).then_some(facts)
}

/// `uuid:...::upnp:rootdevice` -> `uuid:...`.
fn device_name(usn: &str) -> Option<String> {
    let name = usn.split("::").next()?;
    clean(name).filter(|name| name.starts_with("uuid:"))
}

/// What a device type or service type tells: players, printers and routers are none.
fn is_camera(kind: &str) -> Option<bool> {
    const OTHERS: [&str; 7] = [
        "mediarenderer",
        "mediaserver",
        "internetgatewaydevice",
        "wandevice",
        "printer",
        "dial",
        "zoneplayer",
    ];
    let kind = kind.to_ascii_lowercase();
    let holds = |word: &str| kind.contains(word);
    if holds("camera") || holds("networkvideo") {
        Some(true)
    } else if OTHERS.into_iter().any(holds) {
        Some(false)
    } else {
        None
    }
}

/// Reads the root device of a description.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn description(document: &[u8]) -> Result<Facts, XmlError> {
    let mut facts = Facts::default();
    let mut number = None;
    walk(document, |step| {
        let Step::Leaf(leaf) = step else { return };
        // Embedded devices lie deeper.
        let [_, device, name] = leaf.path else { return };
        if device != "device" {
            return;
        }
        let value = clean(leaf.text);
        match name.as_str() {
            "friendlyName" => facts.name = value,
            "manufacturer" => facts.maker = value,
            "modelName" => facts.model = value,
            "modelNumber" => number = value,
            "serialNumber" => facts.serial = value,
            "UDN" => facts.endpoint = value.as_deref().and_then(device_name),
            "deviceType" => facts.is_camera = is_camera(leaf.text),
            _ => {}
        }
    })?;
    facts.model = facts.model.or(number);
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn questions() {
        let [root, all] = queries("239.255.255.250");
        let root = String::from_utf8(root).unwrap();
        assert!(root.starts_with("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"));
        assert!(root.ends_with("ST: upnp:rootdevice\r\n\r\n"));
        assert_eq!((decode(root.as_bytes()), decode(&all)), (None, None));
    }

    #[test]
    fn an_axis_camera_and_a_television() {
        let text = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nLocation:http://192.0.2.64:49152/rootdesc1.xml\r\nSERVER: Linux/2.6.35, UPnP/1.0, axis/1.0\r\nST: upnp:rootdevice\r\nUSN: uuid:Upnp-BasicDevice-1_0-00005E005301::upnp:rootdevice\r\n\r\n";
        let facts = decode(text.as_bytes()).unwrap();
        assert_eq!(
            facts.endpoint.as_deref(),
            Some("uuid:Upnp-BasicDevice-1_0-00005E005301")
        );
        assert_eq!(
            facts.description_url.as_deref(),
            Some("http://192.0.2.64:49152/rootdesc1.xml")
        );
        assert!(facts.server.unwrap().contains("axis"));
        let tv = "NOTIFY * HTTP/1.1\r\nNT: urn:schemas-upnp-org:device:MediaRenderer:1\r\nNTS: ssdp:alive\r\nUSN: uuid:1\r\n\r\n";
        assert_eq!(decode(tv.as_bytes()).unwrap().is_camera, Some(false));
        let gone = tv.replace("alive", "byebye");
        assert_eq!(decode(gone.as_bytes()), None);
    }

    #[test]
    fn only_the_root_device_is_read() {
        let xml = "<root xmlns='urn:schemas-upnp-org:device-1-0'><device><deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><friendlyName>Gate</friendlyName><manufacturer>AXIS</manufacturer><modelName>AXIS M1065-L</modelName><serialNumber>00005E005301</serialNumber><UDN>uuid:a</UDN><deviceList><device><modelName>inner</modelName></device></deviceList></device></root>";
        let facts = description(xml.as_bytes()).unwrap();
        assert_eq!(
            (facts.maker.as_deref(), facts.model.as_deref()),
            (Some("AXIS"), Some("AXIS M1065-L"))
        );
        assert_eq!(
            (facts.serial.as_deref(), facts.is_camera),
            (Some("00005E005301"), None)
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(server in "[a-z]{1,20}", id in "[0-9a-f-]{1,36}") {
            let text = format!("HTTP/1.1 200 OK\r\nSERVER: {server}\r\nUSN: uuid:{id}::ssdp:all\r\n\r\n");
            let facts = decode(text.as_bytes()).unwrap();
            assert_eq!((facts.server, facts.endpoint), (Some(server), Some(format!("uuid:{id}"))));
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = (decode(&bytes), description(&bytes));
            let _ = decode(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
