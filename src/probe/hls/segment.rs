//! The newest segment, as a stream, up to its first whole key frame.

use bytes::Bytes;
use tokio::time::Instant;

use super::no_frame;
use super::playlist::Listed;
use super::watch::Watch;
use crate::model::{ErrorCode, MediaFacts, ProbeError, Stage};
use crate::probe::http::Clock;
use crate::probe::http::link::{Body, Chunk};
use crate::probe::http::open::{self, Session};
use crate::probe::{Depth, Target, Transcript};
use crate::wire::m3u8::{ByteRange, Segment};

/// What a stream has shown.
pub(super) struct Seen {
    pub facts: MediaFacts,
    pub first_frame_ms: u32,
}

/// Reads the newest segment until a key frame is whole, and further for the frame rate where the depth
/// asks for it. A segment without a key frame is left for the one before it.
///
/// # Errors
/// `no_frame`, `unsupported_codec`, `reset` for a segment that breaks off, and those of a request.
pub(super) async fn prove(
    listed: &mut Listed,
    session: &mut Session,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Seen, ProbeError> {
    let until = clock.until(target.limits.frame);
    let mut may_read_again = true;
    let mut older = 0;
    loop {
        let at = listed.media.newest.len().checked_sub(1 + older);
        let Some(segment) = at.and_then(|at| listed.media.newest.get(at)).cloned() else {
            let text = format!(
                "has no key frame in its newest {older} segments; let its encoder begin each segment with one"
            );
            return Err(no_frame(listed, &text, log));
        };
        let mut reading = match begin(listed, &segment, until, session, log, clock).await {
            // The window moved on before we came.
            Err(error)
                if error.code == ErrorCode::NotFound && std::mem::take(&mut may_read_again) =>
            {
                *listed = listed.again(session, target, log, clock).await?;
                continue;
            }
            begun => begun?,
        };
        let first_frame_ms = reading.key_frame(listed, log, until).await?;
        if first_frame_ms.is_some() && target.depth >= Depth::Window {
            log.enter(Stage::Sample);
            reading.sample(log, clock.end).await;
        }
        let watch = reading.close(session);
        if let Some(first_frame_ms) = first_frame_ms {
            let mut facts = watch.facts(listed.facts);
            if target.depth >= Depth::Window {
                facts.announced_fps = facts.fps;
                facts.fps = watch.fps().or(facts.fps);
            }
            return Ok(Seen {
                facts,
                first_frame_ms,
            });
        }
        older += 1;
    }
}

/// Opens a segment, its initialisation read before it.
async fn begin(
    listed: &Listed,
    segment: &Segment,
    until: Instant,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Reading, ProbeError> {
    let mut watch = Watch::new();
    if let Some(map) = &segment.map {
        let (uri, range) = (&map.uri, map.range);
        let mut reading = Reading::open(listed, uri, range, watch, session, log, clock).await?;
        while !reading.is_over {
            reading.advance(listed, log, until).await?;
        }
        watch = reading.close(session);
        watch.begin_segment();
    }
    let (uri, range) = (&segment.uri, segment.range);
    Reading::open(listed, uri, range, watch, session, log, clock).await
}

/// A resource of the playlist on its way.
struct Reading {
    body: Body,
    /// Bytes before the range that was asked for, where the device sends the whole.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
    watch: Watch,
    is_over: bool,
    /// The connection stands at the end of its answer.
    is_whole: bool,
}

enum Step {
    Data,
    End,
    Deadline,
    /// The device ended its answer before the end that it had announced.
    Broken,
    Refused(ErrorCode, String),
}

impl Reading {
    async fn open(
        listed: &Listed,
        uri: &str,
        range: Option<ByteRange>,
        watch: Watch,
        session: &mut Session,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Self, ProbeError> {
        let place = listed.place.refer(uri, "refers", log)?;
        let opened = log
            .aside(async |log| open::open_place(place, range, session, log, clock).await)
            .await?;
        let offset = range.filter(|_| !opened.is_part).map(|range| range.offset);
        Ok(Self {
            body: opened.body,
            skip: offset.unwrap_or(0),
            left: range.map_or(u64::MAX, |range| range.length),
            watch,
            is_over: false,
            is_whole: false,
        })
    }

    /// When the first whole key frame was there, ms since the probe began; `None` for a segment
    /// without one.
    async fn key_frame(
        &mut self,
        listed: &Listed,
        log: &mut Transcript,
        until: Instant,
    ) -> Result<Option<u32>, ProbeError> {
        while !self.watch.has_key_frame() {
            if self.is_over {
                return Ok(None);
            }
            self.advance(listed, log, until).await?;
            if log.stage() < Stage::FirstFrame {
                log.enter(Stage::FirstFrame);
            }
        }
        Ok(Some(log.elapsed_ms()))
    }

    /// One step on; whatever goes wrong is an error.
    async fn advance(
        &mut self,
        listed: &Listed,
        log: &mut Transcript,
        until: Instant,
    ) -> Result<(), ProbeError> {
        let device = || listed.place.url().authority();
        match self.step(log, until).await? {
            Step::Data | Step::End => Ok(()),
            Step::Deadline => Err(no_frame(listed, "sent no whole key frame in time", log)),
            Step::Broken => {
                let text = format!("{} broke off in the middle of a segment", device());
                Err(log.error(ErrorCode::Reset, text))
            }
            Step::Refused(code, what) => Err(log.error(code, format!("{} sends {what}", device()))),
        }
    }

    /// Goes on until the frame rate is known or the segment is over: what was seen counts.
    async fn sample(&mut self, log: &Transcript, until: Instant) {
        while !self.is_over && !self.watch.rate_is_full() {
            match self.step(log, until).await {
                Ok(Step::Data | Step::End) => {}
                _ => return,
            }
        }
    }

    async fn step(&mut self, log: &Transcript, until: Instant) -> Result<Step, ProbeError> {
        let data = match self.body.chunk(log, until).await? {
            Chunk::Data(data) => self.of_range(data),
            Chunk::Deadline => return Ok(Step::Deadline),
            Chunk::End { is_whole } => {
                self.is_over = true;
                self.is_whole = is_whole;
                if !is_whole && self.body.marks_its_end() {
                    return Ok(Step::Broken);
                }
                self.watch.finish();
                return Ok(Step::End);
            }
        };
        if let Err((code, what)) = self.watch.feed(&data) {
            return Ok(Step::Refused(code, what));
        }
        if self.left == 0 {
            self.is_over = true;
            self.watch.finish();
        }
        Ok(Step::Data)
    }

    /// What belongs to the range.
    fn of_range(&mut self, mut data: Bytes) -> Bytes {
        let skipped = self.skip.min(data.len() as u64);
        self.skip -= skipped;
        drop(data.split_to(skipped as usize));
        data.truncate(self.left.min(data.len() as u64) as usize);
        self.left -= data.len() as u64;
        data
    }

    /// A connection whose answer was read to its end serves the next request.
    fn close(self, session: &mut Session) -> Watch {
        if self.is_whole {
            session.keep(self.body.into_link());
        }
        self.watch
    }
}
