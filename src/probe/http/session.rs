//! Several requests to one device: one connection where it stands, and one login for all.

use hyper::Method;
use hyper::header::{SERVER, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use super::link::{Link, Message};
use super::open::{may_send_password, refuse_cleartext, status_error};
use super::{Clock, short};
use crate::model::{AuthUse, CertificateFacts, ErrorCode, ProbeError, Stage};
use crate::probe::{Target, Transcript};
use crate::wire::auth::{AuthScheme, Challenge};
use crate::wire::maker::{ANSWER_BYTES_MAX, ApiRequest, Verb};

/// Challenges of one answer that are looked at.
const CHALLENGES_MAX: usize = 8;

/// An answer, whatever its status but 401.
#[derive(Debug)]
pub(in crate::probe) struct Reply {
    pub status: u16,
    /// At most [`ANSWER_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

impl Reply {
    pub(in crate::probe) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Where the login stands.
enum Login {
    /// Not sent, and not asked for.
    Anonymous,
    Accepted(Challenge),
    /// Refused, or without a verdict: it is not sent again.
    Spent,
}

/// A conversation with the web service that the target's URL leads to.
pub(in crate::probe) struct Session {
    target: Target,
    clock: Clock,
    link: Option<Link>,
    login: Login,
    pub(in crate::probe) certificate: Option<CertificateFacts>,
    /// The last answer broke off.
    was_cut: bool,
}

/// What came back, 401 included.
struct Answered {
    reply: Reply,
    challenges: Vec<String>,
}

impl Session {
    /// `target.url` is the web service; its path is not used.
    pub(in crate::probe) fn new(target: Target) -> Self {
        Self {
            clock: Clock::start(&target),
            target,
            link: None,
            login: Login::Anonymous,
            certificate: None,
            was_cut: false,
        }
    }

    /// What an answer that could not be read means: where the device closed the connection in the middle of the
    /// last one, that is what went wrong.
    pub(in crate::probe) fn unreadable(&self, error: ProbeError, log: &Transcript) -> ProbeError {
        let is_of_content = matches!(error.code, ErrorCode::NotFound | ErrorCode::Protocol);
        if !(self.was_cut && is_of_content) {
            return error;
        }
        let host = self.target.url.authority();
        let text = format!("{host} closed the connection in the middle of its answer");
        log.error(ErrorCode::Reset, text)
    }

    pub(in crate::probe) fn target(&self) -> &Target {
        &self.target
    }

    /// One request: without the login until the device asks for it, then with it. Until it was accepted
    /// it is sent once; a nonce that was merely too old is answered once more.
    ///
    /// # Errors
    /// `auth_required`, `auth_failed`, `protocol`, and those of [`crate::probe::net::connect`].
    pub(in crate::probe) async fn call(
        &mut self,
        request: &ApiRequest,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        log.enter(Stage::Describe);
        let mut known = match std::mem::replace(&mut self.login, Login::Spent) {
            Login::Accepted(challenge) => Some(challenge),
            Login::Anonymous => None,
            Login::Spent => return self.without_login(request, log).await,
        };
        let is_known = known.is_some();
        let first = self.send(request, known.as_mut(), log).await;
        let first = match first {
            Ok(first) => first,
            Err(error) => {
                self.login = known.map_or(Login::Anonymous, Login::Accepted);
                return Err(error);
            }
        };
        if first.reply.status != 401 {
            self.login = known.map_or(Login::Anonymous, Login::Accepted);
            return Ok(first.reply);
        }
        log.enter(Stage::Authenticate);
        let challenge = self.choose(&first.challenges, log)?;
        let is_downgrade = known.is_some_and(|known| known.scheme > challenge.scheme);
        if is_downgrade {
            return Err(self.refused(log));
        }
        self.send_login(request, challenge, is_known, log).await
    }

    /// Answers a challenge. A login that was accepted before is judged anew by what comes.
    async fn send_login(
        &mut self,
        request: &ApiRequest,
        mut challenge: Challenge,
        is_known: bool,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        // Nothing that carries this login is sent on a connection that may be gone.
        if let Some(link) = &mut self.link
            && !link.stands().await
        {
            self.link = None;
        }
        for _ in 0..2 {
            if !is_known {
                log.auth = AuthUse::SentNoVerdict;
            }
            let answer = self.send(request, Some(&mut challenge), log).await?;
            match answer.reply.status {
                401 => {}
                // Trouble of its own: nothing is said about the login.
                429 | 500.. => return Ok(answer.reply),
                _ => {
                    log.auth = AuthUse::Accepted;
                    log.enter(Stage::Describe);
                    self.login = Login::Accepted(challenge);
                    return Ok(answer.reply);
                }
            }
            match self.choose(&answer.challenges, log) {
                Ok(again) if again.stale => challenge = again,
                _ => break,
            }
        }
        Err(self.refused(log))
    }

    async fn without_login(
        &mut self,
        request: &ApiRequest,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        let answer = self.send(request, None, log).await?;
        match answer.reply.status {
            401 => Err(self.refused(log)),
            _ => Ok(answer.reply),
        }
    }

    /// The strongest challenge that may be answered.
    fn choose(&self, challenges: &[String], log: &mut Transcript) -> Result<Challenge, ProbeError> {
        let host = self.target.url.authority();
        let challenge = Challenge::choose(challenges.iter().map(String::as_str));
        if let (Ok(challenge), None) = (&challenge, &log.realm) {
            log.realm = Some(short(challenge.realm.as_bytes()));
        }
        if self.target.login.is_none() {
            let text = format!("{host} asks for a login");
            return Err(log.error(ErrorCode::AuthRequired, text));
        }
        let challenge = challenge.map_err(|text| log.error(ErrorCode::Protocol, text))?;
        match challenge.scheme == AuthScheme::Basic && !may_send_password(&self.target) {
            true => Err(refuse_cleartext(log, &self.target)),
            false => Ok(challenge),
        }
    }

    fn refused(&self, log: &mut Transcript) -> ProbeError {
        log.enter(Stage::Authenticate);
        log.auth = AuthUse::Refused;
        let host = self.target.url.authority();
        let text = format!("{host} refuses the login; it is not tried again until it is changed");
        log.error(ErrorCode::AuthFailed, text)
    }

    /// One request and its answer, on the connection that stands or a new one.
    async fn send(
        &mut self,
        request: &ApiRequest,
        challenge: Option<&mut Challenge>,
        log: &mut Transcript,
    ) -> Result<Answered, ProbeError> {
        let authorization = match (challenge, &self.target.login) {
            (Some(challenge), Some(login)) => {
                let answer = challenge.respond(method(request.verb).as_str(), &request.path, login);
                let answer = answer.map_err(|text| log.error(ErrorCode::Protocol, text))?;
                Some(Zeroizing::new(answer))
            }
            _ => None,
        };
        let authorization = authorization.as_deref().map(String::as_str);
        let is_unproven = log.auth == AuthUse::SentNoVerdict;
        let kept = self.link.take();
        let is_kept = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => self.open(log).await?,
        };
        match self.exchange(link, request, authorization, log).await {
            // A kept connection may have been closed meanwhile.
            Err(error) if error.code == ErrorCode::Reset && is_kept && !is_unproven => {
                let link = self.open(log).await?;
                self.exchange(link, request, authorization, log).await
            }
            answer => answer,
        }
    }

    async fn exchange(
        &mut self,
        link: Link,
        request: &ApiRequest,
        authorization: Option<&str>,
        log: &mut Transcript,
    ) -> Result<Answered, ProbeError> {
        let message = request.body.as_ref().map(|(kind, text)| Message {
            content_type: (*kind).to_owned(),
            body: bytes::Bytes::copy_from_slice(text.as_bytes()),
        });
        let until = self.clock.until(self.target.limits.answer);
        let method = method(request.verb);
        let sent = link.send(method, &request.path, authorization, message, log, until);
        let answer = sent.await?;
        if log.server.is_none() {
            log.server = answer.header_short(SERVER);
        }
        let status = answer.status().as_u16();
        let challenges = answer.headers(WWW_AUTHENTICATE).take(CHALLENGES_MAX);
        let challenges = challenges.map(str::to_owned).collect();
        let whole = answer.into_whole(ANSWER_BYTES_MAX, log, until).await?;
        self.link = Some(whole.link);
        self.was_cut = whole.is_cut;
        let body = whole.bytes;
        Ok(Answered {
            reply: Reply { status, body },
            challenges,
        })
    }

    async fn open(&mut self, log: &mut Transcript) -> Result<Link, ProbeError> {
        let stage = log.stage();
        let link = Link::open(&self.target, log, &self.clock).await?;
        if self.certificate.is_none() {
            self.certificate.clone_from(&link.certificate);
        }
        log.enter(match stage {
            Stage::Authenticate => Stage::Authenticate,
            _ => Stage::Describe,
        });
        Ok(link)
    }
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::GET,
        Verb::Put => Method::PUT,
        Verb::Post => Method::POST,
    }
}

/// The error of a reply that is no success.
pub(in crate::probe) fn failure(
    reply: &Reply,
    target: &Target,
    log: &Transcript,
) -> Option<ProbeError> {
    let status = hyper::StatusCode::from_u16(reply.status).ok()?;
    if reply.is_ok() {
        return None;
    }
    let (code, text) = status_error(status, log.auth)?;
    Some(log.error(code, format!("{} {text}", target.url.authority())))
}
