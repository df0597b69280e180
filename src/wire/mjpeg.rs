//! The pictures in an MJPEG body: `multipart/x-mixed-replace`, or JPEGs one after the other.
//!
//! Cameras write boundaries in every way but the one they announce (quoted, with dashes of their own,
//! without any, `--` after each part, none announced) and their `Content-Length` is a guess. So
//! pictures are found by their own structure: what lies between two of them is text, in which no
//! picture can begin.

use bytes::{Buf, Bytes};

use super::jpeg::{JpegFacts, JpegScanner, Progress};

/// Largest picture, bytes.
pub const PICTURE_BYTES_MAX: usize = 16 << 20;
/// Most bytes between two pictures: boundary, part header, padding, parts that are no picture.
pub const GAP_BYTES_MAX: usize = 256 << 10;
/// As much of a gap is kept for its `Content-Type`.
const GAP_HEAD_BYTES_MAX: usize = 512;
/// What every JPEG begins with: start of image, and the first byte of the next marker.
pub const START: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// What the body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Parts with a boundary and a header each. A second picture in one part does not count.
    Parts,
    /// Pictures without anything around them.
    Bare,
}

/// What happened next in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A picture begins; its [`START`] is not repeated in `Data`.
    Start,
    /// More of the picture.
    Data(Bytes),
    /// The picture is whole. When it had no end marker, its last two bytes were the next one's start.
    Picture(JpegFacts),
    /// The picture was none; the next one is looked for.
    Broken(&'static str),
}

/// Why reading must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MjpegError {
    #[error("a picture larger than {PICTURE_BYTES_MAX} bytes")]
    PictureTooLarge,
    /// The text names the parts' `Content-Type`, where there is one.
    #[error("no JPEG picture in {GAP_BYTES_MAX} bytes")]
    NoPicture(Option<String>),
}

/// Finds the pictures of one body, however its bytes are cut up. Holds no picture itself.
#[derive(Debug)]
pub struct MjpegReader {
    framing: Framing,
    state: State,
    gap: Gap,
    /// The picture that is being read lies in the same part as the one before.
    is_second: bool,
    seen_any: bool,
    /// Comes after the data that was handed out last.
    pending: Option<Event>,
}

#[derive(Debug)]
enum State {
    /// Between pictures, with so many bytes of [`START`] matched.
    Gap(usize),
    Picture {
        scanner: JpegScanner,
        bytes: usize,
    },
}

/// The stretch between two pictures.
#[derive(Debug, Default)]
struct Gap {
    bytes: usize,
    head: Vec<u8>,
    has_line: bool,
    follows_broken: bool,
}

impl MjpegReader {
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            state: State::Gap(0),
            gap: Gap::default(),
            is_second: false,
            seen_any: false,
            pending: None,
        }
    }

    /// Takes bytes from `input` up to the next event; `None` when all are used.
    ///
    /// # Errors
    /// [`MjpegError`] when a bound is passed; the reader is of no use afterwards.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, MjpegError> {
        if let Some(event) = self.pending.take() {
            return Ok(Some(event));
        }
        while !input.is_empty() {
            let event = match &mut self.state {
                State::Gap(matched) => {
                    let matched = *matched;
                    self.skip_gap(input, matched)?
                }
                State::Picture { .. } => self.read_picture(input)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// At the proper end of the body: the last picture, where only its end marker is missing.
    pub fn finish(&self) -> Option<JpegFacts> {
        match &self.state {
            State::Picture { scanner, .. } if !self.is_second => {
                Some(scanner.facts()).filter(|facts| facts.data_bytes > 0)
            }
            _ => None,
        }
    }

    fn skip_gap(
        &mut self,
        input: &mut Bytes,
        mut matched: usize,
    ) -> Result<Option<Event>, MjpegError> {
        for (i, byte) in input.iter().enumerate() {
            matched = match (matched, *byte) {
                (2, 0xFF) => {
                    input.advance(i + 1);
                    return Ok(self.begin());
                }
                (1, 0xD8) => 2,
                (_, 0xFF) => 1,
                _ => 0,
            };
            self.gap.take(*byte)?;
        }
        input.clear();
        self.state = State::Gap(matched);
        Ok(None)
    }

    fn begin(&mut self) -> Option<Event> {
        self.is_second = self.framing == Framing::Parts && self.seen_any && !self.gap.has_line;
        self.gap = Gap::default();
        self.state = State::Picture {
            scanner: JpegScanner::after_first_marker(),
            bytes: START.len(),
        };
        (!self.is_second).then_some(Event::Start)
    }

    fn read_picture(&mut self, input: &mut Bytes) -> Result<Option<Event>, MjpegError> {
        let State::Picture { scanner, bytes } = &mut self.state else {
            return Ok(None);
        };
        let (used, progress) = scanner.feed(input);
        *bytes += used;
        if *bytes > PICTURE_BYTES_MAX {
            return Err(MjpegError::PictureTooLarge);
        }
        let is_counted = !self.is_second;
        let data = Some(input.split_to(used))
            .filter(|data| is_counted && !data.is_empty())
            .map(Event::Data);
        if progress == Progress::More {
            return Ok(data);
        }
        let end = self.end(progress);
        match data {
            Some(data) => {
                self.pending = end;
                Ok(Some(data))
            }
            None => Ok(end),
        }
    }

    fn end(&mut self, progress: Progress) -> Option<Event> {
        let State::Picture { scanner, .. } = &self.state else {
            return None;
        };
        let facts = scanner.facts();
        let is_broken = matches!(progress, Progress::Broken(_));
        // A start marker that ended the picture before begins the next.
        let runs_on = !is_broken && !facts.has_end;
        self.state = State::Gap(if runs_on { 2 } else { 0 });
        self.gap = Gap {
            follows_broken: is_broken,
            // The boundary went by as picture data.
            has_line: runs_on,
            ..Gap::default()
        };
        self.seen_any |= !is_broken;
        match progress {
            _ if self.is_second => None,
            Progress::Broken(why) => Some(Event::Broken(why)),
            _ => Some(Event::Picture(facts)),
        }
    }
}

impl Gap {
    fn take(&mut self, byte: u8) -> Result<(), MjpegError> {
        self.bytes += 1;
        self.has_line |= byte == b'\n';
        if self.head.len() < GAP_HEAD_BYTES_MAX {
            self.head.push(byte);
        }
        let bytes_max = match self.follows_broken {
            true => PICTURE_BYTES_MAX,
            false => GAP_BYTES_MAX,
        };
        match self.bytes > bytes_max {
            true => Err(MjpegError::NoPicture(content_type(&self.head))),
            false => Ok(()),
        }
    }
}

/// The `Content-Type` in the head of a part, lower case, without parameters.
fn content_type(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("content-type:"))?;
    let value: String = value
        .split(';')
        .next()?
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(64)
        .collect();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests;
