//! Every protocol of discovery, one line each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use super::{
    Facts, bosch, dahua, dhcp, foscam, gvcp, hanwha, mdns, miio, panasonic, pppp, reolink, sadp,
    sony, ssdp, tplink, tvt, ubiquiti, v380, vivotek, vstarcam, xmeye,
};
use crate::model::Mac;
use crate::wire::wsd;

/// The family that a protocol belongs to, as `methods` and `found_by` of the API name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    WsDiscovery,
    Ssdp,
    Mdns,
    Vendor,
    /// Heard in passing, never asked.
    Dhcp,
}

impl Method {
    pub const ALL: [Self; 4] = [Self::WsDiscovery, Self::Ssdp, Self::Mdns, Self::Vendor];

    pub fn name(self) -> &'static str {
        match self {
            Self::WsDiscovery => "ws_discovery",
            Self::Ssdp => "ssdp",
            Self::Mdns => "mdns",
            Self::Vendor => "vendor",
            Self::Dhcp => "dhcp",
        }
    }
}

/// How well a codec is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// A public standard or the maker's document describes it.
    Documented,
    /// Working clients speak it, and it was checked against recorded answers.
    Recorded,
    /// Known from clients alone; what it finds is marked in the evidence.
    Unverified,
}

/// Where a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Group(Ipv4Addr, u16),
    /// On the link of one interface.
    GroupV6(Ipv6Addr, u16),
    /// To all of the link, and to each network of it.
    Broadcast(u16),
    /// Nothing is sent here: devices send their answers to it.
    AnswerGroup(Ipv4Addr),
}

/// Who asks; some questions name it.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// New for each question; it is given back by some devices.
    pub id: Uuid,
    pub ip: IpAddr,
    pub mac: Mac,
    /// Port that answers are read from.
    pub port: u16,
}

/// One line of the table.
#[derive(Debug)]
pub struct Protocol {
    /// As in `discovery.native` of the catalogue.
    pub name: &'static str,
    pub method: Method,
    pub confidence: Confidence,
    /// Catalogue id of who made it; an answer may name another brand.
    pub maker: Option<&'static str>,
    pub to: &'static [Destination],
    /// Port that devices answer to; 0 where they answer to whatever port asked. Groups of `to` are
    /// listened to on it.
    pub from: u16,
    /// The questions; each is one datagram.
    pub encode: fn(&Asker) -> Vec<Vec<u8>>,
    /// The devices of one datagram; none for what is not an answer.
    pub decode: fn(&[u8]) -> Vec<Facts>,
}

