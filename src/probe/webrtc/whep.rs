//! The signalling of WHEP (draft-ietf-wish-whep; RFC 9725 for what it shares with WHIP): one POST with
//! the offer, one DELETE at the end. go2rtc and Frigate answer the same POST without a session to delete.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, LOCATION};
use tokio::runtime::Handle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::peer::Local;
use crate::model::{
    CertificateFacts, Credentials, ErrorCode, ProbeError, Scheme, Stage, StreamUrl,
};
use crate::probe::http::link::{Link, Message};
use crate::probe::http::open::{Arrived, Ask, request, status_error};
use crate::probe::http::{self, Clock, location};
use crate::probe::{Depth, Target, Transcript};
use crate::wire::auth::Challenge;
use crate::wire::webrtc::{self, ANSWER_BYTES_MAX, Answer, AnswerError};

const SDP: &str = "application/sdp";
/// The DELETE, with a connection of its own where the first one is gone.
const TEAR_DOWN_LIMIT: Duration = Duration::from_millis(1500);

/// An offer that was taken, its answer still on the wire.
pub(super) struct Opened {
    /// Where the answer comes from, as it may be shown.
    pub url: StreamUrl,
    host: String,
    local: Local,
    content_type: Option<String>,
    answer: http::link::Answer,
}

/// What the POST came to.
pub(super) struct Agreed {
    pub certificate: Option<CertificateFacts>,
    pub local: Local,
    pub answer: Answer,
}

/// The target as HTTP sees it.
pub(super) fn as_http(target: &Target) -> Target {
    let mut target = target.clone();
    target.url.scheme = match target.url.scheme.is_tls() {
        true => Scheme::Https,
        false => Scheme::Http,
    };
    target
}

