//! RTSP messages and the frames interleaved between them (RFC 2326 sections 6, 7 and 10.12).
//!
//! The decoder owns one buffer, reads from it in place and holds every message to a bound. It is
//! lenient where cameras are: bare line feeds, any header case, any RTSP version, blank lines before
//! a message, a body shorter than announced, lost bytes between frames.

mod message;

use std::ops::Range;

use self::message::find_header;
pub use self::message::{Response, write_request};

/// Bound of one message, headers and body together.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bound of header lines in one message.
pub const HEADERS_MAX: usize = 128;
/// Bytes that may be skipped between messages, over the life of a connection.
pub const GARBAGE_BYTES_MAX: usize = 64 * 1024;

/// `$`, channel, length.
const FRAME_HEADER_BYTES: usize = 4;
/// No message and no frame is longer.
const BUFFER_BYTES_MAX: usize = FRAME_HEADER_BYTES + u16::MAX as usize;
const BUFFER_BYTES_FIRST: usize = 4 * 1024;
/// Longest method name that starts a request of the server's.
const METHOD_BYTES_MAX: usize = 32;

/// Why a byte stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    #[error("the device's answer is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the device's answer has more than {HEADERS_MAX} header lines")]
    TooManyHeaders,
    #[error("the device's answer does not begin with a status line")]
    StatusLine,
    #[error("this port does not speak RTSP; check the port number")]
    NotRtsp,
    #[error("the device sent more than {GARBAGE_BYTES_MAX} bytes that are no RTSP")]
    Garbage,
}

/// What [`Decoder::poll`] found. Ranges point into the decoder's buffer and hold until its next
/// [`Decoder::space`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Response(Message),
    /// A frame of an interleaved channel (RFC 2326 section 10.12).
    Data {
        channel: u8,
        payload: Range<usize>,
    },
}

/// A whole response; read it with [`Decoder::response`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub status: u16,
    is_http: bool,
    head: Range<usize>,
    body: Range<usize>,
}

/// Splits a byte stream into responses and interleaved frames. Requests of the server's are
/// skipped.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// The unread bytes are `start..end`.
    start: usize,
    end: usize,
    /// So many unread bytes are known to hold no end of a head.
    scanned: usize,
    head: Option<Head>,
    /// A whole message was read: from now on a stray byte is a lost frame, not another protocol.
    greeted: bool,
    resync: bool,
    garbage_bytes: usize,
}

/// A head that is complete while its body may still arrive.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// `None`: a request of the server's.
    status: Option<u16>,
    is_http: bool,
    head_bytes: usize,
    /// `None`: until the peer falls silent.
    body_bytes: Option<usize>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES_FIRST],
            start: 0,
            end: 0,
            scanned: 0,
            head: None,
            greeted: false,
            resync: false,
            garbage_bytes: 0,
        }
    }
}

impl Decoder {
    /// Where the next bytes from the peer go: never empty after [`Decoder::poll`] gave `Ok(None)`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let free = self.buffer.len() - self.end;
        if self.start > 0 && free < self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.grow(self.buffer.len() * 2);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Makes the buffer at least this long, within its bound: media needs fewer reads then.
    pub fn grow(&mut self, bytes: usize) {
        let bytes = bytes.min(BUFFER_BYTES_MAX);
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
    }

    /// Takes over `count` bytes that were written into [`Decoder::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// True while a head is complete and its body is not: silence may mean that it never will be.
    pub fn awaits_body(&self) -> bool {
        self.head.is_some()
    }

    /// The next whole message or frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`RtspError`]; the stream is of no use any more then.
    pub fn poll(&mut self) -> Result<Option<Event>, RtspError> {
        loop {
            if self.head.is_some() {
                match self.poll_body()? {
                    Polled::Event(event) => return Ok(Some(event)),
                    Polled::Skipped => continue,
                    Polled::Incomplete => return Ok(None),
                }
            }
            if self.resync && !self.skip_garbage()? {
                return Ok(None);
            }
            let Some(first) = self.unread().first() else {
                return Ok(None);
            };
            match first {
                b'\r' | b'\n' => self.skip(1)?,
                b'$' => return Ok(self.poll_frame()),
                _ => match starts_message(self.unread()) {
                    None => return Ok(None),
                    Some(true) if self.poll_head()? => {}
                    Some(true) => return Ok(None),
                    Some(false) => self.lose_sync()?,
                },
            }
        }
    }

    /// Gives out a response whose body never came in full: for a peer that fell silent or left.
    pub fn finish(&mut self) -> Option<Event> {
        let head = self.head?;
        let body_bytes = self.unread().len().checked_sub(head.head_bytes)?;
        self.take_message(head, body_bytes)
    }

