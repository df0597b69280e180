//! The pictures of an open answer, one event after the other.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::kind;
use super::link::{Body, Chunk};
use crate::model::{CertificateFacts, ErrorCode, ProbeError, StreamUrl};
use crate::probe::{STANDS_STILL, Transcript};
use crate::wire::jpeg::JpegFacts;
use crate::wire::mjpeg::{Event, Framing, MjpegError, MjpegReader, START};

/// How long a picture without declared length may be followed by another one.
const STILL_AFTER: Duration = Duration::from_millis(1500);
/// A frame rate is measured over this long, after the burst of cached frames.
const WINDOW: Duration = Duration::from_secs(2);
const BURST: Duration = Duration::from_millis(500);

/// An answer that consists of pictures, its first one begun.
pub(super) struct Film {
    pub url: StreamUrl,
    framing: Framing,
    body: Body,
    reader: MjpegReader,
    /// Read from the body, not yet by the reader.
    chunk: Bytes,
}

enum Next {
    Event(Event),
    End { is_whole: bool },
    Deadline,
}

impl Film {
    /// Reads up to the first bytes of the first picture; `head` is what was read of the body already.
    ///
    /// # Errors
    /// `protocol` or `unsupported_codec` naming what it is instead, `no_frame` when nothing comes.
    pub(super) async fn begin(
        url: StreamUrl,
        body: Body,
        framing: Framing,
        head: Bytes,
        log: &Transcript,
        until: Instant,
    ) -> Result<Self, ProbeError> {
        let mut film = Self {
            url,
            framing,
            body,
            reader: MjpegReader::new(framing),
            chunk: head,
        };
        film.start(log, until, None).await?;
        Ok(film)
    }

    pub(super) fn certificate(&self) -> Option<CertificateFacts> {
        self.body.certificate()
    }

    /// Waits for the start of a picture.
    async fn start(
        &mut self,
        log: &Transcript,
        until: Instant,
        broken: Option<&'static str>,
    ) -> Result<(), ProbeError> {
        loop {
            match self.next(log, until).await? {
                Next::Event(Event::Start) => return Ok(()),
                Next::Event(_) => {}
                Next::End { .. } => {
                    return Err(self.no_frame(
                        log,
                        "ended its answer before a whole picture",
                        broken,
                    ));
                }
                Next::Deadline => {
                    return Err(self.no_frame(log, "sent no picture in time", broken));
                }
            }
        }
    }

    /// The rest of the picture that has begun, or else the next whole one. `keep` gets its bytes.
    ///
    /// # Errors
    /// `no_frame` when none is whole before the deadline; whatever `keep` says.
    pub(super) async fn picture(
        &mut self,
        log: &Transcript,
        until: Instant,
        mut keep: impl FnMut(&Event) -> Result<(), ProbeError>,
    ) -> Result<JpegFacts, ProbeError> {
        let mut broken = None;
        keep(&Event::Start)?;
        loop {
            match self.next(log, until).await? {
                Next::Event(event) => {
                    keep(&event)?;
                    match event {
                        Event::Picture(facts) => return Ok(facts),
                        Event::Broken(why) => {
                            broken = Some(why);
                            self.start(log, until, broken).await?;
                            keep(&Event::Start)?;
                        }
                        Event::Start | Event::Data(_) => {}
                    }
                }
                // Some cameras leave the end marker out; a cut-off picture is none.
                Next::End { is_whole } => {
                    return self.reader.finish().filter(|_| is_whole).ok_or_else(|| {
                        self.no_frame(log, "broke off in the middle of a picture", broken)
                    });
                }
                Next::Deadline => {
                    return Err(self.no_frame(log, "sent no whole picture in time", broken));
                }
            }
        }
    }

    /// After the first picture: is this a moving stream? Parts say so themselves.
    pub(super) async fn moves(&mut self, log: &Transcript, end: Instant) -> bool {
        if self.framing == Framing::Parts {
            return true;
        }
        if self.body.is_finite() {
            return false;
        }
        let until = end.min(Instant::now() + STILL_AFTER);
        matches!(self.next(log, until).await, Ok(Next::Event(Event::Start)))
    }

    /// Waits for the second picture: servers show the last one to whoever comes, also when their camera is
    /// gone. A stream that ends has proven itself.
    ///
    /// # Errors
    /// `no_frame` when it does not come until then, and the connection's.
    pub(super) async fn goes_on(
        &mut self,
        log: &Transcript,
        until: Instant,
    ) -> Result<(), ProbeError> {
        loop {
            match self.next(log, until).await? {
                Next::Event(Event::Picture(_)) | Next::End { .. } => return Ok(()),
                Next::Event(_) => {}
                Next::Deadline => return Err(log.error(ErrorCode::NoFrame, STANDS_STILL)),
            }
        }
    }

