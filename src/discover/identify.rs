//! A device from all that was seen of it: what it answered, what its ports show, whom its MAC belongs
//! to. No login is sent.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use super::ask::Heard;
use super::early::Early;
use super::merge::Sightings;
use super::names::Names;
use super::scan::{Device, Plan};
use crate::detect::{Detector, Identity, anonymous, shown};
use crate::model::{Scheme, StreamUrl};
use crate::probe::http;
use crate::probe::net::open_ports;
use crate::vendor::{self, Catalogue, Hint, Maker, Strength};
use crate::wire::discovery::{Confidence, Facts, Method, ssdp};
use crate::wire::onvif::address::device_service;
use crate::wire::wsd::Match;

/// Longest look at one device.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// A port on the LAN answers within this.
const PORT_LIMIT: Duration = Duration::from_millis(1000);
/// Ports of one device's own answers that are looked at.
const PORTS_MAX: usize = 8;
/// A UPnP description: a few kilobytes, icons lie elsewhere.
const DESCRIPTION_BYTES_MAX: usize = 256 << 10;
const DESCRIPTION_LIMIT: Duration = Duration::from_secs(2);

/// Looks at a device, and says what it is.
pub async fn identify(
    detector: &Detector,
    mut seen: Sightings,
    plan: &Plan,
    names: &Names,
    early: &Early,
) -> Device {
    let ip = seen.host.address.ip();
    let host = dial_name(ip, seen.host.interface.as_deref());
    let deadline = Instant::now() + LOOK_LIMIT;
    if plan.tcp {
        Box::pin(look_for_ports(detector, &mut seen, plan)).await;
    }
    if plan.identify {
        Box::pin(describe(detector, &mut seen, &host, deadline)).await;
        let mut identity = Identity::new(None);
        note_heard(&mut identity, &detector.catalogue, &seen);
        let read = async {
            if !seen.host.open.is_empty() {
                let open = &seen.host.open;
                let mut asked = early.shown(ip).await;
                // Large, and most hosts of a site have no open port.
                Box::pin(identity.read(detector, ip, &host, open, deadline, &mut asked)).await;
            }
        };
        let name = async {
            match names.can_tell() {
                // Room for an answer, which most sites never need.
                true => Box::pin(names.of_host(ip)).await,
                false => None,
            }
        };
        let (name, ()) = tokio::join!(name, read);
        if let Some(name) = &name {
            note_name(&mut identity, &detector.catalogue, "dns", name);
        }
        let mut device = device(detector, seen, &host, identity);
        device.hostname = device.hostname.or(name);
        return device;
    }
    as_heard(detector, seen)
}

/// True where [`identify`] has a question to anybody; where it has none, [`as_heard`] says the same.
pub fn has_questions(seen: &Sightings, plan: &Plan, names: &Names) -> bool {
    let heard = |has: fn(&Facts) -> bool| seen.heard.iter().any(|heard| has(&heard.facts));
    let ports =
        plan.tcp && (!seen.was_swept || heard(|f| f.http_port.is_some() || f.onvif.is_some()));
    let looks = !seen.host.open.is_empty() || heard(|f| f.description_url.is_some());
    ports || plan.identify && (looks || names.can_tell())
}

/// What a device is by its own answers alone: nothing is asked.
pub fn as_heard(detector: &Detector, seen: Sightings) -> Device {
    let host = dial_name(seen.host.address.ip(), seen.host.interface.as_deref());
    let mut identity = Identity::new(None);
    note_heard(&mut identity, &detector.catalogue, &seen);
    device(detector, seen, &host, identity)
}

/// `fe80::1%eth0` where the address says nothing without its link.
pub(super) fn dial_name(ip: IpAddr, interface: Option<&str>) -> String {
    match (ip, interface) {
        (IpAddr::V6(v6), Some(interface)) if v6.is_unicast_link_local() => {
            format!("{ip}%{interface}")
        }
        _ => ip.to_string(),
    }
}

