//! Calls to one device: its clock, how it takes the login, and one connection for all.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::model::{
    AuthUse, CertificateFacts, Credentials, ErrorCode, OnvifLogin, ProbeError, Stage, StreamUrl,
};
use crate::probe::http::link::{Link, Message};
use crate::probe::http::open::{may_send_password, refuse_cleartext, status_error};
use crate::probe::http::{Clock, short};
use crate::probe::{Target, Transcript, wall_time};
use crate::wire::auth::{AuthScheme, Challenge};
use crate::wire::onvif::Call;
use crate::wire::soap::{self, Body, Fault};
use crate::wire::xml::XmlError;

/// Where the login stands.
enum Standing {
    /// Not sent, and not asked for.
    Anonymous,
    Accepted(Mechanism),
    /// Refused, or without a verdict: it is not sent again.
    Spent,
}

/// How a login travels.
enum Mechanism {
    WsseDigest,
    WsseText,
    Http(Challenge),
}

impl Mechanism {
    fn name(&self) -> OnvifLogin {
        match self {
            Self::WsseDigest => OnvifLogin::WsseDigest,
            Self::WsseText => OnvifLogin::WsseText,
            Self::Http(challenge) if challenge.scheme == AuthScheme::Basic => OnvifLogin::HttpBasic,
            Self::Http(_) => OnvifLogin::HttpDigest,
        }
    }
}

/// What came back.
enum Reply {
    Result(Vec<u8>),
    Fault(Fault),
    /// Refused for want of a login, with the challenges of HTTP, if any.
    NotAuthorized {
        challenges: Vec<String>,
        fault: Option<Fault>,
    },
}

/// Why a call brought no result.
#[derive(Debug)]
pub(super) enum CallError {
    /// The device does not know the call, or not for this account: others may work.
    OfCall(ProbeError),
    Fatal(ProbeError),
}

impl CallError {
    pub(super) fn is_about_call(&self) -> bool {
        matches!(self, Self::OfCall(_))
    }
}

impl From<ProbeError> for CallError {
    fn from(error: ProbeError) -> Self {
        Self::Fatal(error)
    }
}

impl From<CallError> for ProbeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::OfCall(error) | CallError::Fatal(error) => error,
        }
    }
}

pub(super) struct Session {
    /// The device service.
    target: Target,
    clock: Clock,
    /// With the scheme and port that it leads to.
    link: Option<(StreamUrl, Link)>,
    standing: Standing,
    /// It speaks SOAP: at least one answer was an envelope.
    pub is_soap: bool,
    /// How the login was sent, whatever became of it.
    pub login_by: Option<OnvifLogin>,
    /// The device's clock minus ours, ms.
    pub clock_offset_ms: i64,
    pub certificate: Option<CertificateFacts>,
}

impl Session {
    /// `target.url` is the device service.
    pub(super) fn new(target: Target) -> Self {
        Self {
            clock: Clock::start(&target),
            target,
            link: None,
            standing: Standing::Anonymous,
            is_soap: false,
            login_by: None,
            clock_offset_ms: 0,
            certificate: None,
        }
    }

    pub(super) fn login(&self) -> Option<&Credentials> {
        self.target.login.as_ref()
    }

    /// The next call has its time from now on: a subscription outlives every probe.
    pub(super) fn restart_clock(&mut self) {
        self.clock = Clock::start(&self.target);
    }

