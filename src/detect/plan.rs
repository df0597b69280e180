//! Which ports to look at and which URLs to try, likeliest first.

use std::collections::BTreeSet;

use super::DetectRequest;
use super::engine::is_detectable;
use crate::model::{ConnectionType, Scheme, StreamRole};
use crate::vendor::{self, Candidate, Catalogue, Maker, Service};

/// Ports where cameras put their streams, commonest first.
const RTSP_PORTS: [u16; 6] = [554, 8554, 5554, 10554, 7070, 6554];
const RTSPS_PORTS: [u16; 3] = [322, 8322, 7441];
const RTMP_PORTS: [u16; 1] = [1935];
const HTTP_PORTS: [u16; 6] = [80, 8080, 88, 81, 8081, 8000];
const HTTPS_PORTS: [u16; 2] = [443, 8443];
/// Where ONVIF has a port of its own: Xiongmai and V380, Tapo.
const ONVIF_PORTS: [u16; 2] = [8899, 2020];

/// What usually answers on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    Rtsp(Scheme),
    Rtmp,
    /// Its pages; on most cameras ONVIF too.
    Http(Scheme),
    Onvif,
    Unknown,
}

pub fn port_kind(port: u16) -> PortKind {
    match port {
        p if RTSP_PORTS.contains(&p) => PortKind::Rtsp(Scheme::Rtsp),
        p if RTSPS_PORTS.contains(&p) => PortKind::Rtsp(Scheme::Rtsps),
        p if RTMP_PORTS.contains(&p) => PortKind::Rtmp,
        p if HTTP_PORTS.contains(&p) => PortKind::Http(Scheme::Http),
        p if HTTPS_PORTS.contains(&p) => PortKind::Http(Scheme::Https),
        p if ONVIF_PORTS.contains(&p) => PortKind::Onvif,
        _ => PortKind::Unknown,
    }
}

/// The ports to look at: the given ones, else the maker's and the usual ones.
pub fn ports(given: &[u16], maker: Option<Maker<'_>>) -> Vec<u16> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let usual = [
        &RTSP_PORTS[..],
        &RTSPS_PORTS,
        &HTTP_PORTS,
        &HTTPS_PORTS,
        &RTMP_PORTS,
        &ONVIF_PORTS,
    ]
    .concat();
    let services = [
        Service::Rtsp,
        Service::Rtsps,
        Service::Http,
        Service::Https,
        Service::Rtmp,
        Service::Hls,
        Service::Webrtc,
        Service::Onvif,
    ];
    let of_maker = maker
        .into_iter()
        .flat_map(|m| services.into_iter().flat_map(move |s| m.ports(s)));
    let mut seen = BTreeSet::new();
    of_maker
        .chain(usual)
        .filter(|port| seen.insert(*port))
        .collect()
}