/// Ports that the sweep did not look at: those that the device names, and all of a device that was heard
/// and not swept.
async fn look_for_ports(detector: &Detector, seen: &mut Sightings, plan: &Plan) {
    if seen.host.off_subnet {
        // A connect would leave by the default route.
        return;
    }
    let ip = seen.host.address.ip();
    let link = plan
        .interfaces
        .iter()
        .find(|i| seen.host.interface.as_deref() == Some(i.name.as_str()));
    let named = named_ports(&seen.heard).into_iter().take(PORTS_MAX);
    let usual = plan.ports.iter().copied().filter(|_| !seen.was_swept);
    let mut ports: Vec<u16> = named
        .chain(usual)
        .filter(|port| !seen.host.open.contains(port))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let address = |port: &u16| match (ip, link) {
        (IpAddr::V6(ip), Some(link)) => SocketAddrV6::new(ip, *port, 0, link.index).into(),
        _ => SocketAddr::new(ip, *port),
    };
    let addresses: Vec<SocketAddr> = ports.iter().map(address).collect();
    let states = open_ports(&addresses, &detector.networks, PORT_LIMIT).await;
    let open = states.into_iter().filter(|(_, state)| state.is_ok());
    seen.host.open.extend(open.map(|(port, _)| port));
    seen.host.open.sort_unstable();
}

fn named_ports(heard: &[Heard]) -> Vec<u16> {
    let mut ports: Vec<u16> = heard
        .iter()
        .filter_map(|heard| heard.facts.http_port)
        .collect();
    let onvif = heard.iter().filter_map(|heard| heard.facts.onvif.as_ref());
    for address in onvif.flat_map(|answer| &answer.xaddrs) {
        if let Ok(parsed) = StreamUrl::parse(address) {
            ports.push(parsed.url.port);
        }
    }
    ports
}

/// Reads the UPnP description that the device itself points to; none of another host.
async fn describe(detector: &Detector, seen: &mut Sightings, host: &str, deadline: Instant) {
    if seen.host.off_subnet {
        return;
    }
    let ip = seen.host.address.ip();
    let place = seen.heard.iter().find_map(|heard| {
        let parsed = StreamUrl::parse(heard.facts.description_url.as_deref()?).ok()?;
        let is_own = parsed.url.host.parse() == Ok(ip) && parsed.url.scheme == Scheme::Http;
        is_own.then(|| (heard.clone(), parsed.url))
    });
    let Some((heard, url)) = place else { return };
    let remaining = deadline
        .saturating_duration_since(Instant::now())
        .min(DESCRIPTION_LIMIT);
    let mut target = anonymous(detector, Scheme::Http, host, url.port, remaining);
    target.url.path = url.path;
    let Some(document) = http::document(&target, DESCRIPTION_BYTES_MAX).await else {
        return;
    };
    if let Ok(facts) = ssdp::description(&document) {
        seen.heard.push(Heard { facts, ..heard });
    }
}

/// Takes every answer as evidence, the best founded first.
fn note_heard<'c>(identity: &mut Identity<'c>, catalogue: &'c Catalogue, seen: &Sightings) {
    for heard in &seen.heard {
        let (name, facts) = (heard.protocol.name, &heard.facts);
        if heard.protocol.method == Method::Dhcp {
            let called = facts.hostname.as_deref().unwrap_or_default();
            note_name(identity, catalogue, "dhcp", called);
            continue;
        }
        let hint = maker_of(catalogue, heard);
        identity.note(name, line(heard), hint);
        if let Some(mac) = facts.mac.filter(|mac| Some(*mac) != seen.host.mac) {
            identity.note("mac", format!("{name} mac {mac}"), catalogue.by_oui(mac.0));
        }
        if let Some(named) = facts
            .ip
            .filter(|named| *named != heard.sender.ip && !seen.also_at.contains(named))
        {
            identity
                .evidence
                .push(format!("{name}: calls itself {named}"));
        }
        if let Some(answer) = &facts.onvif {
            note_scopes(identity, catalogue, answer);
        }
    }
    for pair in seen.heard.windows(2) {
        let [a, b] = pair else { continue };
        if a.protocol == b.protocol
            && a.sender == b.sender
            && a.facts.mac.is_some()
            && b.facts.mac.is_some()
            && a.facts.mac != b.facts.mac
        {
            identity.evidence.push(format!(
                "{}: more than one device answers from {}",
                a.protocol.name, a.sender.ip
            ));
        }
    }
    if let Some(mac) = seen.host.mac {
        identity.note("mac", format!("mac {mac}"), catalogue.by_oui(mac.0));
        identity.mac = Some(mac.to_string());
    }
    for also in &seen.also_at {
        identity.evidence.push(format!("also at {also}"));
    }
    identity.evidence.extend(seen.host.evidence.iter().cloned());
}

