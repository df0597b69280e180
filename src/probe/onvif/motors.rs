//! Motors over ONVIF: which profile moves, and the orders that it takes.

use tokio::time::timeout_at;

use super::session::Session;
use super::{Visit, address};
use crate::model::{ErrorCode, ProbeError, PtzFacts, PtzOrder, PtzSource, StreamUrl};
use crate::probe::http::Clock;
use crate::probe::ptz::Way;
use crate::probe::{Target, Transcript};
use crate::wire::onvif::media;
use crate::wire::onvif::ptz;

/// Looks for the motors of the channel that the target's `onvif://` URL names; `None` where it has none.
///
/// # Errors
/// As a probe's.
pub(in crate::probe) async fn find(
    target: &Target,
    log: &mut Transcript,
) -> Result<Option<(Way, PtzFacts)>, ProbeError> {
    let clock = Clock::start(target);
    let mut visit = visit(target, log);
    let looked = timeout_at(clock.end, visit.find_motors(target)).await;
    looked.unwrap_or_else(|_| Err(over(target, log)))
}

/// Gives one order.
///
/// # Errors
/// As a probe's; `protocol` where the device answers with a fault.
pub(in crate::probe) async fn send(
    target: &Target,
    service: &StreamUrl,
    profile: &str,
    clock_offset_ms: i64,
    order: &PtzOrder,
    log: &mut Transcript,
) -> Result<(), ProbeError> {
    let clock = Clock::start(target);
    let mut visit = visit(target, log);
    visit.session.clock_offset_ms = clock_offset_ms;
    let call = ptz::order(profile, order);
    let sent = timeout_at(clock.end, visit.session.call(service, &call, visit.log)).await;
    match sent {
        Ok(answer) => answer.map(drop).map_err(ProbeError::from),
        Err(_) => Err(over(target, log)),
    }
}

pub(super) fn visit<'l>(target: &Target, log: &'l mut Transcript) -> Visit<'l> {
    let service = address::device_service(&target.url);
    let device = Target {
        url: service.clone(),
        login: target.login_of_url().cloned(),
        ..target.clone()
    };
    Visit {
        session: Session::new(device),
        service,
        log,
    }
}

pub(super) fn over(target: &Target, log: &Transcript) -> ProbeError {
    let total_ms = target.limits.total.as_millis();
    let host = target.url.authority();
    let text = format!("{host} did not do it within {total_ms} ms");
    log.error(ErrorCode::Timeout, text)
}

impl Visit<'_> {
    async fn find_motors(
        &mut self,
        target: &Target,
    ) -> Result<Option<(Way, PtzFacts)>, ProbeError> {
        self.read_clock().await?;
        // A call that every device knows: what it says to the login is no fault of another kind.
        self.read_information().await?;
        let services = self.read_services().await?;
        let service = self.address(services.ptz.as_deref());
        let Some(answer) = self.ask(&service, &ptz::get_nodes()).await? else {
            return Ok(None);
        };
        let Some(abilities) = ptz::abilities(&answer).map_err(|e| self.unreadable(&e))? else {
            return Ok(None);
        };
        let (_, profiles) = self.read_profiles(&services).await?;
        let wanted = address::channel(&target.url);
        let own = media::ranked(profiles).into_iter();
        let mut own: Vec<_> = own.filter(|(channel, ..)| *channel == wanted).collect();
        // The one that has motors, else the best one: some devices do not say which.
        own.sort_by_key(|(_, _, profile)| !profile.has_ptz);
        let Some((_, _, profile)) = own.into_iter().next() else {
            return Ok(None);
        };
        let answer = self
            .ask(&service, &ptz::get_presets(&profile.token))
            .await?;
        let presets = answer.and_then(|answer| ptz::presets(&answer).ok());
        let way = Way::Onvif {
            service,
            profile: profile.token,
            clock_offset_ms: self.session.clock_offset_ms,
        };
        let facts = PtzFacts {
            source: PtzSource::Onvif,
            abilities,
            presets: presets.unwrap_or_default(),
        };
        Ok(Some((way, facts)))
    }
}
