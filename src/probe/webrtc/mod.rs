//! WebRTC by WHEP, as a receiver: offer and answer over HTTP, ICE with host candidates, DTLS, SRTP up to
//! the first whole key frame. Nothing of a picture is kept.

mod crypto;
mod identity;
mod media;
mod peer;
mod whep;

use self::peer::Local;
use self::whep::{Opened, Session};
use super::http::Clock;
use super::{Depth, Target, Transcript};
use crate::model::{
    ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage, StreamUrl,
};
use crate::wire::webrtc::Answer;

/// For `whep+http://` and `whep+https://`.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    let http = whep::as_http(target);
    if target.depth == Depth::Connect {
        let certificate = clock.connect(&http, log).await?.certificate;
        return Ok(Outcome {
            certificate,
            ..outcome(target, target.url.clone(), log.elapsed_ms())
        });
    }
    let (mut session, opened) = whep::open(&http, log, &clock).await?;
    let result = receive(&mut session, opened, target, &clock, log).await;
    session.close().await;
    result
}

/// From the server's answer on; whatever comes of it, the session is deleted afterwards.
async fn receive(
    session: &mut Session,
    opened: Opened,
    target: &Target,
    clock: &Clock,
    log: &mut Transcript,
) -> Result<Outcome, ProbeError> {
    let url = opened.url.clone();
    let agreed = opened.answer(session, target, clock, log).await?;
    let mut outcome = outcome(target, url, log.elapsed_ms());
    outcome.certificate = agreed.certificate;
    outcome.evidence = Evidence::Description;
    outcome.media = described(&agreed.answer);
    if target.depth >= Depth::Frame {
        log.enter(Stage::Start);
        check_candidates(&agreed.local, &agreed.answer, target, log)?;
        let peer = agreed
            .local
            .connect(&agreed.answer, target.networks.clone())
            .map_err(|text| log.error(ErrorCode::Internal, text))?;
        let proof = media::prove(peer, &agreed.answer, target, clock, log).await?;
        outcome.evidence = Evidence::KeyFrame;
        outcome.media = proof.facts;
        outcome.first_frame_ms = Some(proof.first_frame_ms);
    }
    Ok(outcome)
}

/// The weakest outcome for what answered at `url`.
fn outcome(target: &Target, url: StreamUrl, response_time_ms: u32) -> Outcome {
    Outcome {
        connection_type: ConnectionType::Webrtc,
        url,
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport: "udp",
        response_time_ms,
        first_frame_ms: None,
        certificate: None,
    }
}

/// What the answer says of its first encoding.
fn described(answer: &Answer) -> MediaFacts {
    let first = answer.formats.first();
    let sets = first.and_then(|format| format.sets.read());
    MediaFacts {
        codec: first.map(|format| format.codec),
        width: sets.map(|s| s.width),
        height: sets.map(|s| s.height),
        fps: sets.and_then(|s| s.fps),
        announced_fps: None,
    }
}

/// Is there an address for media that may be tried?
fn check_candidates(
    local: &Local,
    answer: &Answer,
    target: &Target,
    log: &Transcript,
) -> Result<(), ProbeError> {
    let host = target.url.authority();
    let reachable = local.reachable(answer);
    if reachable.iter().any(|a| target.networks.allows(*a)) {
        return Ok(());
    }
    if let Some(address) = reachable.first() {
        let text = format!(
            "{host} names {address} for media, which is not in security.allowed_networks; nothing was sent there"
        );
        return Err(log.error(ErrorCode::Internal, text));
    }
    let what = match (answer.candidates.first(), answer.other_candidates) {
        (Some(candidate), _) => format!(
            "only addresses of another family, such as {}",
            candidate.address.ip()
        ),
        (None, 0) => "no address for media".to_owned(),
        (None, _) => "only addresses for media over TCP or by name".to_owned(),
    };
    let text = format!("{host} names {what}; let it offer its LAN address over UDP");
    Err(log.error(ErrorCode::Unreachable, text))
}

#[cfg(test)]
mod tests;
