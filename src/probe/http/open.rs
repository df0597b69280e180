//! From a target to an answer with status 200: login, redirects, status codes.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, LOCATION, SERVER, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use super::link::{Answer, Body, Link};
use super::{Clock, location, short};
use crate::model::{AuthUse, Credentials, ErrorCode, ProbeError, Stage, StreamUrl};
use crate::probe::{Target, Transcript};
use crate::wire::auth::{AuthScheme, Challenge};

const REDIRECTS_MAX: usize = 3;

/// An answer with status 200 and its body.
pub(super) struct Opened {
    /// Where it came from in the end.
    pub url: StreamUrl,
    pub content_type: String,
    pub body: Body,
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
    let mut hop = Hop::first(target, log)?;
    for _ in 0..=REDIRECTS_MAX {
        let answer = hop.ask(log, clock).await?;
        let status = answer.status();
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            hop = hop.follow(&answer, log)?;
            continue;
        }
        if let Some((code, text)) = status_error(status, log.auth) {
            return Err(log.error(code, format!("{} {text}", hop.target.url.authority())));
        }
        return Ok(Opened {
            url: hop.shown_url(target),
            content_type: answer.header_short(CONTENT_TYPE).unwrap_or_default(),
            body: answer.into_body(),
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

    async fn ask(&self, log: &mut Transcript, clock: &Clock) -> Result<Answer, ProbeError> {
        let link = Link::open(&self.target, log, clock).await?;
        log.enter(Stage::Describe);
        if self.login_in_path {
            log.auth = AuthUse::SentNoVerdict;
        }
        let until = clock.until(self.target.limits.answer);
        let answer = link.get(&self.path, None, log, until).await?;
        if log.server.is_none() {
            log.server = answer.header_short(SERVER);
        }
        let is_refused = matches!(answer.status().as_u16(), 401 | 403);
        if self.login_in_path && is_refused {
            return Err(self.refused(log));
        }
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.ask_with_login(answer, log, clock).await
    }

    /// Answers the challenge, once; a nonce that was merely too old is answered once more.
    async fn ask_with_login(
        &self,
        mut answer: Answer,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Answer, ProbeError> {
        log.enter(Stage::Authenticate);
        let (mut challenge, login) = self.accept_challenge(&answer, log)?;
        for _ in 0..2 {
            let authorization = challenge
                .respond("GET", &self.path, login)
                .map(Zeroizing::new)
                .map_err(|text| log.error(ErrorCode::Protocol, text))?;
            let link = match answer.into_link(log).await {
                Some(link) => link,
                None => Link::open(&self.target, log, clock).await?,
            };
            log.enter(Stage::Authenticate);
            log.auth = AuthUse::SentNoVerdict;
            let until = clock.until(self.target.limits.answer);
            answer = link
                .get(&self.path, Some(&authorization), log, until)
                .await?;
            match answer.status().as_u16() {
                401 => {}
                403 => break,
                // Trouble of its own: nothing is said about the login.
                429 | 500.. => return Ok(answer),
                _ => {
                    log.auth = AuthUse::Accepted;
                    log.enter(Stage::Describe);
                    return Ok(answer);
                }
            }
            match self.accept_challenge(&answer, log) {
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
        log: &mut Transcript,
    ) -> Result<(Challenge, &Credentials), ProbeError> {
        let challenge = Challenge::choose(answer.headers(WWW_AUTHENTICATE));
        if let Ok(challenge) = &challenge
            && log.realm.is_none()
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
        if challenge.scheme == AuthScheme::Basic && !may_send_password(&self.target) {
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
        200 | 206 => return None,
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
