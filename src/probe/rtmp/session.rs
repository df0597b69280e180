//! One playing stream: from `connect` to the server's word that it plays, and the end of it.

use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::link::{Link, LinkError};
use crate::model::{AuthUse, ErrorCode, ProbeError, Stage};
use crate::probe::flv::{Gap, Screening, TagSource};
use crate::probe::http::open::{may_send_password, refuse_cleartext};
use crate::probe::http::{Clock, short};
use crate::probe::{BoxFuture, Target, Transcript};
use crate::wire::amf::Value;
use crate::wire::flv::VIDEO;
use crate::wire::rtmp::{
    COMMAND, COMMAND_AMF3, Command, ConnectFacts, Refusal, SET_BUFFER_LENGTH, STREAM_EOF, Status,
    USER_CONTROL, app_and_stream, write_command, write_connect, write_control,
};

/// What a player says that it buffers.
const BUFFER_MS: u32 = 3000;
/// `play` from the live stream, else from the recording of the same name.
const PLAY_LIVE_OR_RECORDED: f64 = -2000.0;
/// How long the goodbye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Messages that may come before the answer: cached pictures, statuses.
const MESSAGES_MAX: u32 = 4096;

/// Transactions.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 2.0;
/// `play` is answered by a status, not by a result.
const PLAY: f64 = 0.0;

/// A stream that plays.
#[derive(Debug)]
pub(super) struct Session {
    link: Link,
    stream: u32,
}

/// What an answer to a command was.
enum Answer {
    Result,
    /// To `createStream`.
    Stream(u32),
    Playing,
}

impl Session {
    /// Begins to play the target's stream; what comes of it before the answer goes to `screening`.
    ///
    /// # Errors
    /// `not_found`, `auth_required`, `auth_failed`, `busy`, `protocol`, `timeout`, `reset`.
    pub async fn play(
        mut link: Link,
        target: &Target,
        screening: &mut Screening,
        clock: &Clock,
        log: &mut Transcript,
    ) -> Result<Self, ProbeError> {
        let has_login = login_in_url(target, log)?;
        log.enter(Stage::Handshake);
        let until = clock.until(target.limits.answer);
        link.shake_hands(until).await.map_err(|e| e.named(log))?;
        log.enter(Stage::Describe);
        let path = target.url.wire_path(target.login.as_ref());
        let (app, name) = app_and_stream(&path);
        let (app, name) = (Zeroizing::new(app), Zeroizing::new(name));
        let mut session = Self { link, stream: 0 };
        let mut asking = Asking {
            target,
            screening,
            clock,
            has_login,
        };
        session.connect(&app, &mut asking, log).await?;
        session.start(&name, &mut asking, log).await?;
        if log.auth == AuthUse::SentNoVerdict {
            log.auth = AuthUse::Accepted;
        }
        Ok(session)
    }

    async fn connect(
        &mut self,
        app: &str,
        asking: &mut Asking<'_>,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        let url = &asking.target.url;
        let (scheme, authority) = (url.scheme.as_str(), url.authority());
        let url = Zeroizing::new(format!("{scheme}://{authority}/{app}"));
        write_connect(self.link.out(), ConnectFacts { app, url: &url });
        if asking.has_login {
            log.auth = AuthUse::SentNoVerdict;
        }
        self.answer(CONNECT, asking, log).await.map(drop)
    }

    async fn start(
        &mut self,
        name: &str,
        asking: &mut Asking<'_>,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        let out = self.link.out();
        write_command(out, 0, "createStream", CREATE_STREAM, &[Value::Null]);
        self.stream = match self.answer(CREATE_STREAM, asking, log).await? {
            Answer::Stream(stream) => stream,
            // Some do not say; the first one is 1 everywhere.
            Answer::Result | Answer::Playing => 1,
        };
        let arguments = [
            Value::Null,
            Value::text(name),
            Value::Number(PLAY_LIVE_OR_RECORDED),
        ];
        let (stream, out) = (self.stream, self.link.out());
        write_command(out, stream, "play", PLAY, &arguments);
        let numbers = [stream, BUFFER_MS];
        write_control(out, USER_CONTROL, Some(SET_BUFFER_LENGTH), &numbers);
        self.answer(PLAY, asking, log).await.map(drop)
    }

    /// Ends the stream, so that its slot is free at once. Best effort.
    pub async fn close(mut self) {
        let until = Instant::now() + CLOSE_LIMIT;
        let arguments = [Value::Null, Value::Number(f64::from(self.stream))];
        write_command(self.link.out(), 0, "deleteStream", 0.0, &arguments);
        let _ = self.link.flush(until).await;
    }

