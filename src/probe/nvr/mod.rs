//! Recorders: the channels that a maker's own interface lists, and the pictures of one of them, which
//! travel over RTSP.

mod dvrip;
mod list;

pub(super) use list::{reolink_error, reolink_login};

use tokio::time::timeout_at;

use super::http::Clock;
use super::rtsp;
use super::{Depth, Target, Transcript};
use crate::model::{
    ChannelSource, ChannelState, ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome,
    ProbeError, RecorderFacts, Stage, StreamRole, StreamUrl,
};
use crate::vendor::{Catalogue, recorder_streams};
use crate::wire::maker;

/// For `nvr://host?api=..&channel=..`.
///
/// Up to [`Depth::Answer`] the list of channels answers for the recorder; deeper, the stream of the
/// channel that the URL names is proven, or of the first one that is online. Where none is named, a channel
/// that fails says nothing against the recorder.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let clock = Clock::start(target);
    let Some(source) = maker::api(&target.url) else {
        let names = ChannelSource::OF_MAKERS.map(ChannelSource::as_str);
        let text = format!(
            "{} does not say how the recorder is asked; add ?api= with one of {}",
            target.url,
            names.join(", ")
        );
        return Err(log.error(ErrorCode::Protocol, text));
    };
    let service = Target {
        url: maker::service(&target.url),
        // No media slot is used here.
        depth: target.depth.min(Depth::Answer),
        ..target.clone()
    };
    if target.depth == Depth::Connect {
        let certificate = clock.connect(&service, log).await?.certificate;
        return Ok(Outcome {
            certificate,
            ..outcome(target, log.elapsed_ms())
        });
    }
    let listing = list::channels(service, source, log);
    let Ok(listed) = timeout_at(clock.end, listing).await else {
        let total_ms = target.limits.total.as_millis();
        let text = format!("the probe's {total_ms} ms are over");
        return Err(log.error(ErrorCode::Timeout, text));
    };
    let (facts, certificate) = listed?;
    let mut outcome = outcome(target, log.elapsed_ms());
    outcome.certificate = certificate;
    let stream = match target.depth >= Depth::Frame {
        true => stream(target, source, &facts, log)?,
        false => None,
    };
    log.recorder = Some(Box::new(facts));
    let Some(url) = stream else {
        return Ok(outcome);
    };
    let mut watched = Target {
        url,
        ..target.clone()
    };
    watched.limits.total = clock
        .end
        .saturating_duration_since(tokio::time::Instant::now());
    match rtsp::probe(&watched, log).await {
        Ok(proof) => {
            outcome.evidence = proof.evidence;
            outcome.media = proof.media;
            outcome.first_frame_ms = proof.first_frame_ms;
            Ok(outcome)
        }
        Err(_) if maker::channel(&target.url).is_none() => Ok(outcome),
        Err(error) => Err(error),
    }
}

/// The stream to be proven; `None` where no channel is named and none is online.
fn stream(
    target: &Target,
    source: ChannelSource,
    facts: &RecorderFacts,
    log: &mut Transcript,
) -> Result<Option<StreamUrl>, ProbeError> {
    let host = &target.url.host;
    let named = maker::channel(&target.url);
    let channel = facts.channels.iter().find(|channel| match named {
        Some(number) => channel.number == number,
        None => channel.state == ChannelState::Online,
    });
    let number = match (channel, named) {
        (Some(channel), Some(_)) if channel.state == ChannelState::Empty => {
            let text = format!(
                "nothing is connected to channel {} of {host}",
                channel.number
            );
            return Err(log.error(ErrorCode::NotFound, text));
        }
        (Some(channel), Some(_)) if channel.state == ChannelState::Offline => {
            log.enter(Stage::FirstPacket);
            let text = format!(
                "{host} receives no pictures from the camera of channel {}",
                channel.number
            );
            return Err(log.error(ErrorCode::NoFrame, text));
        }
        (Some(channel), _) => channel.number,
        (None, Some(number)) => {
            let text = format!("{host} has no channel {number}");
            return Err(log.error(ErrorCode::NotFound, text));
        }
        (None, None) => return Ok(None),
    };
    let catalogue = Catalogue::builtin();
    let maker = source.maker_id().and_then(|id| catalogue.by_id(id));
    let streams = maker.map(|maker| recorder_streams(maker, host, number, facts.rtsp_port));
    let wanted = match target.role {
        StreamRole::Sub | StreamRole::Third => target.role,
        _ => StreamRole::Main,
    };
    let mut found = streams.unwrap_or_default().into_iter();
    Ok(found.find(|(role, _)| *role == wanted).map(|(_, url)| url))
}

/// The weakest outcome for a recorder that answered.
fn outcome(target: &Target, response_time_ms: u32) -> Outcome {
    Outcome {
        connection_type: ConnectionType::Nvr,
        url: target.url.clone(),
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport: "tcp",
        response_time_ms,
        first_frame_ms: None,
        certificate: None,
    }
}

#[cfg(test)]
mod tests;
