//! What a segment is, by its first bytes, and what it shows.

use crate::model::{Codec, ErrorCode, MediaFacts};
use crate::wire::mp4::Mp4Error;
use crate::wire::mp4::fragment::{FragmentError, FragmentWatch};
use crate::wire::ts::{self, TsError, TsWatch};

/// As many bytes tell what a segment is.
const HEAD_BYTES: usize = 8;

/// A segment under observation.
#[derive(Debug)]
pub(super) enum Watch {
    /// Its first bytes.
    Unknown(Vec<u8>),
    Ts(Box<TsWatch>),
    Fragments(Box<FragmentWatch>),
}

impl Watch {
    pub fn new() -> Self {
        Self::Unknown(Vec::new())
    }

    /// The initialisation was read, a segment follows.
    pub fn begin_segment(&mut self) {
        if let Self::Fragments(watch) = self {
            watch.begin_segment();
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A code, and the rest of a sentence on what the device sends.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), (ErrorCode, String)> {
        match self {
            Self::Unknown(head) => {
                head.extend_from_slice(bytes);
                if head.len() < HEAD_BYTES {
                    return Ok(());
                }
                let head = std::mem::take(head);
                *self = of_head(&head)?;
                self.feed(&head)
            }
            Self::Ts(watch) => watch.feed(bytes).map_err(|e| (ts_code(e), e.to_string())),
            Self::Fragments(watch) => watch
                .feed(bytes)
                .map_err(|e| (fragment_code(&e), e.to_string())),
        }
    }

    /// The segment is over, as announced.
    pub fn finish(&mut self) {
        if let Self::Ts(watch) = self {
            watch.finish();
        }
    }

    pub fn has_key_frame(&self) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Ts(watch) => watch.has_key_frame(),
            Self::Fragments(watch) => watch.has_key_frame(),
        }
    }

    /// True when more of the stream would tell no more of its rate.
    pub fn rate_is_full(&self) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Ts(watch) => watch.rate().is_full(ts::CLOCK_HZ),
            Self::Fragments(watch) => {
                let (rate, ticks_per_s) = watch.rate();
                rate.is_full(ticks_per_s)
            }
        }
    }

    /// Frames per second by timestamps, rounded to 0.1.
    pub fn fps(&self) -> Option<f64> {
        match self {
            Self::Unknown(_) => None,
            Self::Ts(watch) => watch.rate().fps(ts::CLOCK_HZ),
            Self::Fragments(watch) => {
                let (rate, ticks_per_s) = watch.rate();
                rate.fps(ticks_per_s)
            }
        }
    }

    /// What the stream itself says, over what its playlist says.
    pub fn facts(&self, described: MediaFacts) -> MediaFacts {
        let mut facts = described;
        facts.codec = self.codec().or(facts.codec);
        if let Self::Fragments(watch) = self
            && let Some((width, height)) = watch.size()
        {
            (facts.width, facts.height) = (Some(width), Some(height));
        }
        let sets = match self {
            Self::Unknown(_) => None,
            Self::Ts(watch) => watch.sets(),
            Self::Fragments(watch) => watch.sets(),
        };
        // A parameter set knows better than a playlist or a container.
        if let Some(read) = sets.and_then(|sets| sets.read()) {
            (facts.width, facts.height) = (Some(read.width), Some(read.height));
            facts.fps = read.fps.or(facts.fps);
        }
        facts
    }

    fn codec(&self) -> Option<Codec> {
        match self {
            Self::Unknown(_) => None,
            Self::Ts(watch) => watch.codec(),
            Self::Fragments(watch) => watch.codec(),
        }
    }
}

fn of_head(head: &[u8]) -> Result<Watch, (ErrorCode, String)> {
    const BOXES: [&[u8; 4]; 9] = [
        b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free", b"mdat",
    ];
    let kind = head.get(4..8).unwrap_or_default();
    if BOXES.iter().any(|known| kind == *known) {
        return Ok(Watch::Fragments(Box::default()));
    }
    // Sound alone (RFC 8216 section 3.4), and subtitles.
    let is_sound = head.starts_with(b"ID3") || matches!(head, [0xff, 0xf0..=0xff, ..]);
    if is_sound || head.starts_with(b"WEBVTT") {
        let what = "segments without video".to_owned();
        return Err((ErrorCode::UnsupportedCodec, what));
    }
    if head.trim_ascii_start().starts_with(b"<") {
        let what = "a web page where a segment should be".to_owned();
        return Err((ErrorCode::Protocol, what));
    }
    Ok(Watch::Ts(Box::default()))
}

fn ts_code(error: TsError) -> ErrorCode {
    match error {
        TsError::NoPackets => ErrorCode::Protocol,
        TsError::OtherVideo(_) | TsError::NoVideo | TsError::Scrambled => {
            ErrorCode::UnsupportedCodec
        }
    }
}

fn fragment_code(error: &FragmentError) -> ErrorCode {
    match error {
        FragmentError::Movie(Mp4Error::NoVideo | Mp4Error::OtherVideo(_)) => {
            ErrorCode::UnsupportedCodec
        }
        _ => ErrorCode::Protocol,
    }
}
