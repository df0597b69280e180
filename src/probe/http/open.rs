//! From a target to an answer with status 200: login, redirects, status codes.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, LOCATION, SERVER, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use super::link::{Answer, Body, Link, Message};
use super::{Clock, location, short};
use crate::model::{AuthUse, Credentials, ErrorCode, ProbeError, Stage, StreamUrl};
use crate::probe::{Target, Transcript};
use crate::wire::auth::Challenge;

const REDIRECTS_MAX: usize = 3;

/// An answer with status 200 and its body.
pub(super) struct Opened {
    /// Where it came from in the end.
    pub url: StreamUrl,
    pub content_type: String,
    pub body: Body,
}

/// What is asked for.
pub(in crate::probe) enum Ask<'a> {
    Get,
    /// Made anew for each connection: it may name our own address there.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "for WHEP"))]
    Post(&'a mut (dyn FnMut(&Link) -> Result<Message, String> + Send)),
}

impl Ask<'_> {
    fn method(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post(_) => "POST",
        }
    }

    /// The challenge that is answered. Tokens are for what is posted: no camera's picture wants one.
    fn choose(&self, answer: &Answer) -> Result<Challenge, String> {
        let chosen = Challenge::choose(answer.headers(WWW_AUTHENTICATE));
        match (chosen, self) {
            (Err(text), Self::Post(_)) => {
                Challenge::bearer(answer.headers(WWW_AUTHENTICATE)).ok_or(text)
            }
            (chosen, _) => chosen,
        }
    }
}

/// The first answer that neither redirects nor asks for the login.
pub(in crate::probe) struct Arrived {
    /// Where it came from in the end, and the login where it may be sent there.
    pub target: Target,
    /// As it was sent.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "for WHEP"))]
    pub path: Zeroizing<String>,
    /// The URL to report.
    pub url: StreamUrl,
    /// What the login was accepted with.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "for WHEP"))]
    pub challenge: Option<Challenge>,
    pub answer: Answer,
}

/// Asks for the target, anonymously first; the login is sent when the device asks for it.
///
/// # Errors
/// `auth_required`, `auth_failed`, `not_found`, `busy`, `rate_limited`, `redirect_loop`, `protocol`, and
/// those of [`crate::probe::net::connect`].
pub(super) async fn open(
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Opened, ProbeError> {
    let arrived = request(target, &mut Ask::Get, log, clock).await?;
    let answer = arrived.answer;
    if let Some((code, text)) = status_error(answer.status(), log.auth) {
        let host = arrived.target.url.authority();
        return Err(log.error(code, format!("{host} {text}")));
    }
    Ok(Opened {
        url: arrived.url,
        content_type: answer.header_short(CONTENT_TYPE).unwrap_or_default(),
        body: answer.into_body(),
    })
}

/// The same for whatever is asked, and any status.
///
/// # Errors
/// `auth_required`, `auth_failed`, `redirect_loop`, `protocol`, and those of
/// [`crate::probe::net::connect`].
pub(in crate::probe) async fn request(
    target: &Target,
    ask: &mut Ask<'_>,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Arrived, ProbeError> {
    let mut hop = Hop::first(target, log)?;
    for _ in 0..=REDIRECTS_MAX {
        let (answer, challenge) = hop.ask(ask, log, clock).await?;
        if matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            hop = hop.follow(&answer, log)?;
            continue;
        }
        return Ok(Arrived {
            url: hop.shown_url(target),
            target: hop.target,
            path: hop.path,
            challenge,
            answer,
        });
    }
    Err(log.error(
        ErrorCode::RedirectLoop,
        format!(
            "more than {REDIRECTS_MAX} redirects, the last to {}",
            hop.target.url
        ),
    ))
}

/// One address on the way.
struct Hop {
    target: Target,
    /// As sent: with the login where the URL has a place for it.
    path: Zeroizing<String>,
    login_in_path: bool,
}

impl Hop {
    fn first(target: &Target, log: &mut Transcript) -> Result<Self, ProbeError> {
        let login_in_path = target.url.has_placeholders();
        if login_in_path {
            if target.login.is_none() {
                return Err(log.error(
                    ErrorCode::AuthRequired,
                    "the URL has a place for user name and password, and no login was given",
                ));
            }
            if !may_send_password(target) {
                return Err(refuse_cleartext(log, target));
            }
        }
        Ok(Self {
            target: target.clone(),
            path: target.url.wire_path(target.login.as_ref()),
            login_in_path,
        })
    }

