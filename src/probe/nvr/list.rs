//! Asks a recorder for its channels.

use crate::model::{
    AuthUse, CertificateFacts, ChannelSource, ErrorCode, ProbeError, RecorderFacts, Stage,
};
use crate::probe::http::open::{may_send_password, refuse_cleartext};
use crate::probe::http::session::{Reply, Session, failure};
use crate::probe::{Target, Transcript};
use crate::wire::maker::reolink::Refusal;
use crate::wire::maker::{ApiRequest, dahua, isapi, reolink};
use crate::wire::xml::XmlError;

type ReadXml = fn(&[u8], &mut RecorderFacts) -> Result<(), XmlError>;
type Listed = Result<(RecorderFacts, Option<CertificateFacts>), ProbeError>;

/// The channels with all that the interface tells of them; `target.url` is the web service, or the DVRIP
/// service.
///
/// # Errors
/// `not_found` where the device does not know this interface, `auth_required`, `auth_failed`,
/// `protocol`, and those of [`crate::probe::net::connect`].
pub(super) async fn channels(
    target: Target,
    source: ChannelSource,
    log: &mut Transcript,
) -> Listed {
    if source == ChannelSource::Dvrip {
        return super::dvrip::channels(&target, log)
            .await
            .map(|facts| (facts, None));
    }
    let mut visit = Visit {
        session: Session::new(target),
        log,
        facts: RecorderFacts::default(),
    };
    let listed = match source {
        ChannelSource::Isapi => visit.isapi().await,
        ChannelSource::DahuaCgi => visit.dahua().await,
        _ => visit.reolink().await,
    };
    let listed = match listed {
        Ok(()) if visit.facts.channels.is_empty() => Err(visit.unknown_interface(source)),
        listed => listed,
    };
    match listed {
        Ok(()) => Ok((visit.facts, visit.session.certificate)),
        Err(error) => Err(visit.session.unreadable(error, visit.log)),
    }
}

/// One conversation with a recorder.
struct Visit<'l> {
    session: Session,
    log: &'l mut Transcript,
    facts: RecorderFacts,
}

impl Visit<'_> {
    /// Network cameras first, then analog inputs: a hybrid recorder has both, in one numbering.
    async fn isapi(&mut self) -> Result<(), ProbeError> {
        if let Some(body) = self.get(isapi::PROXIED).await? {
            self.xml(isapi::read_proxied, &body)?;
            if !self.facts.channels.is_empty()
                && let Some(body) = self.get(isapi::PROXIED_STATUS).await?
            {
                self.xml(isapi::read_proxied_status, &body)?;
            }
        }
        if let Some(body) = self.get(isapi::INPUTS).await? {
            self.xml(isapi::read_inputs, &body)?;
        }
        if let Some(body) = self.get(isapi::PROTOCOLS).await? {
            // Good to know, and no more.
            self.facts.rtsp_port = isapi::rtsp_port(&body).ok().flatten();
        }
        Ok(())
    }

    async fn dahua(&mut self) -> Result<(), ProbeError> {
        let Some(titles) = self.get(dahua::TITLES).await? else {
            return Ok(());
        };
        if !dahua::read_titles(&titles, &mut self.facts) {
            return Ok(());
        }
        if let Some(body) = self.get(dahua::REMOTE_DEVICES).await? {
            dahua::read_remote_devices(&body, &mut self.facts);
        }
        let states = self.get(dahua::STATES).await?;
        let has_states = states.is_some_and(|body| dahua::read_states(&body, &mut self.facts));
        if !has_states && let Some(body) = self.get(dahua::VIDEO_LOSS).await? {
            dahua::read_video_loss(&body, &mut self.facts);
        }
        if let Some(body) = self.get(dahua::RTSP).await? {
            self.facts.rtsp_port = dahua::rtsp_port(&body);
        }
        Ok(())
    }

    async fn reolink(&mut self) -> Result<(), ProbeError> {
        let token = reolink_login(&mut self.session, self.log).await?;
        let status = self.post(&reolink::get_channel_status(&token)).await;
        let ports = self.post(&reolink::get_net_port(&token)).await;
        // The device has few sessions, and a token keeps one for an hour.
        let _ = self.post(&reolink::logout(&token)).await;
        let read = reolink::read_channel_status(&status?.body, &mut self.facts);
        read.map_err(|refusal| reolink_error(&self.session, refusal, self.log))?;
        self.facts.rtsp_port = ports.ok().and_then(|reply| reolink::rtsp_port(&reply.body));
        Ok(())
    }

    /// `None` where the device does not know the path, or not for this account.
    async fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, ProbeError> {
        let reply = self.session.call(&ApiRequest::get(path), self.log).await?;
        match reply.status {
            200..=299 => Ok(Some(reply.body)),
            429 | 503 => Err(failure(&reply, self.session.target(), self.log)
                .unwrap_or_else(|| self.log.error(ErrorCode::Busy, "the device is busy"))),
            _ => Ok(None),
        }
    }

    async fn post(&mut self, request: &ApiRequest) -> Result<Reply, ProbeError> {
        self.session.call(request, self.log).await
    }

    fn xml(&mut self, read: ReadXml, body: &[u8]) -> Result<(), ProbeError> {
        // A page of another device: it is none of this interface.
        read(body, &mut self.facts).map_err(|error| {
            let host = self.session.target().url.authority();
            let text = format!("the answer of {host} is no list of channels: {error}");
            self.log.error(ErrorCode::NotFound, text)
        })
    }

    fn unknown_interface(&self, source: ChannelSource) -> ProbeError {
        let host = self.session.target().url.authority();
        let text = format!("{host} lists no channels by {}", source.as_str());
        self.log.error(ErrorCode::NotFound, text)
    }
}