impl Protocol {
    /// The first line.
    pub fn ws_discovery() -> &'static Self {
        &PROTOCOLS[0]
    }

    /// Whose word about model and firmware counts first: the maker's own protocol knows best.
    pub fn rank(&self) -> u8 {
        match (self.confidence, self.method) {
            (Confidence::Unverified, _) => 4,
            (_, Method::Vendor) => 0,
            (_, Method::WsDiscovery) => 1,
            (_, Method::Mdns) => 2,
            (_, Method::Ssdp) => 3,
            (_, Method::Dhcp) => 5,
        }
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

use Confidence::{Documented, Recorded, Unverified};
use Destination::{AnswerGroup, Broadcast, Group, GroupV6};
use Method::{Mdns, Ssdp, Vendor, WsDiscovery};

/// What devices call themselves when they ask for an address; it finds none, and names those that are
/// found.
pub static DHCP: Protocol = Protocol {
    name: "dhcp",
    method: Method::Dhcp,
    confidence: Documented,
    maker: None,
    to: &[],
    from: 0,
    encode: |_| Vec::new(),
    decode: dhcp::decode,
};

/// All protocols, those that find most first.
#[rustfmt::skip]
pub static PROTOCOLS: [Protocol; 24] = [
    Protocol { name: "ws_discovery", method: WsDiscovery, confidence: Documented, maker: None, from: 0, to: &[Group(wsd::GROUP_V4, wsd::PORT), GroupV6(wsd::GROUP_V6, wsd::PORT)], encode: probes, decode: matches },
    Protocol { name: "ssdp", method: Ssdp, confidence: Documented, maker: None, from: 0, to: &[Group(ssdp::GROUP, ssdp::PORT), GroupV6(ssdp::GROUP_V6, ssdp::PORT)], encode: searches, decode: |d| one(ssdp::decode(d)) },
    Protocol { name: "mdns", method: Mdns, confidence: Documented, maker: None, from: 0, to: &[Group(mdns::GROUP, mdns::PORT), GroupV6(mdns::GROUP_V6, mdns::PORT)], encode: |_| vec![mdns::query()], decode: mdns::decode },
    Protocol { name: "sadp", method: Vendor, confidence: Recorded, maker: Some("hikvision"), from: sadp::PORT, to: &[Group(wsd::GROUP_V4, sadp::PORT), Broadcast(sadp::PORT)], encode: |a| vec![sadp::query(a.id)], decode: |d| one(sadp::decode(d)) },
    Protocol { name: "dhip", method: Vendor, confidence: Recorded, maker: Some("dahua"), from: dahua::PORT, to: &[Group(dahua::GROUP, dahua::PORT), Broadcast(dahua::PORT)], encode: |_| vec![dahua::query()], decode: |d| one(dahua::decode(d)) },
    Protocol { name: "sunapi", method: Vendor, confidence: Recorded, maker: Some("hanwha"), from: hanwha::ANSWER_PORT, to: &[Broadcast(hanwha::PORT)], encode: |_| hanwha::queries().into(), decode: |d| one(hanwha::decode(d)) },
    Protocol { name: "ubnt", method: Vendor, confidence: Recorded, maker: Some("ubiquiti"), from: ubiquiti::PORT, to: &[Group(ubiquiti::GROUP, ubiquiti::PORT), Broadcast(ubiquiti::PORT)], encode: |_| ubiquiti::queries().into(), decode: |d| one(ubiquiti::decode(d)) },
    Protocol { name: "tdp", method: Vendor, confidence: Unverified, maker: None, from: 0, to: &[Broadcast(tplink::TDP_PORTS[0]), Broadcast(tplink::TDP_PORTS[1])], encode: tdp, decode: |d| one(tplink::tdp_decode(d)) },
    Protocol { name: "kasa_xor", method: Vendor, confidence: Unverified, maker: None, from: 0, to: &[Broadcast(tplink::KASA_PORT)], encode: |_| vec![tplink::kasa_query()], decode: |d| one(tplink::kasa_decode(d)) },
    Protocol { name: "xm", method: Vendor, confidence: Documented, maker: Some("xiongmai"), from: xmeye::PORT, to: &[Broadcast(xmeye::PORT)], encode: |_| vec![xmeye::query()], decode: |d| one(xmeye::decode(d)) },
    Protocol { name: "reolink", method: Vendor, confidence: Unverified, maker: Some("reolink"), from: reolink::ANSWER_PORT, to: &[Broadcast(reolink::PORT)], encode: |_| vec![reolink::query()], decode: |d| one(reolink::decode(d)) },
    Protocol { name: "baichuan", method: Vendor, confidence: Recorded, maker: Some("reolink"), from: 0, to: &[Broadcast(reolink::FRAMED_PORTS[0]), Broadcast(reolink::FRAMED_PORTS[1])], encode: |a| vec![reolink::framed_query(a.port)], decode: |d| one(reolink::framed_decode(d)) },
    Protocol { name: "dahua_v1", method: Vendor, confidence: Recorded, maker: Some("dahua"), from: dahua::OLD_PORT, to: &[Broadcast(dahua::OLD_PORT)], encode: |_| vec![dahua::old_query()], decode: |d| one(dahua::old_decode(d)) },
    Protocol { name: "mo_i", method: Vendor, confidence: Recorded, maker: Some("foscam"), from: foscam::PORT, to: &[Broadcast(foscam::PORT)], encode: |_| vec![foscam::query()], decode: |d| one(foscam::decode(d)) },
    Protocol { name: "vstarcam", method: Vendor, confidence: Documented, maker: Some("vstarcam"), from: vstarcam::PORT, to: &[Broadcast(vstarcam::PORT)], encode: |_| vec![vstarcam::query()], decode: |d| one(vstarcam::decode(d)) },
    Protocol { name: "vivotek", method: Vendor, confidence: Recorded, maker: Some("vivotek"), from: 0, to: &[Broadcast(vivotek::PORT)], encode: |a| vec![vivotek::query(a.id.as_bytes()[15])], decode: |d| one(vivotek::decode(d)) },
    Protocol { name: "bosch", method: Vendor, confidence: Recorded, maker: Some("bosch"), from: bosch::ANSWER_PORT, to: &[Broadcast(bosch::PORT)], encode: |a| vec![bosch::query(last(a))], decode: |d| one(bosch::decode(d)) },
    Protocol { name: "panasonic", method: Vendor, confidence: Recorded, maker: Some("panasonic"), from: panasonic::ANSWER_PORT, to: &[Broadcast(panasonic::PORT)], encode: panasonic, decode: |d| one(panasonic::decode(d)) },
    Protocol { name: "sony", method: Vendor, confidence: Documented, maker: Some("sony"), from: 0, to: &[Broadcast(sony::PORT)], encode: |_| vec![sony::query()], decode: |d| one(sony::decode(d)) },
    Protocol { name: "gvcp", method: Vendor, confidence: Documented, maker: None, from: 0, to: &[Broadcast(gvcp::PORT)], encode: |_| vec![gvcp::query()], decode: |d| one(gvcp::decode(d)) },
    Protocol { name: "miio", method: Vendor, confidence: Unverified, maker: Some("xiaomi"), from: 0, to: &[Broadcast(miio::PORT)], encode: |_| vec![miio::query()], decode: |d| one(miio::decode(d)) },
    Protocol { name: "pppp", method: Vendor, confidence: Unverified, maker: None, from: 0, to: &[Broadcast(pppp::PORT)], encode: |_| pppp::queries().into(), decode: |d| one(pppp::decode(d)) },
    Protocol { name: "v380", method: Vendor, confidence: Unverified, maker: Some("v380"), from: v380::ANSWER_PORT, to: &[Broadcast(v380::PORT)], encode: |_| vec![v380::query()], decode: |d| one(v380::decode(d)) },
    Protocol { name: "mhed", method: Vendor, confidence: Unverified, maker: Some("tvt"), from: tvt::PORT, to: &[Group(tvt::GROUP, tvt::PORT), AnswerGroup(tvt::ANSWER_GROUP)], encode: |_| vec![tvt::query()], decode: |d| one(tvt::decode(d)) },
];

fn one(facts: Option<Facts>) -> Vec<Facts> {
    facts.into_iter().collect()
}

/// For cameras, and for whatever is there: some devices answer only one of the two.
fn probes(asker: &Asker) -> Vec<Vec<u8>> {
    let other = Uuid::from_u128(asker.id.as_u128() ^ 1);
    [(asker.id, true), (other, false)]
        .map(|(id, typed)| wsd::probe(id, typed).into_bytes())
        .into()
}

fn matches(datagram: &[u8]) -> Vec<Facts> {
    // What is no WS-Discovery on this port is nobody's device.
    let all = wsd::parse(datagram).unwrap_or_default();
    all.into_iter()
        .filter(|m| !m.is_bye)
        .map(Facts::from)
        .collect()
}

fn searches(asker: &Asker) -> Vec<Vec<u8>> {
    let host = match asker.ip {
        IpAddr::V4(_) => ssdp::GROUP.to_string(),
        IpAddr::V6(_) => format!("[{}]", ssdp::GROUP_V6),
    };
    ssdp::queries(&host).into()
}

fn tdp(asker: &Asker) -> Vec<Vec<u8>> {
    tplink::tdp_queries(last(asker)).into()
}

fn panasonic(asker: &Asker) -> Vec<Vec<u8>> {
    match asker.ip {
        IpAddr::V4(ip) => vec![panasonic::query(asker.mac, ip)],
        IpAddr::V6(_) => vec![],
    }
}

/// Four bytes that differ from question to question.
fn last(asker: &Asker) -> [u8; 4] {
    let [.., a, b, c, d] = *asker.id.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing;
    use super::*;
    use crate::vendor::Catalogue;

    const ASKER: Asker = Asker {
        id: Uuid::from_u128(7),
        ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
        mac: testing::MAC,
        port: 40_000,
    };

    #[test]
    fn names_are_unique_and_makers_are_in_the_catalogue() {
        let names: BTreeSet<&str> = PROTOCOLS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PROTOCOLS.len());
        assert_eq!(Protocol::ws_discovery().name, "ws_discovery");
        let catalogue = Catalogue::builtin();
        for maker in PROTOCOLS.iter().filter_map(|p| p.maker) {
            assert_eq!(catalogue.find(maker).map(|m| m.id()), Ok(maker));
        }
    }

    #[test]
    fn questions_fit_in_one_frame_and_are_nobodys_answer() {
        for protocol in &PROTOCOLS {
            assert_eq!(
                (protocol.encode)(&ASKER).is_empty(),
                protocol.to.is_empty(),
                "{}",
                protocol.name
            );
            for question in (protocol.encode)(&ASKER) {
                assert!(question.len() < 1200, "{}", protocol.name);
                for other in &PROTOCOLS {
                    assert_eq!(
                        (other.decode)(&question),
                        [],
                        "{} read by {}",
                        protocol.name,
                        other.name
                    );
                }
            }
        }
    }
}
