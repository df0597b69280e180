//! RTSP and RTSPS: DESCRIBE for the answer, SETUP and PLAY over TCP for the proof (RFC 2326).
//!
//! Every byte from the device passes the bounded decoder of `wire::rtsp`; nothing of a picture is
//! kept.

mod errors;
mod link;
mod media;

use std::borrow::Cow;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use self::errors::{accept_login, clipped, link_error, status_error};
use self::link::{Auth, Deadlines, Link, LinkError, Request};
use self::media::Track;
use super::net::{self, Connection};
use super::{Depth, Target, Transcript};
use crate::model::{
    AuthUse, CertificateFacts, ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome,
    ProbeError, Scheme, Stage, StreamUrl,
};
use crate::wire::rtsp::Message;
use crate::wire::sdp;

/// Redirects that are followed.
const REDIRECTS_MAX: u32 = 3;
/// Bytes that a device may send for a description, and for a proof by pictures: 12 s of 20 Mbit/s.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const MEDIA_BYTES_MAX: usize = 32 * 1024 * 1024;

/// For `rtsp://` and `rtsps://`.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let deadlines = Deadlines {
        answer: target.limits.answer,
        total: Instant::now() + target.limits.total,
    };
    let mut dialogue = Dialogue::open(Cow::Borrowed(target), deadlines, log).await?;
    if target.depth == Depth::Connect {
        let response_time_ms = log.elapsed_ms();
        let facts = MediaFacts::default();
        return Ok(dialogue.outcome(Evidence::Answer, facts, response_time_ms));
    }
    let description = dialogue.describe(log).await?;
    let track = dialogue.track(&description, log)?;
    let facts = track.facts();
    let response_time_ms = log.elapsed_ms();
    let mut outcome = dialogue.outcome(Evidence::Description, facts, response_time_ms);
    if target.depth >= Depth::Frame {
        let proof = media::prove(dialogue.link, track, target, deadlines, log).await?;
        outcome.evidence = Evidence::KeyFrame;
        outcome.media = proof.facts;
        outcome.first_frame_ms = Some(proof.first_frame_ms);
    }
    Ok(outcome)
}

/// What is said until the stream is described.
struct Dialogue<'t> {
    /// The caller's, or the one that a redirect led to.
    target: Cow<'t, Target>,
    deadlines: Deadlines,
    /// As it stands in requests: may hold a login in its path.
    url: Zeroizing<String>,
    link: Link,
    certificate: Option<CertificateFacts>,
}

impl<'t> Dialogue<'t> {
    async fn open(
        target: Cow<'t, Target>,
        deadlines: Deadlines,
        log: &mut Transcript,
    ) -> Result<Self, ProbeError> {
        let connection = dial(&target, deadlines, log).await?;
        let url = &target.url;
        let path = url.wire_path(target.login.as_ref());
        let wire_url = format!("{}://{}{}", url.scheme.as_str(), url.authority(), *path);
        let bytes_max = match target.depth >= Depth::Frame {
            true => MEDIA_BYTES_MAX,
            false => ANSWER_BYTES_MAX,
        };
        let basic_allowed = url.scheme.is_tls() || target.cleartext_login;
        let auth = Auth::new(target.login.clone(), basic_allowed);
        Ok(Self {
            url: Zeroizing::new(wire_url),
            link: Link::new(connection.stream, bytes_max, auth),
            certificate: connection.certificate,
            deadlines,
            target,
        })
    }

    /// The answer that describes the stream: anonymous first, with the login when it is asked for.
    async fn describe(&mut self, log: &mut Transcript) -> Result<Message, ProbeError> {
        let mut redirects = 0;
        let mut may_reconnect = true;
        log.enter(Stage::Describe);
        loop {
            self.note_login_in_path(log);
            let request = Request {
                method: "DESCRIBE",
                url: &self.url,
                headers: &[("Accept", "application/sdp")],
            };
            let answer = self.link.exchange(request, self.deadlines, log, |_, _| {});
            let message = match answer.await {
                // Closed behind the first 401, before the login arrived.
                Err(error)
                    if error.code == ErrorCode::Reset
                        && self.link.is_challenged()
                        && std::mem::take(&mut may_reconnect) =>
                {
                    self.reconnect(log).await?;
                    continue;
                }
                answer => answer?,
            };
            let response = self.link.response(&message);
            match response.status {
                _ if response.is_http => {
                    return Err(status_error(&response, false, log));
                }
                200..=299 => {
                    accept_login(log);
                    log.enter(Stage::Describe);
                    return Ok(message);
                }
                401 => {
                    log.enter(Stage::Authenticate);
                    let closes = response
                        .header("Connection")
                        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
                    self.link.take_challenge(&message, log)?;
                    let is_closed = closes || self.link.is_closed().await;
                    if is_closed && std::mem::take(&mut may_reconnect) {
                        self.reconnect(log).await?;
                    }
                }
                301..=303 | 305 | 307 | 308 => {
                    redirects += 1;
                    if redirects > REDIRECTS_MAX {
                        let sentence = format!(
                            "the device redirects more than {REDIRECTS_MAX} times; check the path"
                        );
                        return Err(log.error(ErrorCode::RedirectLoop, sentence));
                    }
                    self.follow(&message, log).await?;
                    may_reconnect = true;
                }
                _ => {
                    let is_challenged = self.link.is_challenged();
                    return Err(status_error(&response, is_challenged, log));
                }
            }
        }
    }

