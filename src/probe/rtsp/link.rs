//! One RTSP connection: requests out, answers and frames in, each with a deadline and a bound.

use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::errors::{clipped, link_error, refuse_login};
use crate::model::{AuthUse, Credentials, ErrorCode, ProbeError};
use crate::probe::Transcript;
use crate::probe::net::Stream;
use crate::wire::auth::{AuthScheme, Challenge};
use crate::wire::rtsp::{Decoder, Event, Message, Response, RtspError, write_request};

const USER_AGENT: &str = concat!("OhmVision/", env!("CARGO_PKG_VERSION"));
/// A peer that sends no more of a body for so long has announced the wrong length.
const SILENCE: Duration = Duration::from_millis(500);
/// Requests fit in without growing: a moved buffer would leave the login behind.
const REQUEST_BYTES: usize = 1024;

/// Why no event came.
#[derive(Debug)]
pub(super) enum LinkError {
    Timeout,
    /// The byte budget is used up.
    Budget,
    Rtsp(RtspError),
    Io(std::io::Error),
}

/// A request's method, address and headers; headers with an empty value are left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
}

/// The deadlines of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// One request and its answer.
    pub answer: Duration,
    /// The whole probe.
    pub total: Instant,
}

impl Deadlines {
    /// `limit` from now, the probe's end at the latest.
    pub fn after(&self, limit: Duration) -> Instant {
        self.total.min(Instant::now() + limit)
    }
}

/// The login and how the device wants it.
#[derive(Debug)]
pub(super) struct Auth {
    login: Option<Credentials>,
    /// Basic may be sent: inside TLS, or allowed in clear.
    basic_allowed: bool,
    challenge: Option<Challenge>,
    may_refresh_stale: bool,
    may_renew: bool,
}

impl Auth {
    pub fn new(login: Option<Credentials>, basic_allowed: bool) -> Self {
        Self {
            login,
            basic_allowed,
            challenge: None,
            may_refresh_stale: true,
            may_renew: true,
        }
    }
}

/// The connection, and what it takes to speak on it.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    decoder: Decoder,
    /// Reused; holds the login in some form while it is sent.
    request: Zeroizing<Vec<u8>>,
    cseq: u32,
    bytes_left: usize,
    auth: Auth,
}

