//! One RTMP connection: messages in and out, each wait with a deadline, all bytes within a budget.
//! What the protocol wants in passing (acknowledgements, pings) is done here.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::model::{ErrorCode, ProbeError};
use crate::probe::net::{self, Stream};
use crate::probe::{Depth, Transcript};
use crate::wire::rtmp::{
    ACKNOWLEDGEMENT, ChunkReader, HANDSHAKE_BYTES, Message, PEER_BANDWIDTH, PING_REQUEST,
    PING_RESPONSE, RtmpError, USER_CONTROL, VERSION, WINDOW_SIZE, write_control,
};

/// Bytes that a device may send until it plays, and for a proof by pictures: 12 s of 20 Mbit/s.
const ANSWER_BYTES_MAX: u32 = 1024 * 1024;
const MEDIA_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// Commands fit in without growing: a moved buffer would leave the login behind.
const OUT_BYTES: usize = 8 * 1024;

/// Why no message came.
#[derive(Debug)]
pub(super) enum LinkError {
    Timeout,
    /// The byte budget is used up.
    Budget,
    Rtmp(RtmpError),
    Io(std::io::Error),
}

impl LinkError {
    /// Names what broke the connection at the running stage.
    pub fn named(&self, log: &Transcript) -> ProbeError {
        match self {
            Self::Timeout => {
                let sentence = "the device did not answer in time; it may be overloaded";
                log.error(ErrorCode::Timeout, sentence)
            }
            Self::Budget => {
                let sentence = "the device sends without end instead of answering; restart it";
                log.error(ErrorCode::Protocol, sentence)
            }
            Self::Rtmp(error) => log.error(ErrorCode::Protocol, error.to_string()),
            Self::Io(error) => net::io_error(log, error),
        }
    }
}

/// The connection, and what it takes to speak on it.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    reader: ChunkReader,
    /// Waits to be sent; holds the login in some form.
    out: Zeroizing<Vec<u8>>,
    received_bytes: u32,
    bytes_max: u32,
    /// The device stops sending when so many bytes are not acknowledged.
    window_bytes: Option<u32>,
    acknowledged_bytes: u32,
}

impl Link {
    pub fn new(stream: Stream, depth: Depth) -> Self {
        Self {
            stream,
            reader: ChunkReader::default(),
            out: Zeroizing::new(Vec::with_capacity(OUT_BYTES)),
            received_bytes: 0,
            bytes_max: match depth >= Depth::Frame {
                true => MEDIA_BYTES_MAX,
                false => ANSWER_BYTES_MAX,
            },
            window_bytes: None,
            acknowledged_bytes: 0,
        }
    }

    /// The simple handshake (section 5.2). Servers that sign theirs accept it; what S2 repeats differs
    /// too much to be held against them.
    pub async fn shake_hands(&mut self, until: Instant) -> Result<(), LinkError> {
        self.out.push(VERSION);
        // Time, zero, and what may be any bytes.
        self.out.resize(1 + HANDSHAKE_BYTES, 0);
        self.flush(until).await?;
        let is_rtmp = |first: &u8| *first == VERSION;
        let version = self.handshake_part(1, until).await?;
        if !version.first().is_some_and(is_rtmp) {
            return Err(LinkError::Rtmp(RtmpError::NotRtmp));
        }
        self.out = self.handshake_part(HANDSHAKE_BYTES, until).await?.into();
        self.out.reserve_exact(OUT_BYTES);
        self.flush(until).await?;
        self.handshake_part(HANDSHAKE_BYTES, until).await.map(drop)
    }

    async fn handshake_part(&mut self, bytes: usize, until: Instant) -> Result<Vec<u8>, LinkError> {
        loop {
            if let Some(part) = self.reader.take(bytes) {
                return Ok(part.to_vec());
            }
            self.read(until).await?;
        }
    }

    /// Appends to what is sent next.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what was appended.
    pub async fn flush(&mut self, until: Instant) -> Result<(), LinkError> {
        let write = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        match timeout_at(until, write).await {
            Ok(result) => result.map_err(LinkError::Io)?,
            Err(_) => return Err(LinkError::Timeout),
        }
        self.out.clear();
        self.stream.acknowledge_at_once();
        Ok(())
    }

    /// The next message that is not about the connection itself.
    pub async fn message(&mut self, until: Instant) -> Result<Message, LinkError> {
        loop {
            while let Some(message) = self.reader.poll().map_err(LinkError::Rtmp)? {
                match message.kind {
                    WINDOW_SIZE => self.window_bytes = self.reader.number(&message),
                    PEER_BANDWIDTH => self.answer_bandwidth(&message),
                    USER_CONTROL if self.event(&message) == Some(PING_REQUEST) => {
                        self.answer_ping(&message);
                    }
                    _ => return Ok(message),
                }
            }
            self.acknowledge();
            if !self.out.is_empty() {
                self.flush(until).await?;
            }
            self.read(until).await?;
        }
    }

    /// The beginning of a message.
    pub fn head(&self, message: &Message) -> &[u8] {
        self.reader.head(message)
    }

    /// The number of a user control event.
    pub fn event(&self, message: &Message) -> Option<u16> {
        let bytes = self.reader.head(message).first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes))
    }

    async fn read(&mut self, until: Instant) -> Result<(), LinkError> {
        let count = match timeout_at(until, self.stream.read(self.reader.space())).await {
            Ok(Ok(0)) => {
                let end = std::io::ErrorKind::UnexpectedEof;
                return Err(LinkError::Io(end.into()));
            }
            Ok(Ok(count)) => count,
            Ok(Err(error)) => return Err(LinkError::Io(error)),
            Err(_) => return Err(LinkError::Timeout),
        };
        self.reader.filled(count);
        // At most a buffer's length; the sum is bounded by the budget.
        self.received_bytes += count as u32;
        match self.received_bytes > self.bytes_max {
            true => Err(LinkError::Budget),
            false => Ok(()),
        }
    }

    /// Half of the window is enough to say so: the rest may be under way.
    fn acknowledge(&mut self) {
        let Some(window_bytes) = self.window_bytes else {
            return;
        };
        if self.received_bytes - self.acknowledged_bytes > window_bytes / 2 {
            self.acknowledged_bytes = self.received_bytes;
            write_control(&mut self.out, ACKNOWLEDGEMENT, None, &[self.received_bytes]);
        }
    }

    /// The device limits what we send, and we tell it the same number as our window (section 5.4.5).
    fn answer_bandwidth(&mut self, message: &Message) {
        if let Some(bytes) = self.reader.number(message) {
            write_control(&mut self.out, WINDOW_SIZE, None, &[bytes]);
        }
    }

    fn answer_ping(&mut self, message: &Message) {
        let head = self.reader.head(message).get(2..);
        if let Some(time) = head.and_then(|rest| rest.first_chunk::<4>()) {
            let numbers = [u32::from_be_bytes(*time)];
            write_control(&mut self.out, USER_CONTROL, Some(PING_RESPONSE), &numbers);
        }
    }
}
