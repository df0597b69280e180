//! What to try on a device, in order.

use super::catalogue::Catalogue;
use super::maker::Maker;
use super::tables::{Evidence, Service, Slot};
use super::template::{Place, Template, service};
use crate::model::{ConnectionType, Scheme, StreamRole, StreamUrl, UrlError};

/// Most candidates in one list.
const CANDIDATES_MAX: usize = 96;
/// Most ports that one template is tried on.
const PORTS_PER_TEMPLATE_MAX: usize = 3;
/// Ports on which RTSP is met, whoever made the device.
const RTSP_PORTS: [u16; 10] = [554, 8554, 10554, 5554, 7070, 8557, 6554, 88, 7447, 1554];
const RTSPS_PORTS: [u16; 3] = [322, 8322, 7441];
const HTTP_PORTS: [u16; 8] = [80, 8080, 81, 88, 8081, 8000, 8082, 8888];
const HTTPS_PORTS: [u16; 2] = [443, 8443];
/// Ports that belong to another protocol: never a stream or a web page.
const OTHER_PORTS: [u16; 12] = [
    21, 22, 23, 53, 139, 445, 1883, 1935, 8883, 9000, 34567, 37777,
];

/// The device to make candidates for.
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// Address or host name.
    pub ip: &'s str,
    /// From 1.
    pub channel: u32,
    /// Ports that are open or that the operator named; empty = not known.
    pub ports: &'s [u16],
}

/// One URL to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Logins in path or query are placeholders.
    pub url: StreamUrl,
    pub role: StreamRole,
    pub connection_type: ConnectionType,
    pub evidence: Evidence,
    /// `None` for a path from the list for unknown makers.
    pub maker_id: Option<String>,
    /// Place in its list, from 0.
    pub order: u16,
}

impl Catalogue {
    /// The maker's own URLs, those for unknown makers when there is none: best known first, then main
    /// streams before others, RTSP before HTTP. No URL stands twice; at most 96.
    ///
    /// # Errors
    /// [`UrlError`] for a host that is none.
    pub fn candidates(
        &self,
        maker: Option<Maker<'_>>,
        site: &Site<'_>,
    ) -> Result<Vec<Candidate>, UrlError> {
        match maker {
            Some(maker) => collect(maker.templates(), site),
            None => self.generic_candidates(site),
        }
    }

