//! From a target to an answer with status 200: login, redirects, status codes.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, DATE, LAST_MODIFIED, LOCATION, SERVER, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use super::link::{Answer, Body, Link, Message};
use super::{Clock, location, short};
use crate::model::{AuthUse, Credentials, ErrorCode, ProbeError, Stage, StreamUrl};
use crate::probe::{Target, Transcript};
use crate::wire::auth::Challenge;
use crate::wire::m3u8::ByteRange;

const REDIRECTS_MAX: usize = 3;

/// An answer with status 200 or 206 and its body.
pub(in crate::probe) struct Opened {
    /// Where it came from in the end.
    pub url: StreamUrl,
    /// The same, as the base of what it refers to.
    pub place: Place,
    pub content_type: String,
    /// It is the range of bytes that was asked for, not the whole.
    pub is_part: bool,
    /// How long ago the server last changed it, by the server's own clock.
    pub unchanged_for: Option<Duration>,
    pub body: Body,
}

/// What is asked for.
pub(in crate::probe) enum Ask<'a> {
    /// Of the resource's bytes only a range where one is given.
    Get(Option<ByteRange>),
    /// Made anew for each connection: it may name our own address there.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "WHEP posts"))]
    Post(&'a mut (dyn FnMut(&Link) -> Result<Message, String> + Send)),
}

