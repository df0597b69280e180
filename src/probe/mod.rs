//! Ways of reaching a camera. A prober knows its protocol and nothing else; the caller owns the
//! retries, the login's attempt budget and the record.

pub mod file;
mod flv;
mod gate;
pub mod hls;
pub mod http;
pub mod net;
pub mod nvr;
pub mod onvif;
pub mod ptz;
pub mod rtmp;
pub mod rtsp;
pub mod usb;
#[cfg(feature = "webrtc")]
pub mod webrtc;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{
    AuthUse, ConnectionType, Credentials, ErrorCode, OnvifFacts, Outcome, ProbeError,
    RecorderFacts, Scheme, Stage, StageTime, StreamRole, StreamUrl, Timestamp,
};
use crate::policy::networks::AllowedNetworks;

pub use gate::{Gate, Slot};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Said where a server shows the pictures that it kept, and no new one comes.
const STANDS_STILL: &str =
    "the stream stands still: old pictures and no new one; see whether its camera is on";

/// How far a probe goes (design: L0 to L3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// L0: the port accepts a connection (and its TLS handshake, where there is one).
    Connect,
    /// L1: the protocol answers: RTSP DESCRIBE, first byte of the first HTTP part. No media slot used
    /// where the protocol allows that.
    Answer,
    /// L2: the first whole key frame or picture.
    Frame,
    /// L3: a window of at least two seconds, for the frame rate.
    Window,
}

/// Deadlines of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub connect: Duration,
    pub tls: Duration,
    /// One request and its answer.
    pub answer: Duration,
    /// From PLAY to the first media packet.
    pub first_packet: Duration,
    /// From the start of media to the first whole key frame.
    pub frame: Duration,
    /// The whole probe, tear-down excluded.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            tls: Duration::from_secs(3),
            answer: Duration::from_secs(5),
            first_packet: Duration::from_secs(5),
            frame: Duration::from_secs(12),
            total: Duration::from_secs(15),
        }
    }
}

/// How a device's certificate is judged.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Accept what the device shows and report it: first use.
    #[default]
    FirstUse,
    /// Only the certificate with this SHA-256 (lower-case hex).
    Pinned(String),
    /// Chain and name checked against the system's authorities.
    Authorities,
}

/// How ONVIF is spoken, where it differs.
#[derive(Debug, Clone, Default)]
pub struct OnvifAccess {
    /// Its own account; the target's login where there is none.
    pub login: Option<Credentials>,
    /// WS-Security with the password as text instead of its digest, inside TLS: another attempt.
    pub wsse_text: bool,
}

/// What to probe.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: StreamUrl,
    pub role: StreamRole,
    /// Sent at most once, and only when the device asks.
    pub login: Option<Credentials>,
    /// Basic may travel without TLS (a host named singly by the operator).
    pub cleartext_login: bool,
    pub onvif: OnvifAccess,
    pub depth: Depth,
    pub limits: Limits,
    pub trust: Trust,
    pub networks: Arc<AllowedNetworks>,
    /// The gateway's budgets; `None` for a one-shot command.
    pub gate: Option<Arc<Gate>>,
}

impl Target {
    /// The login for this target's URL: the ONVIF account's own for `onvif://`, where there is one.
    pub fn login_of_url(&self) -> Option<&Credentials> {
        let own = self.onvif.login.as_ref();
        own.filter(|_| self.url.scheme == Scheme::Onvif)
            .or(self.login.as_ref())
    }
}

/// What a probe writes down on its way: it survives when the probe is cut off.
#[derive(Debug)]
pub struct Transcript {
    started: Instant,
    stage: Stage,
    stage_started: Instant,
    /// Waiting for our own budgets: no fault of the device.
    waited: Duration,
    pub stages: Vec<StageTime>,
    pub auth: AuthUse,
    /// `Server` header or banner, at most 128 bytes.
    pub server: Option<String>,
    /// Realm of the first challenge, at most 128 bytes.
    pub realm: Option<String>,
    /// The device wants Basic in clear and that was not allowed.
    pub needs_cleartext_login: bool,
    /// What the device told over ONVIF.
    pub onvif: Option<Box<OnvifFacts>>,
    /// What a recorder told of its channels.
    pub recorder: Option<Box<RecorderFacts>>,
}