/// A name is what somebody chose: it points to a maker and proves none.
fn note_name<'c>(
    identity: &mut Identity<'c>,
    catalogue: &'c Catalogue,
    source: &'static str,
    name: &str,
) {
    let strength = Strength::Weak;
    let hint = catalogue.by_vendor_name(name);
    let hint = hint.map(|hint| Hint { strength, ..hint });
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    identity.note(source, format!("{source} name \"{name}\""), hint);
}

/// Whom an answer points to. What any device of a house may say names nobody alone.
fn maker_of<'c>(catalogue: &'c Catalogue, heard: &Heard) -> Option<Hint<'c>> {
    let facts = &heard.facts;
    let named = facts
        .maker
        .as_deref()
        .and_then(|name| catalogue.by_vendor_name(name));
    let served = || {
        facts
            .server
            .as_deref()
            .and_then(|server| catalogue.by_vendor_name(server))
    };
    let spoken = || catalogue.named(heard.protocol.maker?);
    let maker = match named.or_else(served) {
        Some(hint) => hint.maker,
        None => spoken()?,
    };
    let strength = match (facts.is_camera, heard.protocol.confidence) {
        (Some(true), Confidence::Unverified) => Strength::Medium,
        (Some(true), _) => Strength::Strong,
        _ => Strength::Weak,
    };
    Some(Hint { maker, strength })
}

/// `sadp answer, model "DS-2CD2042WD", serial "..."`
fn line(heard: &Heard) -> String {
    let facts = &heard.facts;
    let texts = shown([
        ("maker", facts.maker.as_deref()),
        ("model", facts.model.as_deref()),
        ("firmware", facts.firmware.as_deref()),
        ("serial", facts.serial.as_deref()),
        ("name", facts.name.as_deref()),
        ("server", facts.server.as_deref()),
        ("id", facts.endpoint.as_deref()),
    ]);
    let channels = facts
        .channels
        .map(|n| format!(", {n} channels"))
        .unwrap_or_default();
    let state = match facts.is_activated {
        Some(false) => ", in factory state, without a password",
        _ => "",
    };
    let mark = match heard.protocol.confidence {
        Confidence::Unverified => " (unverified)",
        Confidence::Documented | Confidence::Recorded => "",
    };
    format!(
        "{} answer{texts}{channels}{state}{mark}",
        heard.protocol.name
    )
}

fn note_scopes<'c>(identity: &mut Identity<'c>, catalogue: &'c Catalogue, answer: &Match) {
    if let Some(name) = answer.scope("name") {
        let hint = catalogue.by_vendor_name(&name);
        identity.note("onvif", "onvif name".to_owned(), hint);
    }
    for scope in &answer.scopes {
        if let Some(hint) = catalogue.by_onvif_scope(scope) {
            identity.note("onvif", "onvif scope".to_owned(), Some(hint));
        }
    }
}