/// A token of a Reolink device. Its login is the password in clear.
///
/// # Errors
/// `auth_required`, `auth_failed`, `busy`, `not_found` for a device that is no Reolink, and those of
/// [`Session::call`].
pub(in crate::probe) async fn reolink_login(
    session: &mut Session,
    log: &mut Transcript,
) -> Result<String, ProbeError> {
    let Some(login) = session.target().login.clone() else {
        log.enter(Stage::Authenticate);
        let text = format!("{} asks for a login", session.target().url.authority());
        return Err(log.error(ErrorCode::AuthRequired, text));
    };
    if !may_send_password(session.target()) {
        return Err(refuse_cleartext(log, session.target()));
    }
    // Without the login first: another maker's device never sees the password.
    let asked = session
        .call(&reolink::get_channel_status("null"), log)
        .await?;
    match reolink::done(&asked.body) {
        Ok(()) | Err(Refusal::NotLoggedIn | Refusal::LoginFailed) => {}
        Err(refusal) => return Err(reolink_error(session, refusal, log)),
    }
    log.enter(Stage::Authenticate);
    log.auth = AuthUse::SentNoVerdict;
    let reply = session.call(&reolink::login(&login), log).await?;
    log.enter(Stage::Authenticate);
    match reolink::token(&reply.body) {
        Ok(token) => {
            log.auth = AuthUse::Accepted;
            Ok(token)
        }
        Err(refusal) => Err(reolink_error(session, refusal, log)),
    }
}

pub(in crate::probe) fn reolink_error(
    session: &Session,
    refusal: Refusal,
    log: &mut Transcript,
) -> ProbeError {
    let code = match refusal {
        Refusal::LoginFailed => {
            log.auth = AuthUse::Refused;
            ErrorCode::AuthFailed
        }
        Refusal::NotLoggedIn => ErrorCode::AuthRequired,
        Refusal::Busy => ErrorCode::Busy,
        Refusal::Other(0) => ErrorCode::NotFound,
        Refusal::Other(_) => ErrorCode::Protocol,
    };
    let host = session.target().url.authority();
    log.error(
        code,
        format!("{host} was asked as a Reolink device: {refusal}"),
    )
}