    /// A login in path or query is sent with the very first request.
    fn note_login_in_path(&self, log: &mut Transcript) {
        let is_sent = self.target.url.has_placeholders() && self.target.login.is_some();
        if is_sent && log.auth == AuthUse::NotSent {
            log.auth = AuthUse::SentNoVerdict;
        }
    }

    async fn reconnect(&mut self, log: &mut Transcript) -> Result<(), ProbeError> {
        let stage = log.stage();
        let connection = dial(&self.target, self.deadlines, log).await?;
        log.enter(stage);
        self.certificate = connection.certificate;
        self.link.replace_stream(connection.stream);
        Ok(())
    }

    async fn follow(&mut self, message: &Message, log: &mut Transcript) -> Result<(), ProbeError> {
        if self.link.is_challenged() {
            accept_login(log);
        }
        let location = self.link.response(message).header("Location");
        let target = redirected(&self.target, location.unwrap_or_default())
            .map_err(|sentence| log.error(ErrorCode::Protocol, sentence))?;
        *self = Self::open(Cow::Owned(target), self.deadlines, log).await?;
        log.enter(Stage::Describe);
        Ok(())
    }

    /// The video stream of a description.
    fn track(&self, description: &Message, log: &Transcript) -> Result<Track, ProbeError> {
        let response = self.link.response(description);
        let read = sdp::parse(response.body)
            .map_err(|error| log.error(ErrorCode::Protocol, error.to_string()))?;
        let base = response
            .header("Content-Base")
            .or_else(|| response.header("Content-Location"));
        Track::choose(&read, base, &self.url).map_err(|other| {
            let sentence = match other {
                Some(name) => format!(
                    "the stream's codec {} cannot be checked; set H.264, H.265 or MJPEG",
                    clipped(name)
                ),
                None => "the device describes a stream without video; check the path".to_owned(),
            };
            log.error(ErrorCode::UnsupportedCodec, sentence)
        })
    }

    fn outcome(&self, evidence: Evidence, media: MediaFacts, response_time_ms: u32) -> Outcome {
        let is_tls = self.target.url.scheme.is_tls();
        Outcome {
            connection_type: ConnectionType::Rtsp,
            url: self.target.url.clone(),
            role: self.target.role,
            evidence,
            media,
            transport: if is_tls { "tls" } else { "tcp" },
            response_time_ms,
            first_frame_ms: None,
            certificate: self.certificate.clone(),
        }
    }
}

async fn dial(
    target: &Target,
    deadlines: Deadlines,
    log: &mut Transcript,
) -> Result<Connection, ProbeError> {
    match timeout_at(deadlines.total, net::connect(target, log)).await {
        Ok(result) => result,
        Err(_) => Err(link_error(&LinkError::Timeout, log)),
    }
}

/// The target that `Location` names. The login goes along only to the same host, and never out of
/// TLS.
///
/// # Errors
/// One sentence, without the address: it may hold a login.
fn redirected(from: &Target, location: &str) -> Result<Target, &'static str> {
    const UNREADABLE: &str =
        "the device redirects to an address that cannot be read; check the path";
    let location = match location.starts_with('/') {
        true => {
            let mut url = from.url.clone();
            url.path = location.to_owned();
            Cow::Owned(url.to_string())
        }
        false => Cow::Borrowed(location),
    };
    let mut url = StreamUrl::parse(&location).map_err(|_| UNREADABLE)?.url;
    if !matches!(url.scheme, Scheme::Rtsp | Scheme::Rtsps) {
        return Err("the device redirects to another protocol than RTSP; try its address there");
    }
    // A device does not know the zone of its own link-local address.
    if from.url.host.split('%').next() == Some(url.host.as_str()) {
        url.host = from.url.host.clone();
    }
    if let Some(login) = &from.login {
        url.hide_login(login);
    }
    let leaves_tls = from.url.scheme.is_tls() && !url.scheme.is_tls();
    let keeps_login = url.host == from.url.host && !leaves_tls;
    Ok(Target {
        url,
        login: from.login.clone().filter(|_| keeps_login),
        ..from.clone()
    })
}

#[cfg(test)]
pub(crate) mod tests;