    /// Sends what waits, and reads up to the answer to this transaction.
    async fn answer(
        &mut self,
        transaction: f64,
        asking: &mut Asking<'_>,
        log: &mut Transcript,
    ) -> Result<Answer, ProbeError> {
        let until = asking.clock.until(asking.target.limits.answer);
        self.link.flush(until).await.map_err(|e| e.named(log))?;
        for _ in 0..MESSAGES_MAX {
            let message = self.link.message(until).await;
            let message = message.map_err(|e| unanswered(&e, log))?;
            let head = self.link.head(&message);
            let Some(command) = Command::parse(message.kind, head) else {
                let (kind, length) = (message.kind, message.length);
                let screening = &mut asking.screening;
                screening.push(kind, message.timestamp_ms, head, length);
                // Some servers play without a word.
                if transaction == PLAY && kind == VIDEO {
                    return Ok(Answer::Playing);
                }
                continue;
            };
            let status = command.status();
            if status.is_refusal() {
                return Err(refused(&status, asking, log));
            }
            if transaction == PLAY {
                if command.is("onStatus") && status.code.ends_with(".Play.Start") {
                    return Ok(Answer::Playing);
                }
                continue;
            }
            let is_ours = command
                .transaction()
                .is_none_or(|n| n == transaction || n == 0.0);
            if command.is("_result") && is_ours {
                return Ok(command.stream().map_or(Answer::Result, Answer::Stream));
            }
        }
        Err(LinkError::Budget.named(log))
    }
}

impl TagSource for Session {
    fn next<'a>(
        &'a mut self,
        screening: &'a mut Screening,
        log: &'a Transcript,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), Gap>> {
        Box::pin(async move {
            let message = match self.link.message(until).await {
                Ok(message) => message,
                Err(LinkError::Timeout) => return Err(Gap::Deadline),
                Err(LinkError::Budget) => return Err(Gap::Full),
                Err(error) => return Err(Gap::Error(error.named(log))),
            };
            let head = self.link.head(&message);
            match message.kind {
                USER_CONTROL if self.link.event(&message) == Some(STREAM_EOF) => Err(Gap::Ended),
                COMMAND | COMMAND_AMF3 => match Command::parse(message.kind, head) {
                    Some(command) if command.status().ends_stream() => Err(Gap::Ended),
                    _ => Ok(()),
                },
                kind => {
                    screening.push(kind, message.timestamp_ms, head, message.length);
                    Ok(())
                }
            }
        })
    }
}

/// What stays the same while a stream is asked for.
struct Asking<'a> {
    target: &'a Target,
    screening: &'a mut Screening,
    clock: &'a Clock,
    has_login: bool,
}

/// True when the URL carries a login, and it may go onto the wire.
fn login_in_url(target: &Target, log: &mut Transcript) -> Result<bool, ProbeError> {
    if !target.url.has_placeholders() {
        return Ok(false);
    }
    if target.login.is_none() {
        let sentence = "the URL has a place for user name and password, and no login was given";
        return Err(log.error(ErrorCode::AuthRequired, sentence));
    }
    match may_send_password(target) {
        true => Ok(true),
        false => Err(refuse_cleartext(log, target)),
    }
}

/// Many servers hang up where they should refuse.
fn unanswered(error: &LinkError, log: &Transcript) -> ProbeError {
    match error {
        LinkError::Io(_) => log.error(
            ErrorCode::Reset,
            "the device closed the connection instead of answering; check application, stream name and login",
        ),
        other => other.named(log),
    }
}

/// Turns the device's refusal into an error.
fn refused(status: &Status, asking: &Asking<'_>, log: &mut Transcript) -> ProbeError {
    let refusal = status.refusal();
    if refusal == Refusal::Login && asking.has_login {
        log.enter(Stage::Authenticate);
        log.auth = AuthUse::Refused;
    }
    let (code, what) = match refusal {
        Refusal::NotFound => (
            ErrorCode::NotFound,
            "the device has no stream at this address; check application and stream name",
        ),
        Refusal::Login if asking.has_login => (
            ErrorCode::AuthFailed,
            "the device refuses the login; check user name and password",
        ),
        Refusal::Login => (
            ErrorCode::AuthRequired,
            "the device refuses who asks; put user name and password into the URL's query",
        ),
        Refusal::Challenge => (
            ErrorCode::AuthRequired,
            "the device wants a login by challenge, which is not spoken here; use RTSP",
        ),
        Refusal::Busy => (
            ErrorCode::Busy,
            "all of the device's stream slots are in use; close another viewer or try later",
        ),
        Refusal::Other => (
            ErrorCode::Protocol,
            "the device refuses the request; check application and stream name",
        ),
    };
    log.error(code, format!("{what} ({})", short(status.code.as_bytes())))
}
