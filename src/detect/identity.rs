//! Who a device is, from what it shows without any login.

mod asked;
mod onvif;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Detector;
use super::plan::{PortKind, port_kind};
use crate::brake::Errand;
use crate::model::{DeviceInformation, ErrorCode, Scheme, StreamRole, StreamUrl};
use crate::probe::{Depth, Limits, OnvifAccess, Target, Trust};
use crate::sys::neighbours;
use crate::vendor::{Catalogue, Hint, Maker, Strength, parse_mac};

pub use asked::Asked;

/// Longest text of a device that is repeated as evidence, characters.
const SHOWN_CHARS_MAX: usize = 60;

/// What is known of a device, and how surely.
#[derive(Debug)]
pub struct Identity<'c> {
    maker: Option<Maker<'c>>,
    sureness: Option<Strength>,
    /// The operator named the maker: nothing beats that.
    is_given: bool,
    /// Sources that named a maker, with the maker's id.
    sources: Vec<(&'static str, &'c str, Strength)>,
    pub mac: Option<String>,
    /// One line for each thing that was seen.
    pub evidence: Vec<String>,
    pub speaks_rtsp: bool,
    pub asks_for_login: bool,
    /// The ONVIF service that answered.
    pub onvif: Option<StreamUrl>,
    /// It tells who the device is without a login.
    pub is_onvif_open: bool,
    /// What the device says of itself.
    pub information: DeviceInformation,
}

impl<'c> Identity<'c> {
    pub fn new(given: Option<Maker<'c>>) -> Self {
        Self {
            is_given: given.is_some(),
            maker: given,
            sureness: None,
            sources: Vec::new(),
            mac: None,
            evidence: Vec::new(),
            speaks_rtsp: false,
            asks_for_login: false,
            onvif: None,
            is_onvif_open: false,
            information: DeviceInformation::default(),
        }
    }

