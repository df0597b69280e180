//! RTMP's chunk stream (Adobe, "RTMP Specification 1.0", 2012, sections 5.3 and 5.4).
//!
//! The reader owns one buffer and keeps of every message only the beginning: what a message claims
//! to hold costs no memory.

mod command;
mod write;

pub use command::{Command, Refusal, Status};
pub use write::{ConnectFacts, app_and_stream, write_command, write_connect, write_control};

use super::flv::{Arriving, is_looked_into};

/// Bytes of C1, S1 and S2 (section 5.2).
pub const HANDSHAKE_BYTES: usize = 1536;
/// C0 and S0: plain RTMP.
pub const VERSION: u8 = 3;

/// Message types (section 5.4 and 6.1, 7.1).
pub const SET_CHUNK_SIZE: u8 = 1;
pub const ABORT: u8 = 2;
pub const ACKNOWLEDGEMENT: u8 = 3;
pub const USER_CONTROL: u8 = 4;
pub const WINDOW_SIZE: u8 = 5;
pub const PEER_BANDWIDTH: u8 = 6;
pub const DATA_AMF3: u8 = 15;
pub const COMMAND_AMF3: u8 = 17;
pub const COMMAND: u8 = 20;

/// User control events (section 7.1.7).
pub const STREAM_EOF: u16 = 1;
pub const SET_BUFFER_LENGTH: u16 = 3;
pub const PING_REQUEST: u16 = 6;
pub const PING_RESPONSE: u16 = 7;

/// Payload of a chunk until its sender says otherwise.
pub const CHUNK_BYTES_FIRST: usize = 128;
/// Chunk streams that may be open: servers use four or five.
pub const CHUNK_STREAMS_MAX: usize = 16;
/// Holds the longest chunk header many times, and S1 and S2 one after the other.
const BUFFER_BYTES: usize = 16 * 1024;
/// In a header's timestamp field: the real one stands behind the header.
const EXTENDED: u32 = 0xff_ffff;

/// Why a byte stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtmpError {
    #[error("this port does not speak RTMP; check the port number")]
    NotRtmp,
    #[error("the device continues a message that it never began")]
    Chunk,
    #[error("the device announces chunks of {0} bytes")]
    ChunkSize(u32),
    #[error("the device opens more than {CHUNK_STREAMS_MAX} chunk streams")]
    TooManyStreams,
}

/// A whole message; [`ChunkReader::head`] has its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub timestamp_ms: u32,
    /// Bytes of its body.
    pub length: u32,
    chunk_stream: usize,
}

/// Puts messages together from the chunks of a byte stream.
#[derive(Debug)]
pub struct ChunkReader {
    buffer: Vec<u8>,
    /// The unread bytes are `start..end`.
    start: usize,
    end: usize,
    chunk_bytes: u32,
    streams: Vec<ChunkStream>,
    /// The chunk stream and what is left of its chunk.
    open: Option<(usize, u32)>,
}

/// What the headers of one chunk stream leave out because it is as before.
#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    kind: u8,
    timestamp_ms: u32,
    /// The last timestamp field: a delta, but behind a header of type 0.
    step_ms: u32,
    is_extended: bool,
    body: Arriving,
}

/// A chunk's header.
#[derive(Debug, Clone, Copy)]
struct Header {
    format: u8,
    id: u32,
    /// Absent in type 3.
    step_ms: Option<u32>,
    is_extended: bool,
    /// Absent in types 2 and 3.
    length_and_kind: Option<(u32, u8)>,
    bytes: usize,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            chunk_bytes: CHUNK_BYTES_FIRST as u32,
            streams: Vec::new(),
            open: None,
        }
    }
}

impl ChunkReader {
    /// Where the next bytes from the peer go: never empty after [`ChunkReader::poll`] gave `Ok(None)`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were put into [`ChunkReader::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Takes bytes in front of the chunks: the handshake. `None` while they are not all there.
    pub fn take(&mut self, count: usize) -> Option<&[u8]> {
        let range = self.start..self.start + count;
        if range.end > self.end {
            return None;
        }
        self.start = range.end;
        self.buffer.get(range)
    }

    /// The next whole message; `None` when more bytes are needed. Chunk sizes and aborts are obeyed and
    /// not given out.
    ///
    /// # Errors
    /// [`RtmpError`]; the stream cannot be read any further.
    pub fn poll(&mut self) -> Result<Option<Message>, RtmpError> {
        loop {
            let Some((index, left)) = self.open else {
                if !self.begin_chunk()? {
                    return Ok(None);
                }
                continue;
            };
            let (Some(stream), Some(unread)) = (
                self.streams.get_mut(index),
                self.buffer.get(self.start..self.end),
            ) else {
                return Err(RtmpError::Chunk);
            };
            let rest = stream.body.take(unread, left);
            let taken = unread.len() - rest.len();
            self.start += taken;
            let left = left - taken as u32;
            let missing = stream.body.missing();
            if left > 0 && missing > 0 {
                self.open = Some((index, left));
                return Ok(None);
            }
            self.open = None;
            if missing > 0 {
                continue;
            }
            let message = Message {
                kind: stream.kind,
                timestamp_ms: stream.timestamp_ms,
                length: stream.body.length(),
                chunk_stream: index,
            };
            stream.body.end();
            match message.kind {
                SET_CHUNK_SIZE => self.set_chunk_size(&message)?,
                ABORT => self.abort(&message),
                _ => return Ok(Some(message)),
            }
        }
    }