/// Sends the offer. `target` is as HTTP sees it.
///
/// # Errors
/// Those of [`request`], and a status as everywhere in HTTP.
pub(super) async fn open(
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<(Session, Opened), ProbeError> {
    let mut local: Option<Local> = None;
    let mut offer = |link: &Link| {
        let towards = link.local.ok_or("the connection has no address")?;
        // The same offer again, behind a challenge.
        let made = match local.take().filter(|l| l.ip() == towards.ip()) {
            Some(made) => made,
            None => Local::bind(towards)?,
        };
        let body = Bytes::from(made.offer()?);
        local = Some(made);
        Ok(Message {
            content_type: SDP.to_owned(),
            body,
        })
    };
    let arrived = request(target, &mut Ask::Post(&mut offer), log, clock).await?;
    let host = arrived.target.url.authority();
    let status = arrived.answer.status();
    if let Some((code, text)) = refusal(status.as_u16()).or_else(|| status_error(status, log.auth))
    {
        return Err(log.error(code, format!("{host} {text}")));
    }
    let local = local.ok_or_else(|| log.error(ErrorCode::Internal, "no offer was made"))?;
    let url = whep_url(arrived.url.clone());
    let (session, answer) = Session::begin(arrived);
    let opened = Opened {
        url,
        host,
        local,
        content_type: answer.header_short(CONTENT_TYPE),
        answer,
    };
    Ok((session, opened))
}

impl Opened {
    /// Reads the answer; `session` gets the connection.
    ///
    /// # Errors
    /// `protocol` or `unsupported_codec` for an answer that leads to no video.
    pub(super) async fn answer(
        self,
        session: &mut Session,
        target: &Target,
        clock: &Clock,
        log: &Transcript,
    ) -> Result<Agreed, ProbeError> {
        let until = clock.until(target.limits.answer);
        let whole = self.answer.into_whole(ANSWER_BYTES_MAX, log, until).await;
        let whole = whole?;
        let certificate = whole.link.certificate.clone();
        session.keep(whole.link);
        match webrtc::parse(&whole.bytes) {
            Ok(answer) => Ok(Agreed {
                certificate,
                local: self.local,
                answer,
            }),
            Err(error) => {
                let code = match error {
                    AnswerError::Codec(_) | AnswerError::Rejected => ErrorCode::UnsupportedCodec,
                    _ => ErrorCode::Protocol,
                };
                let kind = self.content_type.filter(|kind| !kind.contains("sdp"));
                let kind = kind.map_or_else(String::new, |kind| format!(" (as {kind})"));
                let host = self.host;
                Err(log.error(code, format!("{host} answers the offer with {error}{kind}")))
            }
        }
    }
}

/// The URL form of WHEP for what HTTP answered.
fn whep_url(mut url: StreamUrl) -> StreamUrl {
    url.scheme = match url.scheme.is_tls() {
        true => Scheme::WhepHttps,
        false => Scheme::WhepHttp,
    };
    url
}

/// Statuses that mean more in WHEP than elsewhere.
fn refusal(status: u16) -> Option<(ErrorCode, String)> {
    let (code, text) = match status {
        405 => (
            ErrorCode::Protocol,
            "takes no offer under this path: it is no WHEP address",
        ),
        406 => (
            ErrorCode::Protocol,
            "wants to make the offer itself, as older drafts of WHEP have it; that is not spoken here",
        ),
        409 => (
            ErrorCode::Busy,
            "has no picture under this path at the moment",
        ),
        415 => (
            ErrorCode::Protocol,
            "does not take session descriptions under this path: it is no WHEP address",
        ),
        _ => return None,
    };
    Some((code, format!("{text} (status {status})")))
}

/// A session on the device. Dropped in the middle, it is still deleted.
pub(super) struct Session {
    open: Option<Open>,
    /// The connection of a session that cannot be deleted: its place is needed while media flows.
    spare: Option<Link>,
}

struct Open {
    /// Where its address points.
    target: Target,
    path: Zeroizing<String>,
    challenge: Option<Challenge>,
    login: Option<Credentials>,
    /// The connection of the POST, with its place among those that talk.
    link: Option<Link>,
}

impl Session {
    /// The session that `Location` names; none where there is no such header (go2rtc).
    fn begin(arrived: Arrived) -> (Self, http::link::Answer) {
        let Arrived {
            mut target,
            path,
            challenge,
            answer,
            ..
        } = arrived;
        let login = target.login.take();
        let reference = answer.headers(LOCATION).next();
        let aim = reference.and_then(|reference| {
            location::resolve(&target.url, &path, reference, login.as_ref()).ok()
        });
        let open = aim.map(|aim| {
            let leaves = aim.url.host != target.url.host
                || (target.url.scheme.is_tls() && !aim.url.scheme.is_tls());
            target.url = aim.url;
            // Whatever waits for pictures keeps its place until then.
            target.depth = Depth::Answer;
            Open {
                target,
                path: aim.path,
                challenge: challenge.filter(|_| !leaves),
                login: login.filter(|_| !leaves),
                link: None,
            }
        });
        (Self { open, spare: None }, answer)
    }

    fn keep(&mut self, link: Link) {
        match &mut self.open {
            Some(open) => open.link = Some(link),
            None => self.spare = Some(link),
        }
    }

    /// Deletes the session, within its own limit.
    pub(super) async fn close(mut self) {
        self.spare = None;
        if let Some(open) = self.open.take() {
            open.delete().await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) {
            runtime.spawn(open.delete());
        }
    }
}

impl Open {
    async fn delete(self) {
        // What became of it is the device's business: it ends silent sessions by itself.
        let _ = timeout(TEAR_DOWN_LIMIT, self.try_delete()).await;
    }

    async fn try_delete(mut self) -> Result<(), ProbeError> {
        let mut log = Transcript::new();
        let clock = Clock::start(&self.target);
        let authorization = match (&mut self.challenge, &self.login) {
            (Some(challenge), Some(login)) => challenge
                .respond("DELETE", &self.path, login)
                .ok()
                .map(Zeroizing::new),
            _ => None,
        };
        let mut kept = self.link.take().filter(|l| l.leads_to(&self.target.url));
        if let Some(link) = &mut kept
            && !link.stands().await
        {
            // Its place is given back before another one is waited for.
            kept = None;
        }
        let link = match kept {
            Some(link) => link,
            None => Link::open(&self.target, &mut log, &clock).await?,
        };
        log.enter(Stage::Describe);
        let authorization = authorization.as_deref().map(String::as_str);
        let until = clock.until(self.target.limits.answer);
        link.delete(&self.path, authorization, &log, until).await?;
        Ok(())
    }
}