    /// Reads MAC prefix, RTSP and HTTP banners of the open ports, until `deadline`; what was `asked`
    /// before is not asked again.
    pub async fn read(
        &mut self,
        detector: &'c Detector,
        ip: IpAddr,
        host: &str,
        open: &[u16],
        deadline: Instant,
        asked: &mut Asked,
    ) {
        if self.mac.is_none()
            && let Some(mac) = neighbours::mac_of(ip)
        {
            let hint = parse_mac(&mac).and_then(|mac| detector.catalogue.by_oui(mac));
            self.note("mac", format!("mac {mac}"), hint);
            self.mac = Some(mac);
        }
        for port in open {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return;
            }
            match port_kind(*port) {
                PortKind::Rtsp(scheme) => {
                    let target = anonymous(detector, scheme, host, *port, remaining);
                    self.read_rtsp(detector, target, asked).await
                }
                PortKind::Http(scheme) => {
                    let target = anonymous(detector, scheme, host, *port, remaining);
                    self.read_http(detector, &target, asked).await
                }
                PortKind::Rtmp | PortKind::Onvif | PortKind::Unknown => {}
            }
        }
        self.look_for_onvif(detector, host, open, deadline, asked)
            .await;
        self.confirm_path(detector, host, open, deadline, asked)
            .await;
    }

    /// A device that knows the likely maker's own path and not the root is that maker's, or a copy.
    async fn confirm_path(
        &mut self,
        detector: &'c Detector,
        host: &str,
        open: &[u16],
        deadline: Instant,
        asked: &mut Asked,
    ) {
        let Some(maker) = self.maker.filter(|_| self.speaks_rtsp && !self.is_given) else {
            return;
        };
        let site = crate::vendor::Site {
            ip: host,
            channel: 1,
            ports: open,
        };
        let is_open = |c: &crate::vendor::Candidate| {
            matches!(port_kind(c.url.port), PortKind::Rtsp(_))
                && open.contains(&c.url.port)
                && !c.url.has_placeholders()
        };
        let rtsp = [Scheme::Rtsp, Scheme::Rtsps];
        let catalogue = &detector.catalogue;
        let first = catalogue.first_candidate(maker, &site, &rtsp, is_open);
        let remaining = deadline.saturating_duration_since(Instant::now());
        let Some(candidate) = first.filter(|_| !remaining.is_zero()) else {
            return;
        };
        let mut look = anonymous(
            detector,
            candidate.url.scheme,
            host,
            candidate.url.port,
            remaining,
        );
        look.url.path.clone_from(&candidate.url.path);
        let errand = Errand {
            locks: self.locks_accounts(),
            by_hand: true,
        };
        let attempt = asked.attempt(detector, look, errand).await;
        let code = attempt.result.as_ref().err().map(|e| e.code);
        if matches!(code, None | Some(ErrorCode::AuthRequired)) {
            self.asks_for_login |= code.is_some();
            let realm = attempt.realm.as_deref();
            let hint = detector.catalogue.by_rtsp(attempt.server.as_deref(), realm);
            let hint = hint.unwrap_or(Hint {
                maker,
                strength: Strength::Medium,
            });
            let evidence = format!(
                "rtsp path {}{}",
                candidate.url.path,
                shown([("realm", realm)])
            );
            self.note("rtsp path", evidence, Some(hint));
        }
    }

    async fn read_rtsp(&mut self, detector: &'c Detector, target: Target, asked: &mut Asked) {
        let errand = Errand {
            locks: self.locks_accounts(),
            by_hand: true,
        };
        let port = target.url.port;
        let attempt = asked.attempt(detector, target, errand).await;
        let code = attempt.result.as_ref().err().map(|e| e.code);
        self.asks_for_login |= code == Some(ErrorCode::AuthRequired);
        self.speaks_rtsp |= !matches!(
            code,
            Some(
                ErrorCode::Refused
                    | ErrorCode::Reset
                    | ErrorCode::Timeout
                    | ErrorCode::Protocol
                    | ErrorCode::Tls
                    | ErrorCode::Unreachable
                    | ErrorCode::Internal
            )
        );
        let (server, realm) = (attempt.server.as_deref(), attempt.realm.as_deref());
        let hint = detector.catalogue.by_rtsp(server, realm);
        let seen = shown([("server", server), ("realm", realm)]);
        self.note("rtsp", format!("rtsp port {port}{seen}"), hint);
    }

    async fn read_http(&mut self, detector: &'c Detector, target: &Target, asked: &mut Asked) {
        let Some(banner) = asked.banner(target).await else {
            return;
        };
        self.asks_for_login |= banner.status == 401;
        let (server, realm, title) = (
            banner.server.as_deref(),
            banner.realm.as_deref(),
            banner.title.as_deref(),
        );
        if let Some(subject) = &banner.certificate {
            let hint = by_subject(&detector.catalogue, subject);
            self.note(
                "tls",
                format!("certificate{}", shown([("subject", Some(subject))])),
                hint,
            );
        }
        let hint = detector.catalogue.by_http(server, realm, title);
        let seen = shown([("server", server), ("realm", realm), ("title", title)]);
        self.note("http", format!("http port {}{seen}", target.url.port), hint);
    }

    /// Takes something that was seen, and the maker that it points to.
    pub fn note(&mut self, source: &'static str, evidence: String, hint: Option<Hint<'c>>) {
        let evidence = match &hint {
            Some(hint) => format!("{evidence}: {}", hint.maker.name()),
            None => evidence,
        };
        self.evidence.push(evidence);
        let Some(hint) = hint else { return };
        self.sources.push((source, hint.maker.id(), hint.strength));
        if !self.is_given && self.sureness.is_none_or(|before| hint.strength > before) {
            self.sureness = Some(hint.strength);
            self.maker = Some(hint.maker);
        }
    }

    /// The likeliest maker, be it a guess.
    pub fn likely_maker(&self) -> Option<Maker<'c>> {
        self.maker
    }

    /// The maker, where what was seen is enough to name one: a prefix or a word that many share is not.
    pub fn maker(&self) -> Option<Maker<'c>> {
        self.maker.filter(|_| self.sureness != Some(Strength::Weak))
    }

    pub fn locks_accounts(&self) -> bool {
        self.maker.is_some_and(|maker| maker.locks_accounts())
    }

    /// How sure the maker is, 0 to 1: one source is never more than 0.7, a second that agrees makes 0.9.
    pub fn confidence(&self) -> f64 {
        let Some(maker) = self.maker else { return 0.0 };
        if self.is_given {
            return 1.0;
        }
        let strongest = match self.sureness {
            Some(Strength::Strong) => 70,
            Some(Strength::Medium) => 50,
            _ => 20,
        };
        let mut agreeing: Vec<&str> = self
            .sources
            .iter()
            .filter(|(_, id, _)| *id == maker.id())
            .map(|(source, ..)| *source)
            .collect();
        agreeing.sort_unstable();
        agreeing.dedup();
        let more = 20 * agreeing.len().saturating_sub(1) as u32;
        f64::from((strongest + more).min(99)) / 100.0
    }
}