fn device(detector: &Detector, seen: Sightings, host: &str, identity: Identity<'_>) -> Device {
    let ip = seen.host.address.ip();
    let owner = seen
        .host
        .mac
        .and_then(|mac| detector.catalogue.by_oui(mac.0));
    let maker = identity.maker();
    let told = identity.information.clone();
    let heard = &seen.heard;
    let onvif = heard
        .iter()
        .filter_map(|heard| heard.facts.onvif.as_ref())
        .find(|answer| answer.is_onvif());
    let first = |field: fn(&Facts) -> Option<&String>| {
        heard.iter().find_map(|heard| field(&heard.facts)).cloned()
    };
    let found_by = found_by(&seen);
    let is_camera = is_camera(
        heard,
        onvif.is_some() || identity.onvif.is_some() || identity.speaks_rtsp,
        maker.is_some(),
    );
    let has_password = heard
        .iter()
        .any(|heard| heard.facts.is_activated == Some(true));
    Device {
        ip,
        addresses: seen.also_at,
        interface: seen.host.interface.as_deref().map(str::to_owned),
        off_subnet: seen.host.off_subnet,
        vendor: owner.map(|hint| hint.maker.name().to_owned()),
        manufacturer: maker.map(|m| m.name().to_owned()),
        manufacturer_id: maker.map(|m| m.id().to_owned()),
        // Some firmwares leave the word of the specification in its place.
        model: first(|facts| facts.model.as_ref().filter(|model| *model != "MODEL")).or(told.model),
        firmware_version: first(|facts| facts.firmware.as_ref()).or(told.firmware_version),
        serial_number: first(|facts| facts.serial.as_ref()).or(told.serial_number),
        hostname: first(|facts| facts.hostname.as_ref()),
        is_camera,
        confidence: identity.confidence(),
        is_onvif: onvif.is_some() || identity.onvif.is_some(),
        onvif_url: onvif
            .and_then(|answer| own_address(answer, ip))
            .or_else(|| Some(device_service(identity.onvif.as_ref()?).to_string())),
        rtsp_url: rtsp_url(detector, maker, host, &seen.host.open),
        needs_credentials: identity.asks_for_login || has_password,
        open_ports: seen.host.open,
        found_by,
        evidence: identity.evidence,
        mac: identity
            .mac
            .or_else(|| seen.host.mac.map(|mac| mac.to_string())),
        camera_id: None,
    }
}

/// Names of the methods that found it, the sweep first.
fn found_by(seen: &Sightings) -> Vec<&'static str> {
    let swept = Some(seen.host.found_by).filter(|_| seen.was_swept);
    let connected = Some("tcp").filter(|_| !seen.host.open.is_empty());
    let asked = seen.heard.iter().map(|heard| heard.protocol.method);
    let asked = asked
        .filter(|method| *method != Method::Dhcp)
        .map(Method::name);
    let mut all = Vec::new();
    for method in swept.into_iter().chain(connected).chain(asked) {
        if !all.contains(&method) {
            all.push(method);
        }
    }
    all
}

/// A device's own word that it is a camera or something else stands, unless it shows pictures.
fn is_camera(heard: &[Heard], shows_pictures: bool, has_maker: bool) -> bool {
    let mut said = heard
        .iter()
        .filter_map(|heard| heard.facts.is_camera)
        .peekable();
    let is_other = said.peek().is_some() && !said.clone().any(|is_camera| is_camera);
    let is_said = said.any(|is_camera| is_camera);
    is_said || shows_pictures || (has_maker && !is_other)
}

/// The device's service at the address that answered; devices list others too.
fn own_address(answer: &Match, ip: IpAddr) -> Option<String> {
    let is_own = |address: &&str| {
        let parsed = StreamUrl::parse(address).ok();
        parsed.is_some_and(|parsed| parsed.url.host.parse() == Ok(ip))
    };
    let own = answer.services().find(is_own);
    own.or(answer.services().next()).map(str::to_owned)
}

/// The maker's main stream, where its port is open and it needs no login in the path.
fn rtsp_url(
    detector: &Detector,
    maker: Option<Maker<'_>>,
    host: &str,
    open: &[u16],
) -> Option<String> {
    if open.is_empty() {
        // Most hosts of a site: the maker's paths are not written out for nothing.
        return None;
    }
    let site = vendor::Site {
        ip: host,
        channel: 1,
        ports: open,
    };
    let is_open = |c: &vendor::Candidate| open.contains(&c.url.port);
    let catalogue = &detector.catalogue;
    let first = catalogue.first_candidate(maker?, &site, &[Scheme::Rtsp], is_open)?;
    (!first.url.has_placeholders()).then(|| first.url.to_string())
}

#[cfg(test)]
mod tests;
