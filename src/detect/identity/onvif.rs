//! Whether a device speaks ONVIF, and what it says of itself there.

use std::time::{Duration, Instant};

use super::{Asked, Identity, anonymous, shown};
use crate::brake::Errand;
use crate::detect::Detector;
use crate::detect::plan::{PortKind, port_kind};
use crate::model::{ErrorCode, OnvifFacts, Scheme};
use crate::vendor::{Catalogue, Field};
use crate::wire::onvif::address::DEVICE_SERVICE;

/// Longest look at one port: most of those that do not answer at once never do.
const LOOK_LIMIT: Duration = Duration::from_millis(1500);

impl<'c> Identity<'c> {
    /// Asks each open port that may speak ONVIF for its clock, up to the first that does.
    pub(super) async fn look_for_onvif(
        &mut self,
        detector: &'c Detector,
        host: &str,
        open: &[u16],
        deadline: Instant,
        asked: &mut Asked,
    ) {
        let path = self.maker.map(|maker| maker.text(Field::OnvifService));
        let path = path.filter(|path| path.starts_with('/'));
        for port in likely_ports(open) {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return;
            }
            let limit = LOOK_LIMIT.min(remaining);
            let mut look = anonymous(detector, Scheme::Onvif, host, port, limit);
            look.url.path = path.unwrap_or(DEVICE_SERVICE).to_owned();
            let errand = Errand {
                locks: self.locks_accounts(),
                by_hand: true,
            };
            let attempt = asked.attempt(detector, look.clone(), errand).await;
            let code = attempt.result.as_ref().err().map(|e| e.code);
            let speaks = matches!(code, None | Some(ErrorCode::AuthRequired));
            if let Some(facts) = attempt.onvif.as_deref().filter(|_| speaks) {
                self.is_onvif_open = code.is_none();
                self.asks_for_login |= code.is_some();
                self.evidence.push(format!("onvif port {port}"));
                self.note_onvif(&detector.catalogue, facts);
                self.onvif = Some(look.url);
                return;
            }
        }
    }

    /// Takes what the device says of itself.
    pub(in crate::detect) fn note_onvif(&mut self, catalogue: &'c Catalogue, facts: &OnvifFacts) {
        if self.mac.is_none() {
            self.mac.clone_from(&facts.mac);
        }
        let told = &facts.information;
        if self.information == *told || told.manufacturer.is_none() && told.model.is_none() {
            return;
        }
        self.information.clone_from(told);
        let (manufacturer, model) = (told.manufacturer.as_deref(), told.model.as_deref());
        let seen = shown([("manufacturer", manufacturer), ("model", model)]);
        let hint = manufacturer.and_then(|name| catalogue.by_vendor_name(name));
        self.note("onvif", format!("onvif device{seen}"), hint);
    }
}

/// ONVIF's own ports, then those of pages, plain ones first, then whatever else is no RTSP.
fn likely_ports(open: &[u16]) -> Vec<u16> {
    let order = |port: u16| match port_kind(port) {
        PortKind::Onvif => Some(0),
        PortKind::Http(Scheme::Http) => Some(1),
        PortKind::Http(_) => Some(2),
        PortKind::Unknown => Some(3),
        PortKind::Rtsp(_) | PortKind::Rtmp => None,
    };
    let mut ports: Vec<u16> = open
        .iter()
        .copied()
        .filter(|port| order(*port).is_some())
        .collect();
    ports.sort_by_key(|port| order(*port));
    ports
}
