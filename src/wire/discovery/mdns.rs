//! Multicast DNS (RFC 6762) and service discovery (RFC 6763): services by which cameras announce
//! themselves. Asked from an ordinary port with the unicast bit, so that the system's own responder may
//! keep 5353.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Facts;
use super::fields::{array, clean, mac_text, port, u16_be};
use crate::model::Mac;
use crate::wire::dns::{IS_RESPONSE, TYPE_PTR, name, question};

pub const PORT: u16 = 5353;
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Services that are asked for.
const SERVICES: [&str; 8] = [
    "_axis-video._tcp",
    "_axis-nvr._tcp",
    "_arec._tcp",
    "_rtsp._tcp",
    "_miio._udp",
    "_hap._tcp",
    "_hap._udp",
    "_http._tcp",
];
const TYPE_A: u16 = 1;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
/// Class IN with the bit that asks for a unicast answer.
const CLASS_UNICAST: u16 = 0x8001;
/// Records of one message that are read.
const RECORDS_MAX: usize = 128;

/// One message with a question for each service.
pub fn query() -> Vec<u8> {
    question(
        0,
        &SERVICES.map(|service| format!("{service}.local")),
        TYPE_PTR,
        CLASS_UNICAST,
    )
}

/// What one message tells of services.
#[derive(Default)]
struct Records {
    /// Service type and instance.
    instances: Vec<(String, String)>,
    /// By instance: port and host.
    places: BTreeMap<String, (u16, String)>,
    /// By instance: `key=value`.
    texts: BTreeMap<String, Vec<(String, String)>>,
    addresses: BTreeMap<String, IpAddr>,
}

/// One device for each instance of a known service in a response.
pub fn decode(datagram: &[u8]) -> Vec<Facts> {
    let Some(records) = read(datagram) else {
        return Vec::new();
    };
    let facts = records.instances.iter().filter_map(|(service, instance)| {
        let known = SERVICES.iter().find(|known| service.starts_with(**known))?;
        Some(device(known, instance, &records))
    });
    facts.collect()
}

fn read(datagram: &[u8]) -> Option<Records> {
    if u16_be(datagram, 2)? & IS_RESPONSE == 0 {
        return None;
    }
    let mut at = 12;
    for _ in 0..u16_be(datagram, 4)?.min(RECORDS_MAX as u16) {
        at = name(datagram, at)?.1 + 4;
    }
    let sections = [6, 8, 10].map(|at| u16_be(datagram, at).map_or(0, usize::from));
    let mut records = Records::default();
    for _ in 0..sections.iter().sum::<usize>().min(RECORDS_MAX) {
        let Some(next) = record(datagram, at, &mut records) else {
            break;
        };
        at = next;
    }
    Some(records)
}

/// Reads the record at `at`; where the next one begins.
fn record(datagram: &[u8], at: usize, records: &mut Records) -> Option<usize> {
    let (owner, at) = name(datagram, at)?;
    let kind = u16_be(datagram, at)?;
    let length = usize::from(u16_be(datagram, at + 8)?);
    let from = at + 10;
    let data = datagram.get(from..)?.get(..length)?;
    match kind {
        TYPE_PTR => records.instances.push((owner, name(datagram, from)?.0)),
        TYPE_SRV => {
            let place = (u16_be(data, 4)?, name(datagram, from + 6)?.0);
            records.places.insert(owner, place);
        }
        TYPE_TXT => {
            records.texts.insert(owner, texts(data));
        }
        TYPE_A => {
            let ip = array::<4>(data, 0)?;
            records.addresses.insert(owner, IpAddr::from(ip));
        }
        TYPE_AAAA => {
            let ip = array::<16>(data, 0)?;
            records.addresses.entry(owner).or_insert(IpAddr::from(ip));
        }
        _ => {}
    }
    Some(from + length)
}

/// Strings of a TXT record, each `key=value`; keys in lower case.
fn texts(mut data: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let length = usize::from(*length).min(rest.len());
        let (text, rest) = rest.split_at(length);
        let text = String::from_utf8_lossy(text);
        if let Some((key, value)) = text.split_once('=') {
            found.push((key.to_ascii_lowercase(), value.to_owned()));
        }
        data = rest;
    }
    found
}

