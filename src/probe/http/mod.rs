//! Pictures over HTTP: MJPEG streams, JPEG snapshots and FLV, in clear and inside TLS. What comes counts,
//! not the path that it was asked under. What turns out to be an HLS playlist goes on in [`super::hls`].
//!
//! Bodies are read as a stream; of a picture nothing is kept but its outline.

mod fetch;
mod film;
mod flv;
mod kind;
pub(super) mod link;
pub(super) mod location;
pub(super) mod open;
pub(super) mod session;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

pub use fetch::{HttpBanner, banner, document, fetch_jpeg};

use bytes::Bytes;

use self::film::{Film, read_head};
use self::flv::FlvBody;
use self::kind::Content;
use self::open::{Opened, Session};
use super::flv::Screening;
use super::net::{self, Connection};
use super::{Depth, Target, Transcript, hls};
use crate::model::{
    AuthUse, Codec, ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage,
    StreamUrl,
};
use crate::wire::mjpeg::Framing;

/// MJPEG and snapshots over HTTP; inside TLS with facts of the certificate.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    if target.depth == Depth::Connect {
        let certificate = clock.connect(target, log).await?.certificate;
        return Ok(Outcome {
            certificate,
            connection_type: target.url.connection_type(),
            ..outcome(target, &target.url, log.elapsed_ms())
        });
    }
    let mut session = Session::default();
    match begin(target, &mut session, log, &clock).await? {
        Begun::Film(film) => prove_film(film, target, log, &clock).await,
        Begun::Flv(body) => prove_flv(body, target, log, &clock).await,
        Begun::Playlist(opened, head) => {
            let work = hls::probe_opened(*opened, head, session, target, log, &clock);
            Box::pin(work).await
        }
    }
}

async fn prove_film(
    mut film: Film,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Outcome, ProbeError> {
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
        true => {
            let until = clock.until(target.limits.frame);
            film.goes_on(log, until).await?;
            Evidence::KeyFrame
        }
        false => Evidence::Picture,
    };
    if target.depth == Depth::Window && outcome.evidence == Evidence::KeyFrame {
        log.enter(Stage::Sample);
        outcome.media.fps = film.frame_rate(log, clock.end).await;
    }
    Ok(outcome)
}

async fn prove_flv(
    mut body: FlvBody,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Outcome, ProbeError> {
    let mut outcome = Outcome {
        connection_type: ConnectionType::Rtmp,
        certificate: body.certificate(),
        ..outcome(target, &body.url, log.elapsed_ms())
    };
    if target.depth > Depth::Answer {
        Screening::default()
            .prove(&mut body, &mut outcome, target, clock, log)
            .await?;
    }
    Ok(outcome)
}

/// An answer that can be read.
enum Begun {
    /// Its first picture has begun.
    Film(Film),
    /// Its head says FLV; servers say so of streams that nobody sends, too.
    Flv(FlvBody),
    /// An HLS playlist, and its first bytes.
    Playlist(Box<Opened>, Bytes),
}

async fn begin(
    target: &Target,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Begun, ProbeError> {
    let mut opened = open::open(target, session, log, clock).await?;
    let until = clock.until(target.limits.first_packet);
    let (content, head) = match kind::is_multipart(&opened.content_type) {
        true => (Content::Pictures(Framing::Parts), Bytes::new()),
        false => {
            let head = read_head(&mut opened.body, log, until).await?;
            let content = kind::of_body(&opened.content_type, &head).map_err(|(code, text)| {
                log.error(code, format!("{} {text}", opened.url.authority()))
            })?;
            (content, head)
        }
    };
    let begun = match content {
        Content::Playlist => Begun::Playlist(Box::new(opened), head),
        Content::Flv => Begun::Flv(FlvBody::new(opened.url, opened.body, head)),
        Content::Pictures(framing) => {
            let Opened { url, body, .. } = opened;
            Begun::Film(Film::begin(url, body, framing, head, log, until).await?)
        }
    };
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
pub(crate) mod tests;