impl Ask<'_> {
    fn method(&self) -> &'static str {
        match self {
            Self::Get(_) => "GET",
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
#[cfg(feature = "webrtc")]
pub(in crate::probe) struct Arrived {
    /// Where it came from in the end, and the login where it may be sent there.
    pub target: Target,
    /// As it was sent.
    pub path: Zeroizing<String>,
    /// The URL to report.
    pub url: StreamUrl,
    /// What the login was accepted with.
    pub challenge: Option<Challenge>,
    pub answer: Answer,
}

/// What lasts from one request of a probe to the next.
#[derive(Default)]
pub(in crate::probe) struct Session {
    /// A connection without a request under way.
    link: Option<Link>,
    /// The challenge whose answer was accepted, and by whom (`host:port`).
    accepted: Option<(String, Challenge)>,
}

impl Session {
    /// Keeps a connection for the next request.
    pub(in crate::probe) fn keep(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// Closes the connection: nothing will be asked for a while.
    pub(in crate::probe) fn rest(&mut self) {
        self.link = None;
    }

    async fn link(
        &mut self,
        target: &Target,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Link, ProbeError> {
        if let Some(mut link) = self.link.take()
            && link.leads_to(&target.url)
            && link.stands().await
        {
            return Ok(link);
        }
        Link::open(target, log, clock).await
    }
}

/// Asks for the target, anonymously first; the login is sent when the device asks for it.
///
/// # Errors
/// `auth_required`, `auth_failed`, `not_found`, `busy`, `rate_limited`, `redirect_loop`, `protocol`, and
/// those of [`crate::probe::net::connect`].
pub(in crate::probe) async fn open(
    target: &Target,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Opened, ProbeError> {
    let place = Place::first(target, log)?;
    open_place(place, None, session, log, clock).await
}

/// The same for a place that an earlier answer named; of its bytes only a range where one is given.
pub(in crate::probe) async fn open_place(
    place: Place,
    range: Option<ByteRange>,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Opened, ProbeError> {
    let asked = place.target.url.clone();
    let (place, answer) = place
        .reach(&mut Ask::Get(range), session, log, clock)
        .await?;
    let status = answer.status();
    if let Some((code, text)) = status_error(status, log.auth) {
        return Err(log.error(code, format!("{} {text}", place.target.url.authority())));
    }
    Ok(Opened {
        url: place.shown_url(&asked),
        place,
        content_type: answer.header_short(CONTENT_TYPE).unwrap_or_default(),
        is_part: status == StatusCode::PARTIAL_CONTENT,
        unchanged_for: unchanged_for(&answer),
        body: answer.into_body(),
    })
}

/// The same for whatever is asked, and any status.
///
/// # Errors
/// `auth_required`, `auth_failed`, `redirect_loop`, `protocol`, and those of
/// [`crate::probe::net::connect`].
#[cfg(feature = "webrtc")]
pub(in crate::probe) async fn request(
    target: &Target,
    ask: &mut Ask<'_>,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Arrived, ProbeError> {
    let first = Place::first(target, log)?;
    let mut session = Session::default();
    let (place, answer) = first.reach(ask, &mut session, log, clock).await?;
    Ok(Arrived {
        url: place.shown_url(&target.url),
        target: place.target,
        path: place.path,
        challenge: session.accepted.map(|(_, challenge)| challenge),
        answer,
    })
}

/// `Date` less `Last-Modified` (RFC 9110 sections 6.6.1 and 8.8.2): one clock, so its error drops out.
fn unchanged_for(answer: &Answer) -> Option<Duration> {
    let time = |name| {
        let text = answer.header_short(name)?;
        jiff::fmt::rfc2822::parse(&text).ok().map(|t| t.timestamp())
    };
    let age = time(DATE)?.duration_since(time(LAST_MODIFIED)?);
    Duration::try_from(age).ok()
}

/// One address on the way.
#[derive(Clone)]
pub(in crate::probe) struct Place {
    target: Target,
    /// As sent: with the login where the URL has a place for it.
    path: Zeroizing<String>,
    login_in_path: bool,
}

impl Place {
    /// As it may be shown.
    pub(in crate::probe) fn url(&self) -> &StreamUrl {
        &self.target.url
    }

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

    /// Asks here, and wherever the device redirects to.
    async fn reach(
        mut self,
        ask: &mut Ask<'_>,
        session: &mut Session,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<(Self, Answer), ProbeError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(ask, session, log, clock).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((self, answer));
            }
            self = self.redirected(&answer, log)?;
        }
        let last = &self.target.url;
        Err(log.error(
            ErrorCode::RedirectLoop,
            format!("more than {REDIRECTS_MAX} redirects, the last to {last}"),
        ))
    }

    async fn ask(
        &self,
        ask: &mut Ask<'_>,
        session: &mut Session,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Answer, ProbeError> {
        let link = session.link(&self.target, log, clock).await?;
        log.enter(Stage::Describe);
        if self.login_in_path && log.auth == AuthUse::NotSent {
            log.auth = AuthUse::SentNoVerdict;
        }
        let known = self.known_authorization(ask, session, log)?;
        let known = known.as_ref().map(|text| text.as_str());
        let answer = self.send(link, ask, known, log, clock).await?;
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
        self.ask_with_login(answer, ask, session, log, clock).await
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
            Ask::Get(range) => {
                link.get_part(&self.path, authorization, *range, log, until)
                    .await
            }
            Ask::Post(make) => {
                let message = make(&link).map_err(|text| log.error(ErrorCode::Internal, text))?;
                link.post(&self.path, authorization, message, log, until)
                    .await
            }
        }
    }

    /// An answer to the challenge of an earlier request, where its login was accepted.
    fn known_authorization(
        &self,
        ask: &Ask<'_>,
        session: &mut Session,
        log: &Transcript,
    ) -> Result<Option<Zeroizing<String>>, ProbeError> {
        let known = session.accepted.as_mut();
        let known = known.filter(|(device, _)| *device == self.target.url.authority());
        let (Some((_, challenge)), Some(login)) = (known, &self.target.login) else {
            return Ok(None);
        };
        self.respond(challenge, ask, login, log).map(Some)
    }

    fn respond(
        &self,
        challenge: &mut Challenge,
        ask: &Ask<'_>,
        login: &Credentials,
        log: &Transcript,
    ) -> Result<Zeroizing<String>, ProbeError> {
        challenge
            .respond(ask.method(), &self.path, login)
            .map(Zeroizing::new)
            .map_err(|text| log.error(ErrorCode::Protocol, text))
    }

    /// Answers the challenge, once; a nonce that was merely too old is answered once more.
    async fn ask_with_login(
        &self,
        mut answer: Answer,
        ask: &mut Ask<'_>,
        session: &mut Session,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Answer, ProbeError> {
        log.enter(Stage::Authenticate);
        let (mut challenge, login) = self.accept_challenge(&answer, ask, log)?;
        for _ in 0..2 {
            let authorization = self.respond(&mut challenge, ask, login, log)?;
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
                429 | 500.. => return Ok(answer),
                _ => {
                    log.auth = AuthUse::Accepted;
                    session.accepted = Some((self.target.url.authority(), challenge));
                    log.enter(Stage::Describe);
                    return Ok(answer);
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
    fn shown_url(&self, asked: &StreamUrl) -> StreamUrl {
        match self.target.url.has_placeholders() && !self.login_in_path {
            true => asked.clone(),
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

    fn redirected(&self, answer: &Answer, log: &Transcript) -> Result<Self, ProbeError> {
        let location = answer.headers(LOCATION).next();
        match location {
            Some(location) => self.refer(location, "redirects", log),
            None => {
                let from = self.target.url.authority();
                let text = format!("{from} redirects without saying where to");
                Err(log.error(ErrorCode::Protocol, text))
            }
        }
    }

    /// The place that a reference in an answer means. The login goes along to the same host only, and
    /// never out of TLS. `verb`: what the device does, for sentences.
    ///
    /// # Errors
    /// `protocol`, where the reference is no HTTP address or would carry the login away.
    pub(in crate::probe) fn refer(
        &self,
        reference: &str,
        verb: &str,
        log: &Transcript,
    ) -> Result<Self, ProbeError> {
        let base = &self.target;
        let from = base.url.authority();
        let bad = |text: &str| log.error(ErrorCode::Protocol, format!("{from} {verb} {text}"));
        let login = base.login.as_ref();
        let aim = location::resolve(&base.url, &self.path, reference, login).map_err(bad)?;
        if !matches!(aim.url.scheme.as_str(), "http" | "https") {
            return Err(bad(&format!("to {}, which is not HTTP", aim.url)));
        }
        let leaves_tls = base.url.scheme.is_tls() && !aim.url.scheme.is_tls();
        let is_elsewhere = aim.url.host != base.url.host || leaves_tls;
        if is_elsewhere && aim.carries_login {
            return Err(bad(
                "with the login to another place, it was not sent there",
            ));
        }
        let mut target = base.clone();
        target.login = target.login.filter(|_| !is_elsewhere);
        target.url = aim.url;
        Ok(Self {
            target,
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