    async fn ask(
        &self,
        ask: &mut Ask<'_>,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<(Answer, Option<Challenge>), ProbeError> {
        let link = Link::open(&self.target, log, clock).await?;
        log.enter(Stage::Describe);
        if self.login_in_path {
            log.auth = AuthUse::SentNoVerdict;
        }
        let answer = self.send(link, ask, None, log, clock).await?;
        if log.server.is_none() {
            log.server = answer.header_short(SERVER);
        }
        let is_refused = matches!(answer.status().as_u16(), 401 | 403);
        if self.login_in_path && is_refused {
            return Err(self.refused(log));
        }
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok((answer, None));
        }
        self.ask_with_login(answer, ask, log, clock).await
    }

    async fn send(
        &self,
        link: Link,
        ask: &mut Ask<'_>,
        authorization: Option<&str>,
        log: &Transcript,
        clock: &Clock,
    ) -> Result<Answer, ProbeError> {
        let until = clock.until(self.target.limits.answer);
        match ask {
            Ask::Get => link.get(&self.path, authorization, log, until).await,
            Ask::Post(make) => {
                let message = make(&link).map_err(|text| log.error(ErrorCode::Internal, text))?;
                link.post(&self.path, authorization, message, log, until)
                    .await
            }
        }
    }

    /// Answers the challenge, once; a nonce that was merely too old is answered once more.
    async fn ask_with_login(
        &self,
        mut answer: Answer,
        ask: &mut Ask<'_>,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<(Answer, Option<Challenge>), ProbeError> {
        log.enter(Stage::Authenticate);
        let (mut challenge, login) = self.accept_challenge(&answer, ask, log)?;
        for _ in 0..2 {
            let authorization = challenge
                .respond(ask.method(), &self.path, login)
                .map(Zeroizing::new)
                .map_err(|text| log.error(ErrorCode::Protocol, text))?;
            let link = match answer.into_link(log).await {
                Some(link) => link,
                None => Link::open(&self.target, log, clock).await?,
            };
            log.enter(Stage::Authenticate);
            log.auth = AuthUse::SentNoVerdict;
            answer = self
                .send(link, ask, Some(&authorization), log, clock)
                .await?;
            match answer.status().as_u16() {
                401 => {}
                403 => break,
                // Trouble of its own: nothing is said about the login.
                429 | 500.. => return Ok((answer, None)),
                _ => {
                    log.auth = AuthUse::Accepted;
                    log.enter(Stage::Describe);
                    return Ok((answer, Some(challenge)));
                }
            }
            match self.accept_challenge(&answer, ask, log) {
                Ok((again, _)) if again.stale => challenge = again,
                _ => break,
            }
        }
        Err(self.refused(log))
    }

    /// The device's challenge and the login to answer it with, where policy allows that.
    fn accept_challenge(
        &self,
        answer: &Answer,
        ask: &Ask<'_>,
        log: &mut Transcript,
    ) -> Result<(Challenge, &Credentials), ProbeError> {
        let challenge = ask.choose(answer);
        if let Ok(challenge) = &challenge
            && log.realm.is_none()
            && !challenge.realm.is_empty()
        {
            log.realm = Some(short(challenge.realm.as_bytes()));
        }
        let login = self.target.login.as_ref().ok_or_else(|| {
            log.error(
                ErrorCode::AuthRequired,
                format!("{} asks for a login", self.target.url.authority()),
            )
        })?;
        let challenge = challenge.map_err(|text| log.error(ErrorCode::Protocol, text))?;
        if challenge.scheme.shows_password() && !may_send_password(&self.target) {
            return Err(refuse_cleartext(log, &self.target));
        }
        Ok((challenge, login))
    }

    /// The URL to report. A redirect's own token looks like a secret and is not kept, so that address
    /// would not work again: the one that led there does.
    fn shown_url(&self, asked: &Target) -> StreamUrl {
        match self.target.url.has_placeholders() && !self.login_in_path {
            true => asked.url.clone(),
            false => self.target.url.clone(),
        }
    }

    fn refused(&self, log: &mut Transcript) -> ProbeError {
        log.enter(Stage::Authenticate);
        log.auth = AuthUse::Refused;
        log.error(
            ErrorCode::AuthFailed,
            format!(
                "{} refuses the login; it is not tried again until it is changed",
                self.target.url.authority()
            ),
        )
    }

    /// The next hop. The login goes along to the same host only, and never out of TLS.
    fn follow(mut self, answer: &Answer, log: &Transcript) -> Result<Self, ProbeError> {
        let from = self.target.url.authority();
        let bad = |text: &str| log.error(ErrorCode::Protocol, format!("{from} redirects {text}"));
        let location = answer.headers(LOCATION).next();
        let location = location.ok_or_else(|| bad("without saying where to"))?;
        let login = self.target.login.as_ref();
        let aim = location::resolve(&self.target.url, &self.path, location, login).map_err(bad)?;
        if !matches!(aim.url.scheme.as_str(), "http" | "https") {
            return Err(bad(&format!("to {}, which is not HTTP", aim.url)));
        }
        let leaves_tls = self.target.url.scheme.is_tls() && !aim.url.scheme.is_tls();
        if aim.url.host != self.target.url.host || leaves_tls {
            if aim.carries_login {
                return Err(bad(
                    "with the login to another place, it was not sent there",
                ));
            }
            self.target.login = None;
        }
        self.target.url = aim.url;
        Ok(Self {
            target: self.target,
            path: aim.path,
            login_in_path: aim.carries_login,
        })
    }
}

/// True where a password itself may travel: inside TLS, or because the operator said so.
pub(in crate::probe) fn may_send_password(target: &Target) -> bool {
    target.url.scheme.is_tls() || target.cleartext_login
}

pub(in crate::probe) fn refuse_cleartext(log: &mut Transcript, target: &Target) -> ProbeError {
    log.needs_cleartext_login = true;
    log.error(
        ErrorCode::AuthRequired,
        format!(
            "{} wants the password in clear, so it was not sent; use https, or allow a cleartext login for this camera",
            target.url.authority()
        ),
    )
}

/// `None` for an answer whose body counts.
pub(in crate::probe) fn status_error(
    status: StatusCode,
    auth: AuthUse,
) -> Option<(ErrorCode, String)> {
    let code = status.as_u16();
    let (error, text) = match code {
        200 | 201 | 206 => return None,
        403 if auth == AuthUse::NotSent => (
            ErrorCode::AuthRequired,
            "refuses the request without a login",
        ),
        403 => (ErrorCode::AuthFailed, "forbids this URL to the login"),
        404 | 410 => (ErrorCode::NotFound, "has nothing under this path"),
        429 => (
            ErrorCode::RateLimited,
            "was asked too often and wants a pause",
        ),
        503 => (ErrorCode::Busy, "is busy: all its connections are in use"),
        500.. => (ErrorCode::Protocol, "has an error of its own"),
        _ => (ErrorCode::Protocol, "does not serve this URL"),
    };
    Some((error, format!("{text} (status {code})")))
}
