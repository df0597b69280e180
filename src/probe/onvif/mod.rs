//! ONVIF: the device's clock, who it is, which profiles it has and where their streams are.
//!
//! No pictures travel over ONVIF itself. Up to [`Depth::Answer`] the device service answers for the
//! camera; deeper, everything that leads to its pictures is read, and the caller proves them with the
//! prober of the stream.

pub mod events;
#[cfg(test)]
pub(crate) mod fake;
pub(super) mod motors;
pub mod reboot;
mod session;

use std::time::Duration;

use tokio::time::{timeout, timeout_at};

use self::session::Session;
use super::http::Clock;
use super::{Depth, Target, Transcript, wall_time};
use crate::model::{
    ConnectionType, ErrorCode, Evidence, MediaFacts, OnvifProfile, Outcome, ProbeError, StreamRole,
    StreamUrl,
};
use crate::wire::onvif::media::{self, Profile, Version};
use crate::wire::onvif::{self as codec, Call, Services, address, ptz};
use crate::wire::xml::XmlError;

/// For what is good to know and no more.
const EXTRAS_LIMIT: Duration = Duration::from_secs(3);
/// Profiles of one channel that are asked for a picture address: main and sub.
const SNAPSHOTS_MAX: usize = 2;

pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    let service = address::device_service(&target.url);
    let device = Target {
        url: service.clone(),
        // No media slot is used here.
        depth: target.depth.min(Depth::Answer),
        login: target.login_of_url().cloned(),
        ..target.clone()
    };
    if target.depth == Depth::Connect {
        let certificate = clock.connect(&device, log).await?.certificate;
        return Ok(Outcome {
            certificate,
            ..outcome(target, &service, log.elapsed_ms())
        });
    }
    let mut visit = Visit {
        session: Session::new(device),
        service,
        log,
    };
    let read = timeout_at(clock.end, visit.read(target)).await;
    if visit.session.is_soap {
        visit.log.onvif_facts().login_by = visit.session.login_by;
    }
    let mut outcome = match read {
        Ok(outcome) => outcome?,
        Err(_) => {
            let text = format!(
                "the probe's {} ms are over",
                target.limits.total.as_millis()
            );
            return Err(visit.log.error(ErrorCode::Timeout, text));
        }
    };
    outcome.certificate = visit.session.certificate.take();
    Ok(outcome)
}

/// One conversation with a device; what it tells goes into the transcript.
struct Visit<'l> {
    session: Session,
    /// The device service.
    service: StreamUrl,
    log: &'l mut Transcript,
}