    /// The beginning of the message that [`ChunkReader::poll`] gave last, at most
    /// [`super::flv::HEAD_BYTES_MAX`] bytes; nothing of a sound.
    pub fn head(&self, message: &Message) -> &[u8] {
        let stream = self.streams.get(message.chunk_stream);
        stream.map_or(&[], |stream| stream.body.head())
    }

    /// The number in a message of four bytes: window sizes and their like.
    pub fn number(&self, message: &Message) -> Option<u32> {
        let bytes = self.head(message).first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// Reads a chunk's header; false when it is not all there.
    fn begin_chunk(&mut self) -> Result<bool, RtmpError> {
        let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(mut header) = Header::parse(unread) else {
            return Ok(false);
        };
        let known = self.streams.iter().position(|s| s.id == header.id);
        let index = match known {
            Some(index) => index,
            None if header.format != 0 => return Err(RtmpError::Chunk),
            None if self.streams.len() == CHUNK_STREAMS_MAX => {
                return Err(RtmpError::TooManyStreams);
            }
            None => {
                self.streams.push(ChunkStream {
                    id: header.id,
                    ..ChunkStream::default()
                });
                self.streams.len() - 1
            }
        };
        let Some(stream) = self.streams.get_mut(index) else {
            return Err(RtmpError::Chunk);
        };
        if header.format == 3 && stream.is_extended {
            // Repeated by most senders, as the specification wants it (section 5.3.1.3).
            let Some(repeated) = unread.get(header.bytes..header.bytes + 4) else {
                return Ok(false);
            };
            if repeated == stream.step_ms.to_be_bytes() {
                header.bytes += 4;
            }
        }
        self.start += header.bytes;
        stream.apply(&header);
        self.open = Some((index, self.chunk_bytes));
        Ok(true)
    }

    fn set_chunk_size(&mut self, message: &Message) -> Result<(), RtmpError> {
        let size = self.number(message).unwrap_or(0);
        // The highest bit has to be zero.
        if size == 0 || size > u32::MAX / 2 {
            return Err(RtmpError::ChunkSize(size));
        }
        self.chunk_bytes = size;
        Ok(())
    }

    /// What came of a message so far is thrown away.
    fn abort(&mut self, message: &Message) {
        let id = self.number(message);
        let stream = self.streams.iter_mut().find(|s| Some(s.id) == id);
        if let Some(stream) = stream {
            stream.body.end();
        }
    }
}

impl ChunkStream {
    fn apply(&mut self, header: &Header) {
        if header.format == 3 && self.body.is_begun() {
            return;
        }
        if let Some(step_ms) = header.step_ms {
            self.step_ms = step_ms;
            self.is_extended = header.is_extended;
        }
        self.timestamp_ms = match header.format {
            0 => self.step_ms,
            _ => self.timestamp_ms.wrapping_add(self.step_ms),
        };
        let mut length = self.body.length();
        if let Some((new_length, kind)) = header.length_and_kind {
            length = new_length;
            self.kind = kind;
        }
        self.body.begin(length, is_looked_into(self.kind));
    }
}

impl Header {
    /// Section 5.3.1. `None` when it is not all there.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (first, mut rest) = bytes.split_first()?;
        let format = first >> 6;
        let id = match first & 0x3f {
            0 => {
                let (&[low], after) = rest.split_first_chunk::<1>()?;
                rest = after;
                64 + u32::from(low)
            }
            1 => {
                let (&[low, high], after) = rest.split_first_chunk::<2>()?;
                rest = after;
                64 + u32::from(low) + 256 * u32::from(high)
            }
            id => u32::from(id),
        };
        let mut step_ms = None;
        let mut length_and_kind = None;
        if format < 3 {
            let (&[t0, t1, t2], after) = rest.split_first_chunk::<3>()?;
            rest = after;
            step_ms = Some(u32::from_be_bytes([0, t0, t1, t2]));
        }
        if format < 2 {
            let (&[l0, l1, l2, kind], after) = rest.split_first_chunk::<4>()?;
            rest = after;
            length_and_kind = Some((u32::from_be_bytes([0, l0, l1, l2]), kind));
        }
        if format == 0 {
            // The message stream: we only ever play one.
            rest = rest.get(4..)?;
        }
        let is_extended = step_ms == Some(EXTENDED);
        if is_extended {
            let (extended, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            step_ms = Some(u32::from_be_bytes(*extended));
        }
        Some(Self {
            format,
            id,
            step_ms,
            is_extended,
            length_and_kind,
            bytes: bytes.len() - rest.len(),
        })
    }
}

#[cfg(test)]
mod tests;
