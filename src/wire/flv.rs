//! FLV as a stream (Adobe, "Flash Video File Format", version 10.1, annex E): HTTP-FLV carries it
//! whole, RTMP the bodies of its tags.
//!
//! Of each tag only the beginning is kept: what a tag claims to hold costs no memory.

mod pace;
mod video;

pub use video::FlvWatch;

/// Tag and RTMP message types.
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const SCRIPT: u8 = 18;

/// As much of a body is kept: parameter sets, metadata, and the NAL units up to the first slice.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

const FILE_HEADER_BYTES: usize = 9;
/// Longer file headers do not exist.
const FILE_HEADER_BYTES_MAX: u32 = 1024;
/// The size of the tag before, which nobody needs, and the header of the next tag.
const TAG_HEADER_BYTES: usize = 4 + 11;

/// A body that arrives piece by piece.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    head: Vec<u8>,
    length: u32,
    received: u32,
    keeps_head: bool,
    is_begun: bool,
}

impl Arriving {
    /// Begins a body of `length` bytes.
    pub fn begin(&mut self, length: u32, keeps_head: bool) {
        self.head.clear();
        self.length = length;
        self.received = 0;
        self.keeps_head = keeps_head;
        self.is_begun = true;
    }

    pub fn missing(&self) -> u32 {
        self.length - self.received
    }

    /// True in the middle of a body.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// The body is over, as it is; its head is kept until the next one begins.
    pub fn end(&mut self) {
        self.is_begun = false;
    }

    /// Takes what belongs to the body from the front of `input`; gives the rest.
    pub fn take<'i>(&mut self, input: &'i [u8], bytes_max: u32) -> &'i [u8] {
        let wanted = usize::try_from(self.missing().min(bytes_max)).unwrap_or(usize::MAX);
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        // No more than `missing`, which is a u32.
        self.received += u32::try_from(taken.len()).unwrap_or(0);
        if self.keeps_head {
            let room = HEAD_BYTES_MAX - self.head.len();
            self.head.extend(taken.iter().take(room));
        }
        rest
    }

    pub fn length(&self) -> u32 {
        self.length
    }

    pub fn head(&self) -> &[u8] {
        &self.head
    }
}

/// True for the types of which the beginning is worth keeping.
pub(super) fn is_looked_into(kind: u8) -> bool {
    kind != AUDIO
}

/// Why a byte stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    #[error("the stream does not begin as FLV does")]
    NotFlv,
    #[error("the stream holds a tag that is neither sound nor picture nor metadata")]
    Tag,
}

/// A whole tag; [`FlvReader::head`] has its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// [`AUDIO`], [`VIDEO`] or [`SCRIPT`].
    pub kind: u8,
    pub timestamp_ms: u32,
    /// Bytes of its body.
    pub length: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    FileHeader,
    /// The rest of a file header that is longer than usual.
    Skip(u32),
    TagHeader,
    Body {
        kind: u8,
        timestamp_ms: u32,
    },
}

/// Splits an FLV stream into tags.
#[derive(Debug)]
pub struct FlvReader {
    state: State,
    header: [u8; TAG_HEADER_BYTES],
    header_bytes: usize,
    body: Arriving,
}

impl Default for FlvReader {
    fn default() -> Self {
        Self {
            state: State::FileHeader,
            header: [0; TAG_HEADER_BYTES],
            header_bytes: 0,
            body: Arriving::default(),
        }
    }
}

impl FlvReader {
    /// Reads from the front of `input` up to the end of a tag; `None` when all of `input` is read.
    ///
    /// # Errors
    /// [`FlvError`]; the stream cannot be read any further.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Tag>, FlvError> {
        loop {
            match self.state {
                State::FileHeader => {
                    if !self.fill(input, FILE_HEADER_BYTES) {
                        return Ok(None);
                    }
                    // The flags say whether there is video; some cameras leave them out.
                    let [b'F', b'L', b'V', _, _, size @ ..] = self.header else {
                        return Err(FlvError::NotFlv);
                    };
                    let [a, b, c, d, ..] = size;
                    let more = u32::from_be_bytes([a, b, c, d])
                        .checked_sub(FILE_HEADER_BYTES as u32)
                        .filter(|more| *more <= FILE_HEADER_BYTES_MAX);
                    self.state = State::Skip(more.ok_or(FlvError::NotFlv)?);
                }
                State::Skip(more) => {
                    let skipped = input.len().min(more as usize);
                    *input = input.get(skipped..).unwrap_or_default();
                    self.state = match more - skipped as u32 {
                        0 => State::TagHeader,
                        left => State::Skip(left),
                    };
                    if input.is_empty() {
                        return Ok(None);
                    }
                }
                State::TagHeader => {
                    if !self.fill(input, TAG_HEADER_BYTES) {
                        return Ok(None);
                    }
                    let [_, _, _, _, kind, l0, l1, l2, t0, t1, t2, t3, ..] = self.header;
                    if !matches!(kind, AUDIO | VIDEO | SCRIPT) {
                        return Err(FlvError::Tag);
                    }
                    let length = u32::from_be_bytes([0, l0, l1, l2]);
                    self.body.begin(length, is_looked_into(kind));
                    // Its highest byte stands behind the others.
                    let timestamp_ms = u32::from_be_bytes([t3, t0, t1, t2]);
                    self.state = State::Body { kind, timestamp_ms };
                }
                State::Body { kind, timestamp_ms } => {
                    *input = self.body.take(input, u32::MAX);
                    if self.body.missing() > 0 {
                        return Ok(None);
                    }
                    self.state = State::TagHeader;
                    let length = self.body.length();
                    return Ok(Some(Tag {
                        kind,
                        timestamp_ms,
                        length,
                    }));
                }
            }
        }
    }

    /// The beginning of the tag that [`FlvReader::next`] gave last, at most [`HEAD_BYTES_MAX`]
    /// bytes; nothing of a sound.
    pub fn head(&self) -> &[u8] {
        self.body.head()
    }

    /// Collects a header of `length` bytes; true when it is there.
    fn fill(&mut self, input: &mut &[u8], length: usize) -> bool {
        while self.header_bytes < length {
            let Some((byte, rest)) = input.split_first() else {
                return false;
            };
            if let Some(place) = self.header.get_mut(self.header_bytes) {
                *place = *byte;
            }
            self.header_bytes += 1;
            *input = rest;
        }
        self.header_bytes = 0;
        true
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