fn device(service: &str, instance: &str, records: &Records) -> Facts {
    let label = instance.strip_suffix(".local").unwrap_or(instance);
    let label = label
        .strip_suffix(service)
        .unwrap_or(label)
        .trim_end_matches('.');
    let place = records.places.get(instance);
    let said = |key: &str| {
        let texts = records.texts.get(instance)?;
        let value = texts.iter().find(|(name, _)| name == key)?;
        clean(&value.1)
    };
    let mut facts = Facts {
        name: clean(label),
        hostname: place.and_then(|(_, host)| clean(host.strip_suffix(".local").unwrap_or(host))),
        ip: place
            .and_then(|(_, host)| records.addresses.get(host))
            .copied(),
        ..Facts::default()
    };
    match service {
        "_axis-video._tcp" | "_axis-nvr._tcp" => axis(&mut facts, label, said("macaddress")),
        "_arec._tcp" => {
            facts.maker = Some("Arecont Vision".to_owned());
            facts.is_camera = Some(true);
            facts.mac = said("mac").as_deref().and_then(arecont_mac);
        }
        "_rtsp._tcp" => facts.is_camera = Some(true),
        "_miio._udp" => miio(&mut facts, label),
        "_hap._tcp" | "_hap._udp" => {
            facts.model = said("md");
            facts.endpoint = said("id").map(|id| format!("hap {id}"));
            // Categories 17 and 18: camera and doorbell with camera.
            facts.is_camera = said("ci").map(|category| ["17", "18"].contains(&category.as_str()));
        }
        _ => facts.http_port = place.and_then(|(number, _)| port(Some(*number))),
    }
    facts
}

/// `AXIS M1065-L - 00005E005301`; DoorBird announces itself by the same service.
fn axis(facts: &mut Facts, label: &str, mac: Option<String>) {
    let parts = label.rsplit_once(" - ");
    facts.mac = mac.as_deref().or(parts.map(|p| p.1)).and_then(mac_text);
    let is_doorbird = facts
        .mac
        .is_some_and(|mac| mac.0.starts_with(&[0x1c, 0xca, 0xe3]));
    facts.maker = Some(if is_doorbird { "DoorBird" } else { "Axis" }.to_owned());
    facts.model = parts
        .and_then(|(model, _)| clean(model))
        .filter(|_| !is_doorbird);
    facts.is_camera = Some(true);
}

/// `AVxxxxxx-FW...`: the last three bytes behind Arecont's prefix.
fn arecont_mac(text: &str) -> Option<Mac> {
    let digits = text.strip_prefix("AV")?.get(..6)?;
    mac_text(&format!("001a07{digits}"))
}