/// By the common name of a certificate: as the catalogue has it, else by a maker's name in it.
fn by_subject<'c>(catalogue: &'c Catalogue, subject: &str) -> Option<Hint<'c>> {
    let listed = catalogue.by_tls_subject(&format!("CN={subject}"));
    listed.or_else(|| {
        let named = catalogue.by_vendor_name(subject)?;
        Some(Hint {
            strength: Strength::Medium,
            ..named
        })
    })
}

/// An anonymous look at the root of one port.
pub fn anonymous(
    detector: &Detector,
    scheme: Scheme,
    host: &str,
    port: u16,
    remaining: Duration,
) -> Target {
    let limits = detector.limits;
    Target {
        url: StreamUrl {
            scheme,
            host: host.to_owned(),
            port,
            path: "/".to_owned(),
        },
        role: StreamRole::Any,
        login: None,
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth: Depth::Answer,
        limits: Limits {
            total: limits.total.min(remaining),
            ..limits
        },
        trust: Trust::FirstUse,
        networks: detector.networks.clone(),
        gate: detector.gate.clone(),
    }
}

/// `, server "Hikvision-Webs", realm "..."`; nothing for what the device does not say.
pub fn shown<const N: usize>(texts: [(&str, Option<&str>); N]) -> String {
    let said = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.filter(|t| !t.is_empty())?)));
    let clipped = |text: &str| -> String {
        text.chars()
            .filter(|c| !c.is_control())
            .take(SHOWN_CHARS_MAX)
            .collect()
    };
    said.map(|(name, text)| format!(", {name} \"{}\"", clipped(text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_that_agree_are_surer_than_one() {
        let catalogue = Catalogue::builtin();
        let mut identity = Identity::new(None);
        assert_eq!(
            (identity.confidence(), identity.maker().is_none()),
            (0.0, true)
        );
        identity.note(
            "mac",
            "mac".into(),
            catalogue.by_oui([0x44, 0x19, 0xb6, 0, 0, 1]),
        );
        assert_eq!(identity.maker().map(|m| m.id()), Some("hikvision"));
        assert_eq!(identity.confidence(), 0.5);
        identity.note(
            "rtsp",
            "rtsp".into(),
            catalogue.by_rtsp(None, Some("Login to 6A02F1C3PAG0012")),
        );
        assert_eq!(
            identity.maker().map(|m| m.id()),
            Some("dahua"),
            "a strong source beats a medium one"
        );
        assert_eq!(identity.confidence(), 0.7);
        identity.note(
            "http",
            "http".into(),
            catalogue.by_http(None, Some("Login to 6A02F1C3PAG0012"), None),
        );
        assert_eq!(identity.confidence(), 0.9);
    }

    #[test]
    fn certificates_name_their_maker() {
        let catalogue = Catalogue::builtin();
        let maker = |subject| {
            by_subject(&catalogue, subject).map(|h| (h.maker.id().to_owned(), h.strength))
        };
        assert_eq!(
            maker("www.hikvision.com"),
            Some(("hikvision".to_owned(), Strength::Medium))
        );
        assert_eq!(
            maker("camera.ubnt.dev"),
            Some(("ubiquiti".to_owned(), Strength::Strong))
        );
        assert_eq!(maker("localhost"), None);
    }

    #[test]
    fn the_operators_word_stands() {
        let catalogue = Catalogue::builtin();
        let mut identity = Identity::new(catalogue.find("axis").ok());
        identity.note(
            "rtsp",
            "rtsp".into(),
            catalogue.by_rtsp(None, Some("Login to 6A02F1C3PAG0012")),
        );
        assert_eq!(identity.maker().map(|m| m.id()), Some("axis"));
        assert_eq!(identity.confidence(), 1.0);
    }
}
