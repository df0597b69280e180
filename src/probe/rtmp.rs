//! RTMP and RTMPS: handshake, `connect`, `createStream` and `play` for the answer, video messages for
//! the proof (Adobe, "RTMP Specification 1.0"; enhanced RTMP, version 2). HTTP-FLV is the same
//! pictures in another envelope, and is fetched as all of HTTP is.

mod link;
mod session;

use self::link::Link;
use self::session::Session;
use super::flv::Screening;
use super::http::{self, Clock};
use super::{Depth, Target, Transcript};
use crate::model::{
    CertificateFacts, ConnectionType, Evidence, MediaFacts, Outcome, ProbeError, Scheme,
};

/// For `rtmp://`, `rtmps://`, and FLV over HTTP.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    match target.url.scheme {
        Scheme::Http | Scheme::Https => http::probe(target, log).await,
        _ => play(target, log).await,
    }
}

async fn play(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    let connection = clock.connect(target, log).await?;
    let certificate = connection.certificate;
    if target.depth == Depth::Connect {
        return Ok(outcome(target, certificate, log.elapsed_ms()));
    }
    let link = Link::new(connection.stream, target.depth);
    let mut screening = Screening::default();
    let mut session = Session::play(link, target, &mut screening, &clock, log).await?;
    let mut outcome = outcome(target, certificate, log.elapsed_ms());
    let mut result = Ok(());
    if target.depth >= Depth::Frame {
        result = screening
            .prove(&mut session, &mut outcome, target, &clock, log)
            .await;
    }
    session.close().await;
    result.map(|()| outcome)
}

/// The weakest outcome.
fn outcome(
    target: &Target,
    certificate: Option<CertificateFacts>,
    response_time_ms: u32,
) -> Outcome {
    let is_tls = target.url.scheme.is_tls();
    Outcome {
        connection_type: ConnectionType::Rtmp,
        url: target.url.clone(),
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport: if is_tls { "tls" } else { "tcp" },
        response_time_ms,
        first_frame_ms: None,
        certificate,
    }
}

#[cfg(test)]
mod tests;
