//! Recordings and pictures that stand in for cameras: MP4 and QuickTime, Matroska and WebM, MPEG-TS,
//! JPEG, below the folders of `security.file_roots`.
//!
//! **Replay.** A file is treated as if it played in a loop since 1970: a check proves the key frame that
//! is on at wall time modulo the duration. Nothing plays in between. Successive checks walk through
//! the recording, two gateways see the same picture at the same time, and a recording that is damaged in
//! one place fails there and is well again behind it.

mod open;
mod recording;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use self::open::Fault;
use self::recording::{Recording, Shown};
use self::window::Window;
use super::{Depth, Target, Transcript, wall_time};
use crate::model::{ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage};
use crate::policy::networks::AllowedNetworks;

/// What the reading thread is given.
struct Task {
    path: PathBuf,
    networks: Arc<AllowedNetworks>,
    depth: Depth,
    /// Wall time, ms since 1970.
    at_ms: u64,
    until: Instant,
}

/// What it found; `response_time_ms` at the end of the description.
#[derive(Debug, Clone, Copy)]
struct Found {
    facts: MediaFacts,
    evidence: Evidence,
    response_time_ms: u32,
    first_frame_ms: Option<u32>,
}

/// For `file:` URLs.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let queued = Instant::now();
    let _slot = match &target.gate {
        Some(gate) => gate.talk(target.depth).await,
        None => None,
    };
    log.leave_out(queued);
    let limit = match target.depth {
        Depth::Connect | Depth::Answer => target.limits.answer,
        Depth::Frame | Depth::Window => target.limits.total,
    };
    let task = Task {
        path: target.url.file_path(),
        networks: target.networks.clone(),
        depth: target.depth,
        at_ms: u64::try_from(wall_time().0).unwrap_or(0),
        until: Instant::now() + limit,
    };
    log.enter(Stage::Connect);
    // A disk may sleep or be at the other end of a network: reading has a thread of its own. It keeps
    // the deadline itself; the net below is for a read that never comes back.
    let work = tokio::task::spawn_blocking(move || {
        let mut log = Transcript::new();
        let result = read(&task, &mut log);
        (result, log)
    });
    let (result, told) = match timeout(limit + Duration::from_millis(500), work).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => return Err(log.error(ErrorCode::Internal, "the reading broke off")),
        Err(_) => {
            let text = format!("the file was not read within {} ms", limit.as_millis());
            return Err(log.error(ErrorCode::Timeout, text));
        }
    };
    *log = told;
    let found = result?;
    Ok(Outcome {
        connection_type: ConnectionType::File,
        url: target.url.clone(),
        role: target.role,
        evidence: found.evidence,
        media: found.facts,
        transport: "file",
        response_time_ms: found.response_time_ms,
        first_frame_ms: found.first_frame_ms,
        certificate: None,
    })
}

fn read(task: &Task, log: &mut Transcript) -> Result<Found, ProbeError> {
    log.enter(Stage::Connect);
    let named = |log: &Transcript, (code, text): Fault| log.error(code, text);
    let file = open::open(&task.path, task.networks.folders()).map_err(|e| named(log, e))?;
    let window = Window::new(file, task.until);
    let mut window = window.map_err(|e| named(log, open::fault(&task.path, &e)))?;
    let mut found = Found {
        facts: MediaFacts::default(),
        evidence: Evidence::Answer,
        response_time_ms: log.elapsed_ms(),
        first_frame_ms: None,
    };
    if task.depth == Depth::Connect {
        return Ok(found);
    }
    log.enter(Stage::Describe);
    let recording = Recording::read(&mut window).map_err(|e| named(log, e))?;
    found.facts = recording.facts;
    found.evidence = Evidence::Description;
    found.response_time_ms = log.elapsed_ms();
    if task.depth == Depth::Answer {
        return Ok(found);
    }
    log.enter(Stage::FirstFrame);
    let position_ms = match recording.duration_ms {
        Some(duration) if duration > 0 => task.at_ms % duration,
        _ => 0,
    };
    let Shown {
        facts,
        measured_fps,
        evidence,
    } = recording
        .shown(&mut window, position_ms)
        .map_err(|e| named(log, e))?;
    found.facts = facts;
    found.evidence = evidence;
    found.first_frame_ms = Some(log.elapsed_ms());
    if task.depth == Depth::Window {
        found.facts.announced_fps = facts.fps;
        found.facts.fps = measured_fps.or(facts.fps);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