/// `chuangmi-camera-ipc019_miio01020304`
fn miio(facts: &mut Facts, label: &str) {
    let Some((kind, id)) = label.split_once("_miio") else {
        return;
    };
    facts.endpoint = clean(&format!("miio {id}"));
    facts.model = clean(kind);
    facts.is_camera = Some(kind.contains("-camera-"));
    facts.maker = Some("Xiaomi".to_owned());
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, IP, MAC};
    use super::*;
    use crate::wire::dns::put_name;

    /// A response of the usual form: pointer, place, texts, address.
    fn answer(
        service: &str,
        label: &str,
        texts: &[&str],
        host: &str,
        port: u16,
        ip: [u8; 4],
    ) -> Vec<u8> {
        let mut out = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 3];
        put_name(&mut out, &format!("{service}.local"));
        let mut record = |start: &[u8], kind: u16, data: &[u8]| {
            out.extend_from_slice(start);
            out.extend_from_slice(
                &[
                    &kind.to_be_bytes()[..],
                    &[0, 1, 0, 0, 0, 10],
                    &(data.len() as u16).to_be_bytes(),
                ]
                .concat(),
            );
            out.extend_from_slice(data);
            out.len() - data.len()
        };
        // The label, then a pointer to the service behind the header.
        let data = [&[label.len() as u8], label.as_bytes(), &[0xc0, 12]].concat();
        let instance = record(&[], TYPE_PTR, &data);
        let to = [0xc0 | (instance >> 8) as u8, instance as u8];
        let mut target = Vec::new();
        put_name(&mut target, &format!("{host}.local"));
        let place = record(
            &to,
            TYPE_SRV,
            &[&[0, 0, 0, 0], &port.to_be_bytes()[..], &target].concat(),
        );
        let strings: Vec<u8> = texts
            .iter()
            .flat_map(|t| [&[t.len() as u8], t.as_bytes()].concat())
            .collect();
        record(&to, TYPE_TXT, &strings);
        record(
            &[0xc0 | ((place + 6) >> 8) as u8, (place + 6) as u8],
            TYPE_A,
            &ip,
        );
        out
    }

    #[test]
    fn the_question_for_axis_is_as_known() {
        let wanted = "00000000 00010000 00000000 0b5f6178 69732d76 6964656f 045f7463 70056c6f
            63616c00 000c8001";
        let name = ["_axis-video._tcp.local".to_owned()];
        assert_eq!(
            question(0, &name, TYPE_PTR, CLASS_UNICAST),
            testing::hex(wanted)
        );
        assert_eq!(query()[5], 8);
        assert!(decode(&query()).is_empty());
    }

    #[test]
    fn cameras_by_their_services() {
        let one = |service, label, texts: &[&str]| {
            let mut all = decode(&answer(service, label, texts, "cam-1", 80, [192, 0, 2, 64]));
            assert_eq!(all.len(), 1, "{service}");
            all.remove(0)
        };
        let axis = one(
            "_axis-video._tcp",
            "AXIS M1065-L - 00005E005301",
            &["macaddress=00005E005301"],
        );
        assert_eq!((axis.mac, axis.ip), (Some(MAC), Some(IP)));
        assert_eq!(
            (axis.model.as_deref(), axis.maker.as_deref()),
            (Some("AXIS M1065-L"), Some("Axis"))
        );
        assert_eq!(axis.hostname.as_deref(), Some("cam-1"));
        let arecont = one("_arec._tcp", "AV3125", &["MAC=AV010203-FW1"]);
        assert_eq!(arecont.mac, Some(Mac([0, 0x1a, 7, 1, 2, 3])));
        let xiaomi = one("_miio._udp", "chuangmi-camera-ipc019_miio01020304", &[]);
        assert_eq!(
            (xiaomi.model.as_deref(), xiaomi.is_camera),
            (Some("chuangmi-camera-ipc019"), Some(true))
        );
        assert_eq!(
            one("_hap._tcp", "Lamp", &["ci=5", "md=L1"]).is_camera,
            Some(false)
        );
        assert_eq!(one("_hap._tcp", "Door", &["ci=18"]).is_camera, Some(true));
        assert_eq!(one("_http._tcp", "web", &[]).http_port, Some(80));
    }

    #[test]
    fn a_name_that_points_to_itself_ends() {
        let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12];
        bytes.resize(40, 0);
        assert!(decode(&bytes).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(facts in testing::facts()) {
            let label = format!("{} - {}", facts.model.as_deref().unwrap(), testing::mac_with(facts.mac.unwrap(), ""));
            let host = facts.name.clone().unwrap().replace('.', "-");
            let bytes = answer("_axis-video._tcp", &label, &[], &host, 80, testing::ipv4_bytes(&facts));
            let wanted = Facts {
                hostname: Some(host), name: Some(label), maker: Some("Axis".into()), firmware: None, serial: None, http_port: None, ..facts
            };
            assert_eq!(decode(&bytes), [wanted]);
        }

        #[test]
        fn no_bytes_panic(bytes in testing::bytes()) {
            let _ = decode(&bytes);
            let _ = decode(&[&[0, 0, 0x84, 0, 0, 0, 0, 9, 0, 0, 0, 9], bytes.as_slice()].concat());
            let mut real = answer("_axis-video._tcp", "a", &["b=c"], "d", 1, [1; 4]);
            for (at, byte) in bytes.iter().enumerate().take(4) {
                let place = (at * 97 + usize::from(*byte)) % real.len();
                real[place] ^= byte;
            }
            let _ = decode(&real);
        }
    }
}