impl Visit<'_> {
    async fn read(&mut self, target: &Target) -> Result<Outcome, ProbeError> {
        self.read_clock().await?;
        let mut outcome = outcome(target, &self.service, self.log.elapsed_ms());
        self.read_information().await?;
        if target.depth == Depth::Answer {
            return Ok(outcome);
        }
        let services = self.read_services().await?;
        let (version, profiles) = self.read_profiles(&services).await?;
        let media = match version {
            Version::Media1 => self.address(services.media.as_deref()),
            Version::Media2 => self.address(services.media2.as_deref()),
        };
        let has_ptz = profiles.iter().any(|p| p.has_ptz);
        let is_every = address::is_every_channel(&target.url);
        let wanted = address::channel(&target.url);
        for (channel, role, profile) in media::ranked(profiles) {
            let is_wanted = match is_every {
                true => matches!(role, StreamRole::Main | StreamRole::Sub),
                false => channel == wanted,
            };
            if !is_wanted {
                continue;
            }
            let stream = self.read_stream(version, &media, &profile.token).await?;
            self.log.onvif_facts().profiles.push(OnvifProfile {
                token: profile.token,
                name: profile.name,
                channel,
                role,
                media: profile.media,
                stream,
                snapshot: None,
            });
        }
        let facts = self.log.onvif_facts();
        if let Some(best) = facts.profiles.iter().find(|p| p.stream.is_some()) {
            outcome.evidence = Evidence::Description;
            outcome.media = best.media;
        }
        // Nothing below is worth losing what is known by now.
        let extras = self.read_extras(version, &media, has_ptz.then_some(&services));
        let _ = timeout(EXTRAS_LIMIT, extras).await;
        Ok(outcome)
    }

    /// The device's clock, and whether this is ONVIF at all.
    async fn read_clock(&mut self) -> Result<(), ProbeError> {
        let call = codec::get_system_date_and_time();
        let answer = match self.session.call_anonymously(&call, self.log).await {
            Ok(answer) => answer,
            // It speaks SOAP all the same; our own clock has to do.
            Err(error) if error.is_about_call() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let time = codec::date_and_time(&answer).map_err(|e| self.unreadable(&e))?;
        if let Some(time) = time {
            // Whole seconds are told: half of one is lost on average.
            let told_ms = time.unix_ms().saturating_add(500);
            let offset_ms = told_ms.saturating_sub(wall_time().unix_ms());
            self.session.clock_offset_ms = offset_ms;
            let offset_s = offset_ms.saturating_add(500).div_euclid(1000);
            self.log.onvif_facts().clock_offset_s = Some(offset_s);
        }
        Ok(())
    }

    /// Who the device is: the first call that may need a login.
    async fn read_information(&mut self) -> Result<(), ProbeError> {
        let service = self.service.clone();
        let Some(answer) = self.ask(&service, &codec::get_device_information()).await? else {
            return Ok(());
        };
        let read = codec::device_information(&answer).map_err(|e| self.unreadable(&e))?;
        self.log.onvif_facts().information = read;
        Ok(())
    }

    async fn read_services(&mut self) -> Result<Services, ProbeError> {
        let service = self.service.clone();
        for call in [codec::get_services(), codec::get_capabilities()] {
            let Some(answer) = self.ask(&service, &call).await? else {
                continue;
            };
            let found = codec::services(&answer).map_err(|e| self.unreadable(&e))?;
            if found.media.is_some() || found.media2.is_some() {
                return Ok(found);
            }
        }
        // Many answer every call at the device service.
        Ok(Services::default())
    }

    /// Media 2 first: the older service hides H.265.
    async fn read_profiles(
        &mut self,
        services: &Services,
    ) -> Result<(Version, Vec<Profile>), ProbeError> {
        let media2 = services
            .media2
            .as_deref()
            .map(|at| (Version::Media2, Some(at)));
        let media1 = Some((Version::Media1, services.media.as_deref()));
        for (version, at) in [media2, media1].into_iter().flatten() {
            let service = self.address(at);
            let Some(answer) = self.ask(&service, &media::get_profiles(version)).await? else {
                continue;
            };
            let found = media::profiles(&answer).map_err(|e| self.unreadable(&e))?;
            if !found.is_empty() {
                return Ok((version, found));
            }
        }
        Ok((Version::Media1, Vec::new()))
    }

    async fn read_stream(
        &mut self,
        version: Version,
        media: &StreamUrl,
        token: &str,
    ) -> Result<Option<StreamUrl>, ProbeError> {
        let call = media::get_stream_uri(version, token);
        let Some(answer) = self.ask(media, &call).await? else {
            return Ok(None);
        };
        Ok(self.stream_in(&answer))
    }

    /// Still pictures, motors and the MAC address.
    async fn read_extras(
        &mut self,
        version: Version,
        media: &StreamUrl,
        ptz: Option<&Services>,
    ) -> Result<(), ProbeError> {
        let tokens: Vec<String> = self
            .log
            .onvif_facts()
            .profiles
            .iter()
            .take(SNAPSHOTS_MAX)
            .map(|p| p.token.clone())
            .collect();
        for (index, token) in tokens.iter().enumerate() {
            let call = media::get_snapshot_uri(version, token);
            let answer = self.ask(media, &call).await?;
            let snapshot = answer.and_then(|answer| self.stream_in(&answer));
            if let Some(profile) = self.log.onvif_facts().profiles.get_mut(index) {
                profile.snapshot = snapshot;
            }
        }
        let service = self.service.clone();
        if let Some(answer) = self.ask(&service, &codec::get_network_interfaces()).await? {
            let dialled = self.service.host.parse().ok();
            self.log.onvif_facts().mac = codec::mac(&answer, dialled).ok().flatten();
        }
        if let Some(services) = ptz {
            let service = self.address(services.ptz.as_deref());
            if let Some(answer) = self.ask(&service, &ptz::get_nodes()).await? {
                self.log.onvif_facts().ptz = ptz::abilities(&answer).ok().flatten();
            }
        }
        Ok(())
    }

    /// `None` where the device does not know the call, or not for this account.
    async fn ask(
        &mut self,
        service: &StreamUrl,
        call: &Call,
    ) -> Result<Option<Vec<u8>>, ProbeError> {
        match self.session.call(service, call, self.log).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_about_call() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a service is that the device wrote down, or else the device service itself.
    fn address(&self, written: Option<&str>) -> StreamUrl {
        match written {
            Some(written) => address::service(written, &self.service),
            None => self.service.clone(),
        }
    }

    fn stream_in(&self, answer: &[u8]) -> Option<StreamUrl> {
        let written = media::uri(answer).ok().flatten()?;
        address::stream(&written, &self.service, self.session.login())
    }

    fn unreadable(&self, error: &XmlError) -> ProbeError {
        let host = self.service.authority();
        let text = format!("the answer of {host} cannot be read: {error}");
        self.log.error(ErrorCode::Protocol, text)
    }
}

/// The weakest outcome for a device service that answered.
fn outcome(target: &Target, service: &StreamUrl, response_time_ms: u32) -> Outcome {
    Outcome {
        connection_type: ConnectionType::Onvif,
        url: target.url.clone(),
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport: service.scheme.as_str(),
        response_time_ms,
        first_frame_ms: None,
        certificate: None,
    }
}

#[cfg(test)]
mod tests;
