//! The newest segment, as a stream, up to its first whole key frame.

use bytes::Bytes;
use tokio::time::Instant;

use super::no_frame;
use super::playlist::Listed;
use crate::model::{ErrorCode, MediaFacts, ProbeError, Stage};
use crate::probe::http::Clock;
use crate::probe::http::link::{Body, Chunk};
use crate::probe::http::open::{self, Opened, Session};
use crate::probe::{Depth, Target, Transcript};
use crate::wire::m3u8::{ByteRange, Segment};
use crate::wire::ts::{self, TsError, TsWatch};

/// What a stream has shown.
pub(super) struct Seen {
    pub facts: MediaFacts,
    pub first_frame_ms: u32,
}

/// Reads the newest segment until a key frame is whole, and further for the frame rate where the depth
/// asks for it. A segment that begins without a key frame is left for the one before it.
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
        let opened = open_segment(listed, &segment, session, log, clock).await;
        let opened = match opened {
            // The window moved on before we came.
            Err(error)
                if error.code == ErrorCode::NotFound && std::mem::take(&mut may_read_again) =>
            {
                *listed = listed.again(session, target, log, clock).await?;
                continue;
            }
            opened => opened?,
        };
        let mut reading = Reading::new(opened, &segment);
        if let Some(first_frame_ms) = reading.key_frame(listed, log, until).await? {
            if target.depth >= Depth::Window {
                log.enter(Stage::Sample);
                reading.sample(log, clock.end).await;
            }
            let facts = reading.facts(listed.facts, target.depth);
            reading.close(session);
            return Ok(Seen {
                facts,
                first_frame_ms,
            });
        }
        reading.close(session);
        older += 1;
    }
}

async fn open_segment(
    listed: &Listed,
    segment: &Segment,
    session: &mut Session,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Opened, ProbeError> {
    let place = listed.place.refer(&segment.uri, "refers", log)?;
    log.aside(async |log| open::open_place(place, segment.range, session, log, clock).await)
        .await
}

/// A segment on its way.
struct Reading {
    body: Body,
    /// Bytes before the range that was asked for, where the device sends the whole.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
    watch: TsWatch,
    is_over: bool,
    is_whole: bool,
}

impl Reading {
    fn new(opened: Opened, segment: &Segment) -> Self {
        let range = segment.range.unwrap_or(ByteRange {
            offset: 0,
            length: u64::MAX,
        });
        Self {
            skip: match opened.is_part {
                true => 0,
                false => range.offset,
            },
            left: range.length,
            body: opened.body,
            watch: TsWatch::new(),
            is_over: false,
            is_whole: false,
        }
    }

    /// When the first whole key frame was there, ms since the probe began; `None` for a segment
    /// without one.
    async fn key_frame(
        &mut self,
        listed: &Listed,
        log: &mut Transcript,
        until: Instant,
    ) -> Result<Option<u32>, ProbeError> {
        loop {
            if self.watch.has_key_frame() {
                return Ok(Some(log.elapsed_ms()));
            }
            if self.is_over {
                return Ok(None);
            }
            let device = || listed.place.url().authority();
            match self.step(log, until).await? {
                Step::Data if log.stage() < Stage::FirstFrame => log.enter(Stage::FirstFrame),
                Step::Data | Step::End => {}
                Step::Deadline => {
                    return Err(no_frame(listed, "sent no whole key frame in time", log));
                }
                Step::Broken => {
                    let text = format!("{} broke off in the middle of a segment", device());
                    return Err(log.error(ErrorCode::Reset, text));
                }
                Step::Refused(error) => {
                    let text = format!("{} sends {error}", device());
                    return Err(log.error(code(error), text));
                }
            }
        }
    }

    /// Goes on until the frame rate is known or the segment is over: what was seen counts.
    async fn sample(&mut self, log: &Transcript, until: Instant) {
        while !self.is_over && !self.watch.rate().is_full(ts::CLOCK_HZ) {
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
                if !is_whole && self.left > 0 {
                    return Ok(Step::Broken);
                }
                self.watch.finish();
                return Ok(Step::End);
            }
        };
        if let Err(error) = self.watch.feed(&data) {
            return Ok(Step::Refused(error));
        }
        if self.left == 0 {
            self.is_over = true;
            self.watch.finish();
        }
        Ok(Step::Data)
    }

    /// What belongs to the range.
    fn of_range(&mut self, mut data: Bytes) -> Bytes {
        let len = |data: &Bytes| data.len() as u64;
        let skipped = self.skip.min(len(&data));
        self.skip -= skipped;
        drop(data.split_to(skipped as usize));
        data.truncate(self.left.min(len(&data)) as usize);
        self.left -= len(&data);
        data
    }

    fn facts(&self, described: MediaFacts, depth: Depth) -> MediaFacts {
        let mut facts = described;
        facts.codec = self.watch.codec().or(facts.codec);
        // A parameter set knows better than a playlist.
        if let Some(read) = self.watch.sets().and_then(|sets| sets.read()) {
            facts.width = Some(read.width);
            facts.height = Some(read.height);
            facts.fps = read.fps.or(facts.fps);
        }
        if depth >= Depth::Window {
            facts.announced_fps = facts.fps;
            facts.fps = self.watch.rate().fps(ts::CLOCK_HZ).or(facts.fps);
        }
        facts
    }

    /// A connection whose segment was read to its end serves the next request.
    fn close(self, session: &mut Session) {
        if self.is_whole {
            session.keep(self.body.into_link());
        }
    }
}

enum Step {
    Data,
    End,
    Deadline,
    /// The device ended its answer before the end that it had announced.
    Broken,
    Refused(TsError),
}

fn code(error: TsError) -> ErrorCode {
    match error {
        TsError::NoPackets => ErrorCode::Protocol,
        _ => ErrorCode::UnsupportedCodec,
    }
}
