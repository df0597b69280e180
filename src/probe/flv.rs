//! The proof by pictures where video comes in FLV tags: RTMP and HTTP-FLV.

use tokio::time::Instant;

use super::http::Clock;
use super::{BoxFuture, Depth, STANDS_STILL, Target, Transcript};
use crate::model::{ErrorCode, Evidence, Outcome, ProbeError, Stage};
use crate::wire::flv::{FlvWatch, SCRIPT, VIDEO};

/// Whole tags of one stream.
pub(super) trait TagSource: Send {
    /// A file: its pictures come as fast as the line allows.
    fn is_stored(&self) -> bool {
        false
    }

    /// Takes the next tag into the screening.
    fn next<'a>(
        &'a mut self,
        screening: &'a mut Screening,
        log: &'a Transcript,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), Gap>>;
}

/// Why no tag came.
#[derive(Debug)]
pub(super) enum Gap {
    Deadline,
    /// As much was read as a probe may.
    Full,
    /// The device says that the stream is over.
    Ended,
    Error(ProbeError),
}

/// A stream as far as it was seen.
#[derive(Debug)]
pub(super) struct Screening {
    watch: FlvWatch,
    started: Instant,
}

impl Default for Screening {
    fn default() -> Self {
        Self {
            watch: FlvWatch::default(),
            started: Instant::now(),
        }
    }
}

impl Screening {
    /// Takes a whole tag; `head` is its beginning.
    pub(super) fn push(&mut self, kind: u8, timestamp_ms: u32, head: &[u8], length: u32) {
        if matches!(kind, VIDEO | SCRIPT) {
            let at = self.started.elapsed();
            self.watch.push(kind, timestamp_ms, head, length, at);
        }
    }

    /// Watches until the target's depth is reached, and puts what it saw into the outcome.
    ///
    /// # Errors
    /// `no_frame` when no whole key frame comes in time, `unsupported_codec`, and the source's.
    pub(super) async fn prove(
        mut self,
        source: &mut dyn TagSource,
        outcome: &mut Outcome,
        target: &Target,
        clock: &Clock,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        log.enter(Stage::FirstPacket);
        let first_packet = clock.until(target.limits.first_packet);
        let frame = clock.until(target.limits.frame);
        while !self.watch.has_key_frame() {
            if let Some(name) = self.watch.other_codec() {
                let sentence =
                    format!("the stream's codec {name} cannot be checked; set H.264 or H.265");
                return Err(log.error(ErrorCode::UnsupportedCodec, sentence));
            }
            let has_tags = self.watch.tags() > 0;
            if has_tags && log.stage() == Stage::FirstPacket {
                log.enter(Stage::FirstFrame);
            }
            let until = if has_tags { frame } else { first_packet };
            match source.next(&mut self, log, until).await {
                Ok(()) => {}
                Err(Gap::Error(error)) => return Err(error),
                Err(gap) => return Err(self.no_frame(&gap, log)),
            }
        }
        log.enter(Stage::FirstFrame);
        outcome.first_frame_ms = Some(log.elapsed_ms());
        outcome.evidence = Evidence::KeyFrame;
        let live = clock.until(target.limits.frame);
        self.await_live(source, log, live).await?;
        let measured_fps = match target.depth {
            Depth::Window => {
                log.enter(Stage::Sample);
                self.sample(source, log, clock).await
            }
            _ => None,
        };
        outcome.media = self.watch.facts();
        if target.depth == Depth::Window {
            outcome.media.announced_fps = outcome.media.fps;
            outcome.media.fps = measured_fps.or(outcome.media.fps);
        }
        Ok(())
    }

    /// Watches until pictures come as they are taken. A stream that ends was stored, and is proven.
    ///
    /// # Errors
    /// `no_frame` when nothing but old pictures came until then.
    async fn await_live(
        &mut self,
        source: &mut dyn TagSource,
        log: &Transcript,
        until: Instant,
    ) -> Result<(), ProbeError> {
        while !self.watch.is_live() && !source.is_stored() {
            match source.next(self, log, until).await {
                Ok(()) => {}
                Err(Gap::Ended | Gap::Full) => break,
                Err(Gap::Error(error)) => return Err(error),
                Err(Gap::Deadline) => {
                    return Err(log.error(ErrorCode::NoFrame, STANDS_STILL));
                }
            }
        }
        Ok(())
    }

    /// Watches until the frame rate is known or the probe's time is over: what was seen counts.
    async fn sample(
        &mut self,
        source: &mut dyn TagSource,
        log: &Transcript,
        clock: &Clock,
    ) -> Option<f64> {
        while !self.watch.is_rate_full() {
            if source.next(self, log, clock.end).await.is_err() {
                break;
            }
        }
        self.watch.measured_fps()
    }

    fn no_frame(&self, gap: &Gap, log: &Transcript) -> ProbeError {
        let sentence = match (self.watch.tags(), gap) {
            (_, Gap::Ended) => {
                "the device ended the stream before a key frame came; see whether its source is on"
                    .to_owned()
            }
            (0, _) => {
                "the device accepts the stream but sends no video; see whether its source is on"
                    .to_owned()
            }
            (tags, _) => format!(
                "no whole key frame among {tags} video tags; shorten the key frame interval or switch off the smart codec"
            ),
        };
        log.error(ErrorCode::NoFrame, sentence)
    }
}