    /// Frames per second by arrival, rounded to 0.1; `None` when too few came before `end`.
    pub(super) async fn frame_rate(&mut self, log: &Transcript, end: Instant) -> Option<f64> {
        let from = Instant::now() + BURST;
        let to = from + WINDOW;
        let mut arrivals: Option<(Instant, Instant)> = None;
        let mut frames = 0;
        loop {
            // Slower than one frame in the window: the second one is waited for.
            let until = if frames < 2 { end } else { to.min(end) };
            let Ok(Next::Event(event)) = self.next(log, until).await else {
                break;
            };
            let now = Instant::now();
            if matches!(event, Event::Picture(_)) && from <= now {
                frames += 1;
                arrivals = Some((arrivals.map_or(now, |(first, _)| first), now));
            }
            if frames >= 2 && to <= now {
                break;
            }
        }
        let (first, last) = arrivals?;
        rate(frames, last - first)
    }

    async fn next(&mut self, log: &Transcript, until: Instant) -> Result<Next, ProbeError> {
        loop {
            match self.reader.next(&mut self.chunk) {
                Ok(Some(event)) => return Ok(Next::Event(event)),
                Ok(None) => {}
                Err(error) => return Err(self.reader_error(log, error)),
            }
            match self.body.chunk(log, until).await? {
                Chunk::Data(data) => self.chunk = data,
                Chunk::End { is_whole } => return Ok(Next::End { is_whole }),
                Chunk::Deadline => return Ok(Next::Deadline),
            }
        }
    }

    fn reader_error(&self, log: &Transcript, error: MjpegError) -> ProbeError {
        let device = self.url.authority();
        match error {
            MjpegError::NoPicture(Some(kind)) if !kind.contains("jp") => log.error(
                ErrorCode::UnsupportedCodec,
                format!("{device} sends parts of type {kind}, not JPEG pictures"),
            ),
            other => log.error(ErrorCode::Protocol, format!("{device} sends {other}")),
        }
    }

    fn no_frame(&self, log: &Transcript, what: &str, broken: Option<&'static str>) -> ProbeError {
        let device = self.url.authority();
        let text = match broken {
            Some(why) => format!("{device} sends pictures that are no JPEGs: {why}"),
            None => format!("{device} {what}"),
        };
        log.error(ErrorCode::NoFrame, text)
    }
}

/// The first bytes of the body, enough to tell what it is.
pub(super) async fn read_head(
    body: &mut Body,
    log: &Transcript,
    until: Instant,
) -> Result<Bytes, ProbeError> {
    let mut head = BytesMut::new();
    while head.len() < kind::HEAD_BYTES_MIN {
        match body.chunk(log, until).await? {
            // The usual case: nothing to join.
            Chunk::Data(data) if head.is_empty() && data.len() >= kind::HEAD_BYTES_MIN => {
                return Ok(data);
            }
            Chunk::Data(data) => head.extend_from_slice(&data),
            Chunk::End { .. } => break,
            Chunk::Deadline => {
                return Err(log.error(
                    ErrorCode::NoFrame,
                    "the device answered and then sent nothing in time",
                ));
            }
        }
    }
    Ok(head.freeze())
}

/// Frames per second of `frames` arrivals, the last `span` after the first.
fn rate(frames: u32, span: Duration) -> Option<f64> {
    let intervals = frames.checked_sub(1).filter(|n| *n > 0)?;
    (span > Duration::from_millis(10))
        .then(|| (f64::from(intervals) / span.as_secs_f64() * 10.0).round() / 10.0)
}

/// Collects a picture's bytes; with [`START`] before and the end marker behind.
pub(super) fn collect(into: &mut BytesMut, event: &Event) {
    match event {
        Event::Start => {
            into.clear();
            into.extend_from_slice(&START);
        }
        Event::Data(data) => into.extend_from_slice(data),
        Event::Picture(facts) if !facts.has_end => {
            // The next picture's start stands where the end should.
            if let Some(last) = into.last_mut() {
                *last = 0xD9;
            }
        }
        Event::Picture(_) | Event::Broken(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_and_need_two_arrivals() {
        assert_eq!(rate(51, Duration::from_millis(2003)), Some(25.0));
        assert_eq!(rate(2, Duration::from_secs(4)), Some(0.3));
        assert_eq!(rate(1, Duration::from_secs(2)), None);
        assert_eq!(rate(30, Duration::ZERO), None);
    }
}