    /// The first of the maker's candidates of this scheme that `is_wanted`; only so many are written out.
    pub fn first_candidate(
        &self,
        maker: Maker<'_>,
        site: &Site<'_>,
        schemes: &[Scheme],
        is_wanted: impl Fn(&Candidate) -> bool,
    ) -> Option<Candidate> {
        for template in ordered(maker.templates()) {
            let doors = doors(&template, site.ports).into_iter();
            for (scheme, port) in doors.filter(|(scheme, _)| schemes.contains(scheme)) {
                let found = candidate(&template, site, scheme, port, 0).ok().flatten();
                if let Some(found) = found.filter(&is_wanted) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// URLs for a device whose maker is unknown, the likeliest first.
    ///
    /// # Errors
    /// [`UrlError`] for a host that is none.
    pub fn generic_candidates(&self, site: &Site<'_>) -> Result<Vec<Candidate>, UrlError> {
        collect(self.generic_templates().collect(), site)
    }
}

/// Those that can be tried, the best first.
fn ordered(mut templates: Vec<Template<'_>>) -> Vec<Template<'_>> {
    templates.retain(is_spoken);
    // Stable: the order of the entry decides among equals.
    templates.sort_by_key(|t| (t.evidence(), rank(t.role()), t.slot()));
    templates
}

fn collect(templates: Vec<Template<'_>>, site: &Site<'_>) -> Result<Vec<Candidate>, UrlError> {
    let mut out: Vec<Candidate> = Vec::new();
    for template in ordered(templates) {
        for (scheme, port) in doors(&template, site.ports) {
            let Some(candidate) = candidate(&template, site, scheme, port, out.len())? else {
                continue;
            };
            let is_new = !out.iter().any(|known| known.url == candidate.url);
            if out.len() < CANDIDATES_MAX && is_new {
                out.push(candidate);
            }
        }
    }
    Ok(out)
}

/// The template written out for one door; `None` where the site lacks what it needs.
fn candidate(
    template: &Template<'_>,
    site: &Site<'_>,
    scheme: Scheme,
    port: u16,
    order: usize,
) -> Result<Option<Candidate>, UrlError> {
    let place = Place {
        ip: site.ip,
        port: Some(port),
        channel: site.channel,
        profile: None,
        scheme: Some(scheme),
    };
    let url = template.expand(&place)?;
    Ok(url.map(|url| Candidate {
        connection_type: url.connection_type(),
        url,
        role: template.role(),
        evidence: template.evidence(),
        maker_id: template.maker().map(|maker| maker.id().to_owned()),
        order: u16::try_from(order).unwrap_or(u16::MAX),
    }))
}

/// Formats for which there is a way to prove a picture; a login is not sent for others.
fn is_spoken(template: &Template<'_>) -> bool {
    matches!(
        template.kind(),
        "" | "mjpeg" | "hls" | "webrtc" | "rtmp" | "flv"
    )
}

/// Main streams first; `any` counts as main.
fn rank(role: StreamRole) -> StreamRole {
    match role {
        StreamRole::Any => StreamRole::Main,
        role => role,
    }
}

/// Schemes and ports to try one template on, the likeliest first.
fn doors(template: &Template<'_>, open: &[u16]) -> Vec<(Scheme, u16)> {
    let Some(scheme) = template.scheme() else {
        return Vec::new();
    };
    if !template.takes_port() {
        return vec![(scheme, 0)];
    }
    if open.is_empty() {
        return vec![(scheme, template.default_port())];
    }
    let mut doors: Vec<(Scheme, u16)> = Vec::new();
    let is_flv = template.kind() == "flv";
    // An old device may serve its MJPEG in clear only, a current one under TLS only.
    let schemes = match (scheme, template.slot()) {
        (Scheme::Rtsp, _) => vec![Scheme::Rtsp, Scheme::Rtsps],
        (Scheme::Http, Slot::HttpStream | Slot::Snapshot) => vec![Scheme::Http, Scheme::Https],
        (Scheme::Http, _) if is_flv => vec![Scheme::Http, Scheme::Https],
        (other, _) => vec![other],
    };
    for scheme in schemes {
        let ports = usual_ports(template, scheme);
        let mut found: Vec<u16> = ports
            .into_iter()
            .filter(|port| open.contains(port))
            .collect();
        if found.is_empty() && matches!(scheme, Scheme::Rtsp | Scheme::Http) {
            // An odd port: it may be anything that is not somebody else's.
            found = open
                .iter()
                .copied()
                .filter(|port| !is_known_elsewhere(*port, scheme))
                .collect();
        }
        found.dedup();
        found.truncate(PORTS_PER_TEMPLATE_MAX);
        doors.extend(found.into_iter().map(|port| (scheme, port)));
    }
    if doors.is_empty() {
        doors.push((scheme, template.default_port()));
    }
    doors
}

/// The template's own port, the maker's, then those where the protocol is met.
fn usual_ports(template: &Template<'_>, scheme: Scheme) -> Vec<u16> {
    let mut ports = Vec::new();
    if template.scheme() == Some(scheme) {
        ports.push(template.default_port());
    }
    if let Some(maker) = template.maker() {
        ports.extend(maker.ports(service(scheme)));
    }
    let met: &[u16] = match service(scheme) {
        Service::Rtsp => &RTSP_PORTS,
        Service::Rtsps => &RTSPS_PORTS,
        Service::Http => &HTTP_PORTS,
        Service::Https => &HTTPS_PORTS,
        _ => &[],
    };
    // 88 is Foscam's alone and speaks both.
    ports.extend(
        met.iter()
            .filter(|port| **port != 88 || scheme == Scheme::Http),
    );
    let mut unique = Vec::with_capacity(ports.len());
    for port in ports {
        if !unique.contains(&port) {
            unique.push(port);
        }
    }
    unique
}

/// Does everybody run another protocol on this port?
fn is_known_elsewhere(port: u16, scheme: Scheme) -> bool {
    let others: [&[u16]; 2] = match scheme {
        Scheme::Rtsp => [&HTTP_PORTS, &RTSPS_PORTS],
        _ => [&RTSP_PORTS, &RTSPS_PORTS],
    };
    let fixed: [&[u16]; 2] = [&HTTPS_PORTS, &OTHER_PORTS];
    others
        .into_iter()
        .chain(fixed)
        .any(|list| list.contains(&port))
}

/// Is this port one that the maker, or everybody, uses for web pages?
pub(super) fn is_web_port(maker: Maker<'_>, port: u16) -> bool {
    let own = maker
        .ports(Service::Http)
        .chain(maker.ports(Service::Https));
    own.chain(HTTP_PORTS)
        .chain(HTTPS_PORTS)
        .any(|known| known == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(maker: &str, channel: u32, ports: &[u16]) -> Vec<String> {
        let catalogue = Catalogue::builtin();
        let maker = catalogue.find(maker).unwrap();
        let site = Site {
            ip: "10.0.0.5",
            channel,
            ports,
        };
        let found = catalogue.candidates(Some(maker), &site).unwrap();
        found.iter().map(|c| c.url.to_string()).collect()
    }

    #[test]
    fn the_best_known_main_stream_comes_first() {
        let list = texts("hikvision", 1, &[]);
        assert_eq!(list[0], "rtsp://10.0.0.5:554/Streaming/Channels/101");
        assert_eq!(list[1], "rtsp://10.0.0.5:554/Streaming/Channels/102");
        assert!(list.last().unwrap().contains("httpPreview"), "{list:?}");
        assert_eq!(
            texts("axis", 1, &[])[0],
            "rtsp://10.0.0.5:554/axis-media/media.amp"
        );
        assert_eq!(
            texts("hikvision", 2, &[])[0],
            "rtsp://10.0.0.5:554/Streaming/Channels/201"
        );
    }

    #[test]
    fn the_first_of_a_scheme_is_the_one_of_the_list() {
        let catalogue = Catalogue::builtin();
        for maker in catalogue.makers() {
            for ports in [&[554, 80, 8000][..], &[80], &[8554, 8080, 322]] {
                let site = Site {
                    ip: "10.0.0.5",
                    channel: 1,
                    ports,
                };
                let is_wanted = |c: &Candidate| ports.contains(&c.url.port);
                let first = catalogue.first_candidate(maker, &site, &[Scheme::Rtsp], is_wanted);
                let list = catalogue.candidates(Some(maker), &site).unwrap();
                let listed = list
                    .iter()
                    .find(|c| c.url.scheme == Scheme::Rtsp && is_wanted(c));
                assert_eq!(
                    first.map(|c| c.url),
                    listed.map(|c| c.url.clone()),
                    "{}",
                    maker.id()
                );
            }
        }
    }

    #[test]
    fn order_is_evidence_then_role() {
        let catalogue = Catalogue::builtin();
        for maker in catalogue.makers() {
            let site = Site {
                ip: "10.0.0.5",
                channel: 1,
                ports: &[],
            };
            let list = catalogue.candidates(Some(maker), &site).unwrap();
            let keys: Vec<_> = list.iter().map(|c| (c.evidence, rank(c.role))).collect();
            assert!(keys.is_sorted(), "{}: {keys:?}", maker.id());
            assert!(
                list.iter()
                    .enumerate()
                    .all(|(i, c)| usize::from(c.order) == i)
            );
            let mut urls: Vec<_> = list.iter().map(|c| &c.url).collect();
            urls.sort();
            urls.dedup();
            assert_eq!(urls.len(), list.len(), "{}", maker.id());
        }
    }

    #[test]
    fn open_ports_choose_the_door() {
        let odd = texts("axis", 1, &[40001]);
        assert_eq!(odd[0], "rtsp://10.0.0.5:40001/axis-media/media.amp");
        assert!(
            odd.contains(&"http://10.0.0.5:40001/axis-cgi/jpg/image.cgi".to_owned()),
            "{odd:?}"
        );
        let moved = texts("axis", 1, &[8554, 8080]);
        assert_eq!(moved[0], "rtsp://10.0.0.5:8554/axis-media/media.amp");
        assert!(moved.contains(&"http://10.0.0.5:8080/mjpg/video.mjpg".to_owned()));
        let tls = texts("axis", 1, &[322, 443]);
        assert_eq!(tls[0], "rtsps://10.0.0.5:322/axis-media/media.amp");
        assert!(
            tls.contains(&"https://10.0.0.5/axis-cgi/jpg/image.cgi".to_owned()),
            "{tls:?}"
        );
        let web_only = texts("hikvision", 1, &[80]);
        assert!(web_only.contains(&"rtsp://10.0.0.5:554/Streaming/Channels/101".to_owned()));
        assert!(
            !web_only
                .iter()
                .any(|url| url.starts_with("rtsp://10.0.0.5:80"))
        );
    }

    #[test]
    fn formats_that_nobody_can_prove_are_left_out() {
        let reolink = texts("reolink", 1, &[]);
        assert!(
            reolink
                .iter()
                .any(|url| url.starts_with("rtmp://10.0.0.5:1935/")
                    || url.starts_with("rtmp://10.0.0.5/")),
            "{reolink:?}"
        );
        assert!(
            reolink.iter().any(|url| url.contains("/flv?")),
            "{reolink:?}"
        );
        assert!(
            !reolink.iter().any(|url| url.starts_with("baichuan")),
            "{reolink:?}"
        );
        assert!(texts("kasa", 1, &[]).is_empty());
    }

    #[test]
    fn an_unknown_maker_gets_the_common_paths() {
        let catalogue = Catalogue::builtin();
        let site = Site {
            ip: "10.0.0.5",
            channel: 1,
            ports: &[],
        };
        let list = catalogue.candidates(None, &site).unwrap();
        let paths: Vec<&str> = list.iter().map(|c| c.url.path.as_str()).collect();
        assert_eq!(
            paths[..3],
            [
                "/Streaming/Channels/101",
                "/cam/realmonitor?channel=1&subtype=0",
                "/stream1"
            ]
        );
        for path in [
            "/11",
            "/onvif1",
            "/h264Preview_01_main",
            "/videoMain",
            "/?action=stream",
            "/snapshot.jpg",
        ] {
            assert!(paths.contains(&path), "{path}");
        }
        assert!(list.iter().all(|c| c.maker_id.is_none()));
        assert!(
            list.len() <= CANDIDATES_MAX && list.len() > 60,
            "{}",
            list.len()
        );
        assert!(
            catalogue
                .generic_candidates(&Site { ip: "a/b", ..site })
                .is_err()
        );
    }
}