    /// The text of a response that [`Decoder::poll`] gave.
    pub fn response(&self, message: &Message) -> Response<'_> {
        Response {
            status: message.status,
            is_http: message.is_http,
            head: self.bytes(message.head.clone()),
            body: self.bytes(message.body.clone()),
        }
    }

    /// The bytes of a range that [`Decoder::poll`] gave.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) -> Result<(), RtspError> {
        self.start += bytes;
        self.garbage_bytes += bytes;
        match self.garbage_bytes > GARBAGE_BYTES_MAX {
            true => Err(RtspError::Garbage),
            false => Ok(()),
        }
    }

    fn lose_sync(&mut self) -> Result<(), RtspError> {
        if !self.greeted {
            return Err(RtspError::NotRtsp);
        }
        self.resync = true;
        self.skip(1)
    }

    /// Goes on to what looks like a frame with RTP or RTCP inside, or like a response. False: more
    /// bytes are needed.
    fn skip_garbage(&mut self) -> Result<bool, RtspError> {
        const LOOK_AHEAD: usize = 5;
        let unread = self.unread();
        let mut at = 0;
        let found = loop {
            let rest = unread.get(at..).unwrap_or_default();
            let Some(next) = rest.iter().position(|b| matches!(b, b'$' | b'R')) else {
                at = unread.len();
                break false;
            };
            at += next;
            let Some(ahead) = unread.get(at..at + LOOK_AHEAD) else {
                break false;
            };
            match ahead {
                b"RTSP/" => break true,
                // Long enough for an RTCP header, and version 2.
                [b'$', _, high, low, first]
                    if u16::from_be_bytes([*high, *low]) >= 8 && first >> 6 == 2 =>
                {
                    break true;
                }
                _ => at += 1,
            }
        };
        self.resync = !found;
        self.skip(at)?;
        Ok(found)
    }

    fn poll_frame(&mut self) -> Option<Event> {
        let [_, channel, high, low] = *self.unread().first_chunk::<FRAME_HEADER_BYTES>()?;
        let payload_bytes = usize::from(u16::from_be_bytes([high, low]));
        let payload_start = self.start + FRAME_HEADER_BYTES;
        let payload = payload_start..payload_start + payload_bytes;
        if self.end < payload.end {
            return None;
        }
        self.start = payload.end;
        Some(Event::Data { channel, payload })
    }

    /// False: more bytes are needed.
    fn poll_head(&mut self) -> Result<bool, RtspError> {
        let unread = self.unread();
        let Some(head_bytes) = end_of_head(unread, self.scanned) else {
            if unread.len() >= MESSAGE_BYTES_MAX {
                return Err(RtspError::TooLong);
            }
            self.scanned = unread.len().saturating_sub(2);
            return Ok(false);
        };
        if head_bytes > MESSAGE_BYTES_MAX {
            return Err(RtspError::TooLong);
        }
        let read = read_head(unread.get(..head_bytes).unwrap_or_default())?;
        self.scanned = 0;
        match read {
            Some(head) => {
                self.greeted |= head.status.is_some();
                self.head = Some(head);
            }
            None => self.lose_sync()?,
        }
        Ok(true)
    }

    fn poll_body(&mut self) -> Result<Polled, RtspError> {
        let Some(head) = self.head else {
            return Ok(Polled::Skipped);
        };
        let here = self.unread().len();
        let Some(body_bytes) = head.body_bytes else {
            return match here > MESSAGE_BYTES_MAX {
                true => Err(RtspError::TooLong),
                false => Ok(Polled::Incomplete),
            };
        };
        if head.head_bytes + body_bytes > MESSAGE_BYTES_MAX {
            return Err(RtspError::TooLong);
        }
        if here < head.head_bytes + body_bytes {
            return Ok(Polled::Incomplete);
        }
        Ok(match self.take_message(head, body_bytes) {
            Some(event) => Polled::Event(event),
            None => Polled::Skipped,
        })
    }

    /// `None` for a request of the server's.
    fn take_message(&mut self, head: Head, body_bytes: usize) -> Option<Event> {
        let body_start = self.start + head.head_bytes;
        let message = Message {
            status: head.status.unwrap_or_default(),
            is_http: head.is_http,
            head: self.start..body_start,
            body: body_start..body_start + body_bytes,
        };
        self.start = message.body.end;
        self.head = None;
        head.status.map(|_| Event::Response(message))
    }
}

enum Polled {
    Event(Event),
    Skipped,
    Incomplete,
}

/// Whether these bytes begin a response or a request; `None` while that is open.
fn starts_message(bytes: &[u8]) -> Option<bool> {
    for (i, byte) in bytes.iter().take(METHOD_BYTES_MAX).enumerate() {
        match byte {
            b'A'..=b'Z' | b'_' => {}
            b' ' => return Some(i > 0),
            b'/' => return Some(matches!(bytes.get(..i), Some(b"RTSP" | b"HTTP"))),
            _ => return Some(false),
        }
    }
    (bytes.len() >= METHOD_BYTES_MAX).then_some(false)
}

/// Bytes up to and with the blank line that ends a head.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|b| *b == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// `None`: no message of RTSP.
fn read_head(bytes: &[u8]) -> Result<Option<Head>, RtspError> {
    if bytes.iter().filter(|b| **b == b'\n').count() > HEADERS_MAX + 2 {
        return Err(RtspError::TooManyHeaders);
    }
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let is_http = line.starts_with(b"HTTP/");
    let mut head = Head {
        status: None,
        is_http,
        head_bytes: bytes.len(),
        body_bytes: Some(0),
    };
    if is_http || line.starts_with(b"RTSP/") {
        head.status = Some(status_of(line).ok_or(RtspError::StatusLine)?);
    } else if !line
        .rsplit(|b| *b == b' ')
        .next()
        .is_some_and(|v| v.starts_with(b"RTSP/"))
    {
        return Ok(None);
    }
    // A web server's page is of no use; its status says enough.
    if !is_http {
        let length = find_header(bytes, "Content-Length");
        let is_sdp = || find_header(bytes, "Content-Type").is_some_and(|t| t.contains("sdp"));
        head.body_bytes = match length.map(str::parse) {
            Some(Ok(length)) => Some(length),
            _ if is_sdp() => None,
            _ => Some(0),
        };
    }
    Ok(Some(head))
}

fn status_of(line: &[u8]) -> Option<u16> {
    let mut words = line
        .split(|b| b.is_ascii_whitespace())
        .filter(|w| !w.is_empty());
    let status = std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()?;
    (100..1000).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests;