impl Link {
    /// Takes over a connection; at most `bytes_max` are read from it.
    pub fn new(stream: Stream, bytes_max: usize, auth: Auth) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            request: Zeroizing::new(Vec::with_capacity(REQUEST_BYTES)),
            cseq: 0,
            bytes_left: bytes_max,
            auth,
        }
    }

    /// Goes on with the same conversation on a new connection.
    pub fn replace_stream(&mut self, stream: Stream) {
        self.stream = stream;
        self.decoder = Decoder::default();
    }

    /// True once each request carries the login in answer to a challenge.
    pub fn is_challenged(&self) -> bool {
        self.auth.challenge.is_some()
    }

    pub fn response(&self, message: &Message) -> Response<'_> {
        self.decoder.response(message)
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.decoder.bytes(range)
    }

    /// Makes room for media.
    pub fn expect_media(&mut self) {
        const READ_BYTES: usize = 16 * 1024;
        self.decoder.grow(READ_BYTES);
    }

    /// Sends a request and, where the device wants that, the login; gives the final answer, whose
    /// status is another than 401.
    pub async fn request(
        &mut self,
        request: Request<'_>,
        deadlines: Deadlines,
        log: &mut Transcript,
        mut on_data: impl FnMut(u8, &[u8]),
    ) -> Result<Message, ProbeError> {
        // Ends: `take_challenge` gives way a bounded number of times.
        loop {
            let message = self.exchange(request, deadlines, log, &mut on_data).await?;
            if message.status != 401 {
                return Ok(message);
            }
            self.take_challenge(&message, log)?;
        }
    }

    /// Sends a request once and gives the answer to it. Frames that come before go to `on_data`.
    pub async fn exchange(
        &mut self,
        request: Request<'_>,
        deadlines: Deadlines,
        log: &mut Transcript,
        mut on_data: impl FnMut(u8, &[u8]),
    ) -> Result<Message, ProbeError> {
        let deadline = deadlines.after(deadlines.answer);
        self.write(request)
            .map_err(|sentence| log.error(ErrorCode::Protocol, sentence))?;
        if self.is_challenged() && log.auth == AuthUse::NotSent {
            log.auth = AuthUse::SentNoVerdict;
        }
        self.flush(deadline)
            .await
            .map_err(|e| link_error(&e, log))?;
        loop {
            match self.event(deadline).await {
                Ok(Event::Data { channel, payload }) => {
                    on_data(channel, self.decoder.bytes(payload));
                }
                // An interim answer.
                Ok(Event::Response(message)) if message.status < 200 => {}
                Ok(Event::Response(message)) => {
                    if log.server.is_none() {
                        log.server = self.response(&message).header("Server").map(clipped);
                    }
                    return Ok(message);
                }
                Err(error) => return Err(link_error(&error, log)),
            }
        }
    }

    /// The next answer or frame.
    pub async fn event(&mut self, deadline: Instant) -> Result<Event, LinkError> {
        loop {
            if let Some(event) = self.decoder.poll().map_err(LinkError::Rtsp)? {
                return Ok(event);
            }
            let silence = Instant::now() + SILENCE;
            let may_be_short = self.decoder.awaits_body() && silence < deadline;
            let until = if may_be_short { silence } else { deadline };
            let count = match timeout_at(until, self.stream.read(self.decoder.space())).await {
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return Err(LinkError::Io(error)),
                Err(_) if may_be_short => 0,
                Err(_) => return Err(LinkError::Timeout),
            };
            if count == 0 {
                let end = std::io::ErrorKind::UnexpectedEof;
                return self.decoder.finish().ok_or(LinkError::Io(end.into()));
            }
            self.bytes_left = self
                .bytes_left
                .checked_sub(count)
                .ok_or(LinkError::Budget)?;
            self.decoder.filled(count);
        }
    }

    /// True when the device has closed its side already. Never waits.
    pub async fn is_closed(&mut self) -> bool {
        let read = self.stream.read(self.decoder.space());
        match timeout_at(Instant::now(), read).await {
            Err(_) => false,
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(count)) => {
                self.decoder.filled(count);
                false
            }
        }
    }

    /// Reads the challenge of an answer with 401, so that the next request carries the login.
    ///
    /// # Errors
    /// `auth_required` when there is nothing that may be sent, `auth_failed` when the login was
    /// judged.
    pub fn take_challenge(
        &mut self,
        message: &Message,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        let response = self.decoder.response(message);
        let challenge = Challenge::choose(response.headers("WWW-Authenticate"))
            .map_err(|sentence| log.error(ErrorCode::AuthRequired, sentence))?;
        if log.realm.is_none() {
            log.realm = Some(clipped(&challenge.realm));
        }
        let auth = &mut self.auth;
        if auth.login.is_none() {
            let sentence = "the device asks for a login; give its user name and password";
            return Err(log.error(ErrorCode::AuthRequired, sentence));
        }
        if let Some(before) = &auth.challenge {
            let may_try_again = match log.auth {
                // A nonce that lives for a few requests only.
                AuthUse::Accepted => std::mem::take(&mut auth.may_renew),
                _ => challenge.stale && std::mem::take(&mut auth.may_refresh_stale),
            };
            if !may_try_again || challenge.scheme < before.scheme {
                return Err(refuse_login(401, log));
            }
        }
        if challenge.scheme == AuthScheme::Basic && !auth.basic_allowed {
            log.needs_cleartext_login = true;
            let sentence = "the device wants the password in clear (Basic without TLS); use rtsps, or allow it for this device";
            return Err(log.error(ErrorCode::AuthRequired, sentence));
        }
        auth.challenge = Some(challenge);
        Ok(())
    }

    /// Ends a session: sends TEARDOWN and awaits the answer, both within `limit`. Best effort.
    pub async fn tear_down(&mut self, request: Request<'_>, limit: Duration) {
        let deadline = Instant::now() + limit;
        if self.write(request).is_err() || self.flush(deadline).await.is_err() {
            return;
        }
        while let Ok(Event::Data { .. }) = self.event(deadline).await {}
    }

    fn write(&mut self, request: Request<'_>) -> Result<(), String> {
        let Request {
            method,
            url,
            headers,
        } = request;
        let authorization = match (&mut self.auth.challenge, &self.auth.login) {
            (Some(challenge), Some(login)) => challenge.respond(method, url, login)?,
            _ => String::new(),
        };
        let authorization = Zeroizing::new(authorization);
        let ours = [
            ("Authorization", authorization.as_str()),
            ("User-Agent", USER_AGENT),
        ];
        let all = ours.iter().chain(headers).copied();
        self.cseq += 1;
        self.request.clear();
        let filled = all.filter(|(_, value)| !value.is_empty());
        write_request(&mut self.request, method, url, self.cseq, filled);
        Ok(())
    }

    async fn flush(&mut self, deadline: Instant) -> Result<(), LinkError> {
        let write = async {
            self.stream.write_all(&self.request).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline, write).await {
            Ok(result) => result.map_err(LinkError::Io)?,
            Err(_) => return Err(LinkError::Timeout),
        }
        self.stream.acknowledge_at_once();
        Ok(())
    }
}