    /// Calls the device service without a login, which a refusal does not draw out.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(super) async fn call_anonymously(
        &mut self,
        call: &Call,
        log: &mut Transcript,
    ) -> Result<Vec<u8>, CallError> {
        let service = self.target.url.clone();
        match self.exchange(&service, call, None, log).await? {
            Reply::Result(answer) => Ok(answer),
            Reply::Fault(fault) => Err(faulted(log, &service, call, &fault)),
            Reply::NotAuthorized { .. } => Err(not_for_this_account(log, &service, call)),
        }
    }

    /// Calls a service: without a login until the device asks for it, then with it. Until it was
    /// accepted it is sent once, by the mechanism that the refusal points to.
    ///
    /// # Errors
    /// `auth_required`, `auth_failed`, `not_found`, `busy`, `rate_limited`, `protocol` (a fault, or
    /// an answer that is no SOAP), and those of [`crate::probe::net::connect`].
    pub(super) async fn call(
        &mut self,
        service: &StreamUrl,
        call: &Call,
        log: &mut Transcript,
    ) -> Result<Vec<u8>, CallError> {
        let reply = match std::mem::replace(&mut self.standing, Standing::Spent) {
            Standing::Accepted(mut mechanism) => {
                let reply = self
                    .exchange(service, call, Some(&mut mechanism), log)
                    .await;
                let renewed = match &reply {
                    // A nonce for each request, or a new one now and then.
                    Ok(Reply::NotAuthorized { challenges, .. }) => {
                        self.renewed(&mechanism, challenges)
                    }
                    _ => None,
                };
                let reply = match renewed {
                    None => reply,
                    Some(challenge) => {
                        mechanism = Mechanism::Http(challenge);
                        self.exchange(service, call, Some(&mut mechanism), log)
                            .await
                    }
                };
                self.standing = Standing::Accepted(mechanism);
                reply?
            }
            Standing::Spent => self.exchange(service, call, None, log).await?,
            Standing::Anonymous => {
                self.standing = Standing::Anonymous;
                let reply = self.exchange(service, call, None, log).await?;
                match reply {
                    Reply::NotAuthorized { challenges, fault } => {
                        log.enter(Stage::Authenticate);
                        let mechanism = self.choose(&challenges, fault.is_some(), log)?;
                        self.send_login(service, call, mechanism, log).await?
                    }
                    reply => reply,
                }
            }
        };
        match reply {
            Reply::Result(answer) => Ok(answer),
            Reply::Fault(fault) => Err(faulted(log, service, call, &fault)),
            Reply::NotAuthorized { .. } if matches!(self.standing, Standing::Accepted(_)) => {
                Err(not_for_this_account(log, service, call))
            }
            Reply::NotAuthorized { .. } => Err(self.asks_for_login(log).into()),
        }
    }

    /// The one attempt with a login that was not accepted yet; a nonce that was merely too old is
    /// answered once more.
    async fn send_login(
        &mut self,
        service: &StreamUrl,
        call: &Call,
        mut mechanism: Mechanism,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        self.standing = Standing::Spent;
        self.login_by = Some(mechanism.name());
        // Nothing that carries this login is sent on a connection that may be gone.
        if let Some((_, link)) = &mut self.link
            && !link.stands().await
        {
            self.link = None;
        }
        for _ in 0..2 {
            log.auth = AuthUse::SentNoVerdict;
            let reply = self
                .exchange(service, call, Some(&mut mechanism), log)
                .await?;
            let Reply::NotAuthorized { challenges, fault } = reply else {
                if matches!(reply, Reply::Result(_)) {
                    log.auth = AuthUse::Accepted;
                    self.standing = Standing::Accepted(mechanism);
                    log.enter(Stage::Describe);
                }
                return Ok(reply);
            };
            let again = Challenge::choose(challenges.iter().map(String::as_str));
            match again {
                Ok(again) if again.stale => mechanism = Mechanism::Http(again),
                _ => return Err(self.refused(fault, log)),
            }
        }
        Err(self.refused(None, log))
    }

    /// The mechanism that a refusal points to (Core section 5.9.1: devices with HTTP digest answer
    /// 401, those with WS-Security a fault).
    fn choose(
        &self,
        challenges: &[String],
        has_fault: bool,
        log: &mut Transcript,
    ) -> Result<Mechanism, ProbeError> {
        if self.target.login.is_none() {
            return Err(self.asks_for_login(log));
        }
        let challenge = Challenge::choose(challenges.iter().map(String::as_str));
        if let (Ok(challenge), None) = (&challenge, &log.realm) {
            log.realm = Some(short(challenge.realm.as_bytes()));
        }
        match challenge {
            Ok(challenge) if challenge.scheme != AuthScheme::Basic => {
                Ok(Mechanism::Http(challenge))
            }
            _ if has_fault => Ok(match self.target.onvif.wsse_text && self.is_encrypted() {
                true => Mechanism::WsseText,
                false => Mechanism::WsseDigest,
            }),
            Ok(challenge) if may_send_password(&self.target) => Ok(Mechanism::Http(challenge)),
            Ok(_) => Err(refuse_cleartext(log, &self.target)),
            Err(_) if challenges.is_empty() => Ok(Mechanism::WsseDigest),
            Err(text) => Err(log.error(ErrorCode::Protocol, text)),
        }
    }

    /// A new challenge for a login that was accepted before.
    fn renewed(&self, mechanism: &Mechanism, challenges: &[String]) -> Option<Challenge> {
        let Mechanism::Http(before) = mechanism else {
            return None;
        };
        let again = Challenge::choose(challenges.iter().map(String::as_str)).ok()?;
        (again.scheme >= before.scheme && before.scheme != AuthScheme::Basic).then_some(again)
    }

    fn is_encrypted(&self) -> bool {
        self.target.url.scheme.is_tls()
    }

    fn asks_for_login(&self, log: &mut Transcript) -> ProbeError {
        log.enter(Stage::Authenticate);
        let host = self.target.url.authority();
        log.error(
            ErrorCode::AuthRequired,
            format!("{host} asks for a login for ONVIF"),
        )
    }

    fn refused(&self, fault: Option<Fault>, log: &mut Transcript) -> ProbeError {
        log.auth = AuthUse::Refused;
        let host = self.target.url.authority();
        let said = fault.map(|f| f.reason).filter(|r| !r.is_empty());
        let said = said.map_or_else(String::new, |reason| format!(" (\"{reason}\")"));
        log.error(
            ErrorCode::AuthFailed,
            format!(
                "{host} refuses the login for ONVIF{said}; ONVIF accounts may be a list of their own"
            ),
        )
    }

    /// One request and its answer, on the connection that stands or a new one.
    async fn exchange(
        &mut self,
        service: &StreamUrl,
        call: &Call,
        mechanism: Option<&mut Mechanism>,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        let (authorization, security) = self.login_for(service, mechanism, log)?;
        let mut header = Zeroizing::new(call.header.clone());
        if let Some(security) = &security {
            header.push_str(security);
        }
        let envelope = soap::envelope(Some(header.as_str()), &call.body);
        let body = Bytes::copy_from_slice(envelope.as_bytes());
        let authorization = authorization.as_deref().map(String::as_str);
        let is_unproven = log.auth == AuthUse::SentNoVerdict;
        let kept = self.kept_link(service);
        let is_kept = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => self.open(service, log).await?,
        };
        let sent = self.post(link, service, call, authorization, body.clone(), log);
        match sent.await {
            // A kept connection may have been closed meanwhile.
            Err(error) if error.code == ErrorCode::Reset && is_kept && !is_unproven => {
                let link = self.open(service, log).await?;
                self.post(link, service, call, authorization, body, log)
                    .await
            }
            reply => reply,
        }
    }

    async fn post(
        &mut self,
        link: Link,
        service: &StreamUrl,
        call: &Call,
        authorization: Option<&str>,
        body: Bytes,
        log: &mut Transcript,
    ) -> Result<Reply, ProbeError> {
        let message = Message {
            content_type: format!(
                "application/soap+xml; charset=utf-8; action=\"{}\"",
                call.action
            ),
            body,
        };
        let until = self.clock.until(self.target.limits.answer);
        let answer = link
            .post(&service.path, authorization, message, log, until)
            .await?;
        if log.server.is_none() {
            log.server = answer.header_short(hyper::header::SERVER);
        }
        let status = answer.status();
        let challenges: Vec<String> = answer
            .headers(WWW_AUTHENTICATE)
            .take(8)
            .map(str::to_owned)
            .collect();
        let whole = answer.into_whole(soap::ANSWER_BYTES_MAX, log, until).await;
        let whole = whole?;
        let document = whole.bytes;
        self.link = Some((service.clone(), whole.link));
        let body = soap::body(&document);
        self.is_soap |= matches!(body, Ok(Body::Result | Body::Fault(_)));
        sorted(status, challenges, body, document, service, log)
    }

    /// Values of the HTTP header and of the SOAP header.
    #[expect(clippy::type_complexity, reason = "two optional secrets")]
    fn login_for(
        &self,
        service: &StreamUrl,
        mechanism: Option<&mut Mechanism>,
        log: &Transcript,
    ) -> Result<(Option<Zeroizing<String>>, Option<Zeroizing<String>>), ProbeError> {
        let (Some(mechanism), Some(login)) = (mechanism, &self.target.login) else {
            return Ok((None, None));
        };
        let created = wall_time().plus_ms(self.clock_offset_ms);
        Ok(match mechanism {
            Mechanism::Http(challenge) => {
                let answer = challenge.respond("POST", &service.path, login);
                let answer = answer.map_err(|text| log.error(ErrorCode::Protocol, text))?;
                (Some(Zeroizing::new(answer)), None)
            }
            Mechanism::WsseDigest => (None, Some(soap::digest_token(login, &nonce(log)?, created))),
            Mechanism::WsseText => (None, Some(soap::text_token(login, &nonce(log)?, created))),
        })
    }

    fn kept_link(&mut self, service: &StreamUrl) -> Option<Link> {
        let (to, link) = self.link.take()?;
        (to.scheme == service.scheme && to.port == service.port).then_some(link)
    }

    async fn open(
        &mut self,
        service: &StreamUrl,
        log: &mut Transcript,
    ) -> Result<Link, ProbeError> {
        let stage = log.stage();
        let target = Target {
            url: service.clone(),
            ..self.target.clone()
        };
        let link = Link::open(&target, log, &self.clock).await?;
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

/// Sorts an answer. The body counts more than the status: faults come with 200, and results may.
fn sorted(
    status: StatusCode,
    challenges: Vec<String>,
    body: Result<Body, XmlError>,
    document: Vec<u8>,
    service: &StreamUrl,
    log: &Transcript,
) -> Result<Reply, ProbeError> {
    let is_unauthorized = status == StatusCode::UNAUTHORIZED;
    match body {
        Ok(Body::Fault(fault)) if is_unauthorized || fault.is_not_authorized() => {
            Ok(Reply::NotAuthorized {
                challenges,
                fault: Some(fault),
            })
        }
        Ok(Body::Fault(fault)) => Ok(Reply::Fault(fault)),
        Ok(Body::Result) if status.is_success() => Ok(Reply::Result(document)),
        _ if is_unauthorized => Ok(Reply::NotAuthorized {
            challenges,
            fault: None,
        }),
        what => {
            let host = service.authority();
            let (code, text) = status_error(status, log.auth).unwrap_or_else(|| {
                let why = match what {
                    Err(error) => error.to_string(),
                    Ok(_) => "it is no SOAP".to_owned(),
                };
                let text = format!("does not answer as an ONVIF device does: {why}");
                (ErrorCode::Protocol, text)
            });
            Err(log.error(code, format!("{host} {text}")))
        }
    }
}

fn not_for_this_account(log: &Transcript, service: &StreamUrl, call: &Call) -> CallError {
    let (host, name) = (service.authority(), call.name());
    let text = format!("{host} does not allow {name} to this account");
    CallError::OfCall(log.error(ErrorCode::AuthFailed, text))
}

fn faulted(log: &Transcript, service: &StreamUrl, call: &Call, fault: &Fault) -> CallError {
    let (host, name) = (service.authority(), call.name());
    let what = match fault.reason.is_empty() {
        true => fault.codes.join("/"),
        false => format!("\"{}\"", fault.reason),
    };
    let text = format!("{host} answers {name} with a fault: {what}");
    CallError::OfCall(log.error(ErrorCode::Protocol, text))
}

fn nonce(log: &Transcript) -> Result<[u8; soap::NONCE_BYTES], ProbeError> {
    let mut nonce = [0; soap::NONCE_BYTES];
    match SystemRandom::new().fill(&mut nonce) {
        Ok(()) => Ok(nonce),
        Err(_) => Err(log.error(ErrorCode::Internal, "the system gives no random bytes")),
    }
}