/// Every URL worth trying on the open ports, likeliest first: the maker's own, then the generic ones;
/// streams before stills, main streams before others.
pub fn candidates(
    catalogue: &Catalogue,
    maker: Option<Maker<'_>>,
    request: &DetectRequest,
    host: &str,
    open: &[u16],
) -> Vec<Candidate> {
    if open.is_empty() {
        return Vec::new();
    }
    let site = vendor::Site {
        ip: host,
        channel: request.channel,
        ports: open,
    };
    let own = maker
        .and_then(|maker| catalogue.candidates(Some(maker), &site).ok())
        .unwrap_or_default();
    let generic = catalogue.generic_candidates(&site).unwrap_or_default();
    let known = own.len();
    let mut seen = BTreeSet::new();
    let mut plan: Vec<(u8, Candidate)> = own
        .into_iter()
        .chain(generic)
        .enumerate()
        .filter(|(_, found)| open.contains(&found.url.port) && wanted(found, request))
        // The device's own answers stand for its ONVIF service.
        .filter(|(_, found)| found.connection_type != ConnectionType::Onvif)
        .filter(|(_, found)| seen.insert(found.url.to_string()))
        .map(|(order, found)| (round(&found, order < known), found))
        .collect();
    // Stable: the catalogue's own order decides within a round.
    plan.sort_by_key(|(round, _)| *round);
    plan.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Which round a candidate belongs to: streams before stills, the maker's own before the generic.
fn round(candidate: &Candidate, is_own: bool) -> u8 {
    let generic = u8::from(!is_own);
    let is_rtsp = candidate.connection_type == ConnectionType::Rtsp;
    match candidate.role {
        // A login in a path or query can be read on the way and is judged by its own rules: last.
        _ if candidate.url.has_placeholders() && !is_own => 8,
        StreamRole::Main | StreamRole::Any if is_rtsp => generic,
        StreamRole::Main | StreamRole::Any => 2 + generic,
        StreamRole::Snapshot => 6 + generic,
        _ => 4 + generic,
    }
}

fn wanted(candidate: &Candidate, request: &DetectRequest) -> bool {
    let method = candidate.connection_type;
    is_detectable(method) && (request.methods.is_empty() || request.methods.contains(&method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> DetectRequest {
        DetectRequest {
            ip: "10.0.0.9".parse().unwrap(),
            zone: None,
            credentials: vec![],
            onvif_login: None,
            manufacturer: None,
            ports: vec![],
            methods: vec![],
            timeout_ms: 15_000,
            channel: 1,
            cleartext_login: true,
        }
    }

    fn plan(maker: Option<&str>, open: &[u16]) -> Vec<String> {
        let catalogue = Catalogue::builtin();
        let maker = maker.map(|m| catalogue.find(m).unwrap());
        candidates(&catalogue, maker, &request(), "10.0.0.9", open)
            .iter()
            .map(|c| c.url.to_string())
            .collect()
    }

    #[test]
    fn the_makers_main_stream_comes_first() {
        let urls = plan(Some("hikvision"), &[80, 554]);
        assert_eq!(urls[0], "rtsp://10.0.0.9:554/Streaming/Channels/101");
        assert!(urls.iter().all(|u| u.starts_with("rtsp://10.0.0.9:554/") || u.starts_with("http://10.0.0.9/")));
    }

    #[test]
    fn only_open_ports_are_tried_and_odd_ones_too() {
        assert!(plan(None, &[]).is_empty());
        let urls = plan(Some("dahua"), &[8554]);
        assert_eq!(
            urls[0],
            "rtsp://10.0.0.9:8554/cam/realmonitor?channel=1&subtype=0"
        );
        let encrypted = plan(Some("axis"), &[554, 322]);
        assert!(encrypted.contains(&"rtsps://10.0.0.9:322/axis-media/media.amp".to_owned()));
    }

    #[test]
    fn rtmp_and_flv_of_the_maker_are_tried_behind_rtsp() {
        let urls = plan(Some("reolink"), &[80, 443, 554, 1935]);
        let place = |start: &str| urls.iter().position(|u| u.starts_with(start));
        let rtsp = place("rtsp://10.0.0.9:554/Preview_01_main").unwrap();
        let rtmp = place("rtmp://10.0.0.9/bcs/channel0_main.bcs?").unwrap();
        assert!(rtsp < rtmp, "{urls:?}");
        for flv in ["http://10.0.0.9/flv?", "https://10.0.0.9/flv?"] {
            assert!(place(flv).is_some(), "{flv}: {urls:?}");
        }
        assert_eq!(port_kind(1935), PortKind::Rtmp);
    }

    #[test]
    fn hls_and_webrtc_of_the_maker_are_tried_behind_rtsp() {
        let catalogue = Catalogue::builtin();
        let maker = catalogue.find("raspberry_pi").unwrap();
        let known = ports(&[], Some(maker));
        assert!(known.contains(&8888) && known.contains(&8889), "{known:?}");
        let urls = plan(Some("raspberry_pi"), &[8554, 8888, 8889]);
        let place = |start: &str| urls.iter().position(|u| u.starts_with(start));
        let rtsp = place("rtsp://10.0.0.9:8554/").unwrap();
        let hls = place("http://10.0.0.9:8888/").unwrap();
        assert!(rtsp < hls, "{urls:?}");
        let whep = place("whep+http://10.0.0.9:8889/");
        assert_eq!(whep.is_some(), cfg!(feature = "webrtc"), "{urls:?}");
    }

    #[test]
    fn given_ports_replace_the_usual_ones() {
        assert_eq!(ports(&[9554], None), [9554]);
        let usual = ports(&[], None);
        assert_eq!((usual[0], usual.len()), (554, 20));
    }

    #[test]
    fn no_url_is_tried_twice() {
        let urls = plan(Some("hikvision"), &[80, 443, 554, 8554]);
        let unique: BTreeSet<_> = urls.iter().collect();
        assert_eq!(unique.len(), urls.len());
    }
}
