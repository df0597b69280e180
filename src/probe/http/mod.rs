//! Pictures over HTTP: MJPEG streams and JPEG snapshots, in clear and inside TLS. What turns out to be
//! an HLS playlist goes on in [`super::hls`].
//!
//! Bodies are read as a stream; of a picture nothing is kept but its outline.

mod fetch;
mod film;
mod kind;
pub(super) mod link;
mod location;
pub(super) mod open;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

pub use fetch::{HttpBanner, banner, document, fetch_jpeg};

use self::film::{Begun, Film};
use self::open::Session;
use super::net::{self, Connection};
use super::{BoxFuture, Depth, Prober, Target, Transcript, hls};
use crate::model::{
    AuthUse, Codec, ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage,
    StreamUrl,
};

/// MJPEG and snapshots over plain HTTP.
#[derive(Debug)]
pub struct HttpMjpeg;

/// The same inside TLS, with facts of the certificate.
#[derive(Debug)]
pub struct Https;

impl Prober for HttpMjpeg {
    fn connection(&self) -> ConnectionType {
        ConnectionType::HttpMjpeg
    }

    fn probe<'a>(
        &'a self,
        target: &'a Target,
        log: &'a mut Transcript,
    ) -> BoxFuture<'a, Result<Outcome, ProbeError>> {
        Box::pin(probe(target, log))
    }
}

impl Prober for Https {
    fn connection(&self) -> ConnectionType {
        ConnectionType::Https
    }

    fn probe<'a>(
        &'a self,
        target: &'a Target,
        log: &'a mut Transcript,
    ) -> BoxFuture<'a, Result<Outcome, ProbeError>> {
        Box::pin(probe(target, log))
    }
}

async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    if target.depth == Depth::Connect {
        let certificate = clock.connect(target, log).await?.certificate;
        return Ok(Outcome {
            certificate,
            ..outcome(target, &target.url, log.elapsed_ms())
        });
    }
    let mut session = Session::default();
    let mut film = match begin(target, &mut session, log, &clock).await? {
        Begun::Film(film) => film,
        Begun::Playlist(opened, head) => {
            let work = hls::probe_opened(*opened, head, session, target, log, &clock);
            return Box::pin(work).await;
        }
    };
    let mut outcome = outcome(target, &film.url, log.elapsed_ms());
    outcome.certificate = film.certificate();
    outcome.evidence = Evidence::Description;
    outcome.media.codec = Some(Codec::Mjpeg);
    if target.depth == Depth::Answer {
        return Ok(outcome);
    }
    log.enter(Stage::FirstFrame);
    let until = clock.until(target.limits.frame);
    let picture = film.picture(log, until, |_| Ok(())).await?;
    outcome.first_frame_ms = Some(log.elapsed_ms());
    outcome.media.width = picture.width;
    outcome.media.height = picture.height;
    outcome.evidence = match film.moves(log, clock.end).await {
        true => Evidence::KeyFrame,
        false => Evidence::Picture,
    };
    if target.depth == Depth::Window && outcome.evidence == Evidence::KeyFrame {
        log.enter(Stage::Sample);
        outcome.media.fps = film.frame_rate(log, clock.end).await;
    }
    Ok(outcome)
}

/// Up to the first bytes of the first picture.
async fn begin(
    target: &Target,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Begun, ProbeError> {
    let opened = open::open(target, session, log, clock).await?;
    let until = clock.until(target.limits.first_packet);
    let begun = Film::begin(opened, log, until).await?;
    // A login inside the URL is judged by what comes: many devices refuse it with status 200.
    if log.auth == AuthUse::SentNoVerdict {
        log.auth = AuthUse::Accepted;
    }
    Ok(begun)
}

/// The weakest outcome for what answered at `url`.
fn outcome(target: &Target, url: &StreamUrl, response_time_ms: u32) -> Outcome {
    let (connection_type, transport) = match url.scheme.is_tls() {
        true => (ConnectionType::Https, "https"),
        false => (ConnectionType::HttpMjpeg, "http"),
    };
    Outcome {
        connection_type,
        url: url.clone(),
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport,
        response_time_ms,
        first_frame_ms: None,
        certificate: None,
    }
}

/// The total deadline of one probe, under which every other one lies.
pub(super) struct Clock {
    pub(super) end: Instant,
    total: Duration,
}

impl Clock {
    pub(super) fn start(target: &Target) -> Self {
        let total = target.limits.total;
        Self {
            end: Instant::now() + total,
            total,
        }
    }

    pub(super) fn until(&self, limit: Duration) -> Instant {
        self.end.min(Instant::now() + limit)
    }

    pub(super) async fn connect(
        &self,
        target: &Target,
        log: &mut Transcript,
    ) -> Result<Connection, ProbeError> {
        match timeout_at(self.end, net::connect(target, log)).await {
            Ok(result) => result,
            Err(_) => Err(log.error(
                ErrorCode::Timeout,
                format!("the probe's {} ms are over", self.total.as_millis()),
            )),
        }
    }
}

/// What a device says of itself, as a line of at most 128 bytes.
pub(super) fn short(bytes: &[u8]) -> String {
    const BYTES_MAX: usize = 128;
    let bytes = bytes.get(..4 * BYTES_MAX).unwrap_or(bytes);
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).trim().chars() {
        if text.len() + c.len_utf8() > BYTES_MAX {
            break;
        }
        if !c.is_control() {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