impl Transcript {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            stage: Stage::Resolve,
            stage_started: now,
            waited: Duration::ZERO,
            stages: Vec::new(),
            auth: AuthUse::NotSent,
            server: None,
            realm: None,
            needs_cleartext_login: false,
            onvif: None,
            recorder: None,
        }
    }

    fn onvif_facts(&mut self) -> &mut OnvifFacts {
        self.onvif.get_or_insert_default()
    }

    /// The stage that runs now, for errors.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Ends the running stage and begins `next`. Time spent twice in one stage adds up.
    pub fn enter(&mut self, next: Stage) {
        let now = Instant::now();
        let ms = millis(now - self.stage_started);
        match self.stages.iter_mut().find(|s| s.name == self.stage) {
            Some(entry) => entry.ms = entry.ms.saturating_add(ms),
            None if self.stage == Stage::Resolve && ms == 0 => {}
            None => self.stages.push(StageTime {
                name: self.stage,
                ms,
            }),
        }
        self.stage = next;
        self.stage_started = now;
    }

    /// Time spent in our own queues since `since` counts for nothing.
    pub fn leave_out(&mut self, since: Instant) {
        let waited = since.elapsed();
        self.waited += waited;
        self.stage_started += waited;
    }

    /// Runs `work` with a transcript of its own: a request inside the running stage, whose own stages are
    /// none of the probe's. What became of the login counts, and an error names the running stage.
    async fn aside<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Transcript) -> Result<T, ProbeError>,
    ) -> Result<T, ProbeError> {
        let mut aside = Transcript::new();
        aside.auth = self.auth;
        let result = work(&mut aside).await;
        self.auth = aside.auth;
        self.realm = self.realm.take().or(aside.realm);
        self.needs_cleartext_login |= aside.needs_cleartext_login;
        self.waited += aside.waited;
        self.stage_started += aside.waited;
        result.map_err(|error| ProbeError {
            stage: self.stage,
            ..error
        })
    }

    /// Since the probe began, without the name look-up and our own queues.
    pub fn elapsed_ms(&self) -> u32 {
        let resolve = self
            .stages
            .iter()
            .find(|s| s.name == Stage::Resolve)
            .map_or(0, |s| s.ms);
        millis(self.started.elapsed().saturating_sub(self.waited)).saturating_sub(resolve)
    }

    /// An error at the running stage.
    pub fn error(&self, code: ErrorCode, message: impl Into<String>) -> ProbeError {
        ProbeError::new(code, self.stage, message)
    }

    /// Ends the last stage.
    fn finish(&mut self) {
        let stage = self.stage;
        self.enter(stage);
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

/// Speaks just enough of a protocol to reach the target's depth. Never retries and never sends the
/// login twice.
pub type Probe =
    for<'a> fn(&'a Target, &'a mut Transcript) -> BoxFuture<'a, Result<Outcome, ProbeError>>;

/// Every way of reaching a camera. A connection type without a row is refused by the API.
pub static PROBERS: &[(ConnectionType, Probe)] = &[
    (ConnectionType::Rtsp, |t, log| Box::pin(rtsp::probe(t, log))),
    (ConnectionType::Rtmp, |t, log| Box::pin(rtmp::probe(t, log))),
    (ConnectionType::HttpMjpeg, |t, log| {
        Box::pin(http::probe(t, log))
    }),
    (ConnectionType::Https, |t, log| {
        Box::pin(http::probe(t, log))
    }),
    (ConnectionType::Onvif, |t, log| {
        Box::pin(onvif::probe(t, log))
    }),
    #[cfg(feature = "webrtc")]
    (ConnectionType::Webrtc, |t, log| {
        Box::pin(webrtc::probe(t, log))
    }),
    (ConnectionType::Hls, |t, log| Box::pin(hls::probe(t, log))),
    (ConnectionType::Nvr, |t, log| Box::pin(nvr::probe(t, log))),
    (ConnectionType::Usb, |t, log| Box::pin(usb::probe(t, log))),
    (ConnectionType::File, |t, log| Box::pin(file::probe(t, log))),
];

/// The prober for this connection type.
pub fn prober(connection: ConnectionType) -> Option<Probe> {
    let row = PROBERS.iter().find(|(own, _)| *own == connection);
    row.map(|(_, probe)| *probe)
}

/// Why no prober is there for this type, as a sentence.
pub fn no_prober(connection: ConnectionType) -> String {
    match connection {
        ConnectionType::Webrtc => {
            "WebRTC is not in this build; use one with the cargo feature `webrtc`".to_owned()
        }
        other => format!("URLs of type {other} cannot be probed yet"),
    }
}

/// What one probe came to.
#[derive(Debug)]
pub struct Attempt {
    pub result: Result<Outcome, ProbeError>,
    pub stages: Vec<StageTime>,
    pub auth: AuthUse,
    pub server: Option<String>,
    pub realm: Option<String>,
    pub needs_cleartext_login: bool,
    pub onvif: Option<Box<OnvifFacts>>,
    pub recorder: Option<Box<RecorderFacts>>,
    pub duration_ms: u32,
}

impl Attempt {
    /// One that ended before it began.
    pub fn not_made(error: ProbeError) -> Self {
        Self {
            result: Err(error),
            stages: Vec::new(),
            auth: AuthUse::NotSent,
            server: None,
            realm: None,
            needs_cleartext_login: false,
            onvif: None,
            recorder: None,
            duration_ms: 0,
        }
    }

    /// Connect to the end of L1, ms, as far as the probe came.
    pub fn answer_ms(&self) -> u32 {
        let counts = |s: &&StageTime| s.name > Stage::Resolve && s.name <= Stage::Describe;
        self.stages.iter().filter(counts).map(|s| s.ms).sum()
    }
}

/// Runs one probe within its total deadline. A panic inside costs this probe only.
pub async fn run(target: &Target) -> Attempt {
    let mut log = Transcript::new();
    let result = match prober(target.url.connection_type()) {
        None => Err(log.error(ErrorCode::Internal, no_prober(target.url.connection_type()))),
        Some(probe) => {
            // Probers keep the total deadline themselves, so that they can tear down; this is the net below.
            let limit = target.limits.total + Duration::from_secs(2);
            let work = contained(probe(target, &mut log));
            tokio::time::timeout(limit, work)
                .await
                .unwrap_or(None)
                .ok_or(())
                .unwrap_or_else(|()| {
                    Err(ProbeError::new(
                        ErrorCode::Internal,
                        Stage::Connect,
                        "the probe broke off",
                    ))
                })
        }
    };
    let duration_ms = millis(log.started.elapsed());
    log.finish();
    let Transcript {
        stages,
        auth,
        server,
        realm,
        needs_cleartext_login,
        onvif,
        recorder,
        ..
    } = log;
    Attempt {
        result,
        stages,
        auth,
        server,
        realm,
        needs_cleartext_login,
        onvif,
        recorder,
        duration_ms,
    }
}

/// `None` when the future panics.
async fn contained<T>(mut work: BoxFuture<'_, T>) -> Option<T> {
    std::future::poll_fn(move |cx| {
        let poll = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match poll {
            Ok(poll) => poll.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        }
    })
    .await
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Wall time now.
pub fn wall_time() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
