//! HLS: the playlist for the answer, its newest segment up to a whole key frame for the proof, and the
//! playlist again until it has moved (RFC 8216). Reached by a URL that ends in `.m3u8`, or when any other
//! web address answers with a playlist.
//!
//! Segments are read as a stream and nothing of a picture is kept. A stream counts as live only when its
//! playlist moves: a packager that died leaves a valid playlist behind, with status 200.

mod fresh;
mod playlist;
mod segment;
mod watch;

use bytes::Bytes;

use self::fresh::Freshness;
use self::playlist::Listed;
use super::http::Clock;
use super::http::open::{self, Opened, Session};
use super::{Depth, Target, Transcript};
use crate::model::{
    CertificateFacts, ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage,
    StreamRole, StreamUrl,
};

/// For `http://` and `https://` URLs of playlists.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    if target.depth == Depth::Connect {
        let certificate = clock.connect(target, log).await?.certificate;
        let outcome = outcome(target, target.url.clone(), certificate, log.elapsed_ms());
        return Ok(outcome);
    }
    let mut session = Session::default();
    let opened = open::open(target, &mut session, log, &clock).await?;
    probe_opened(opened, Bytes::new(), session, target, log, &clock).await
}

/// Goes on with an answer that is a playlist; `head` was read of it already.
pub(super) async fn probe_opened(
    opened: Opened,
    head: Bytes,
    mut session: Session,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Outcome, ProbeError> {
    let url = opened.url.clone();
    let certificate = opened.body.certificate();
    let lean = !matches!(target.role, StreamRole::Main | StreamRole::Any);
    let listed = playlist::read(opened, head, lean, &mut session, target, log, clock).await?;
    let mut outcome = outcome(target, url, certificate, log.elapsed_ms());
    outcome.evidence = Evidence::Description;
    outcome.media = listed.facts;
    if target.depth == Depth::Answer {
        fresh::by_its_own_account(listed, &mut session, target, log, clock).await?;
        return Ok(outcome);
    }
    log.enter(Stage::FirstPacket);
    let before = Freshness::of(&listed);
    let mut listed = fresh::with_segments(listed, &mut session, target, log, clock).await?;
    let seen = segment::prove(&mut listed, &mut session, target, log, clock).await?;
    outcome.media = seen.facts;
    outcome.first_frame_ms = Some(seen.first_frame_ms);
    let moves = before
        .moves(listed, &mut session, target, log, clock)
        .await?;
    outcome.evidence = match moves {
        true => Evidence::KeyFrame,
        false => Evidence::Picture,
    };
    Ok(outcome)
}

fn outcome(
    target: &Target,
    url: StreamUrl,
    certificate: Option<CertificateFacts>,
    response_time_ms: u32,
) -> Outcome {
    Outcome {
        connection_type: ConnectionType::Hls,
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport: match url.scheme.is_tls() {
            true => "https",
            false => "http",
        },
        url,
        response_time_ms,
        first_frame_ms: None,
        certificate,
    }
}

/// The stream stands still, or has nothing yet: the protocol answers, only pictures are missing.
fn no_frame(listed: &Listed, what: &str, log: &mut Transcript) -> ProbeError {
    if log.stage() < Stage::FirstPacket {
        log.enter(Stage::FirstPacket);
    }
    let text = format!("{} {what}", listed.place.url().authority());
    log.error(ErrorCode::NoFrame, text)
}

#[cfg(test)]
mod tests;
