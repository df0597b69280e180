//! HLS playlists (RFC 8216): what a prober needs of a multivariant or media playlist. Read line by
//! line as the bytes come in; of the segments only the newest are kept, so that a playlist of any length
//! costs the same memory.

use std::collections::VecDeque;

use super::sdp::plausible_fps;
use crate::model::Codec;

/// A longer line is no playlist's: a URI has at most 2 KiB (`model::url`), the rest are attributes.
const LINE_BYTES_MAX: usize = 8 << 10;
/// More variants than this are not kept.
const VARIANTS_MAX: usize = 64;
/// How many of the newest segments are kept.
const SEGMENTS_KEPT: usize = 3;

/// Why a text is no playlist that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// The first line is not `#EXTM3U` (RFC 8216 section 4.3.1.1).
    #[error("something that is no HLS playlist")]
    NoPlaylist,
    #[error("an HLS playlist with a line of more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// `EXT-X-KEY` or `EXT-X-SESSION-KEY` with this METHOD (RFC 8216 section 4.3.2.4).
    #[error("encrypted segments ({0}), whose pictures cannot be checked")]
    Encrypted(String),
}

/// A playlist of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Playlist {
    Multivariant(Vec<Variant>),
    Media(MediaPlaylist),
}

/// One rendition of a stream (RFC 8216 section 4.3.4.2).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    pub uri: String,
    /// Peak bit rate, bits per second; 0 where it is missing.
    pub bandwidth_bps: u64,
    /// `CODECS` names a video codec, or nothing at all.
    pub may_have_video: bool,
    pub codec: Option<Codec>,
    /// Pixels.
    pub size: Option<(u32, u32)>,
    /// Frames per second, rounded to 0.1.
    pub fps: Option<f64>,
}

/// The segments of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaPlaylist {
    /// Longest segment, ms; 0 where the playlist does not say.
    pub target_duration_ms: u32,
    /// Media sequence number of the segment that would follow the last one: it goes up whenever a
    /// segment is added.
    pub next_sequence: u64,
    /// The newest segments, oldest first; empty while the packager has none.
    pub newest: VecDeque<Segment>,
    /// No segment will follow: a recording, or a stream that was ended.
    pub is_ended: bool,
    /// `EXT-X-PLAYLIST-TYPE:VOD`: a recording that somebody put there (RFC 8216 section 4.3.3.5).
    pub is_recording: bool,
}

/// One piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub uri: String,
    pub range: Option<ByteRange>,
    /// Initialisation that goes before it (`EXT-X-MAP`), for fMP4.
    pub map: Option<Map>,
    pub duration_ms: u32,
    /// Timestamps or parameters may jump before it.
    pub discontinuity: bool,
}

/// `EXT-X-MAP` (RFC 8216 section 4.3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    pub uri: String,
    pub range: Option<ByteRange>,
}

/// A part of a resource, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub offset: u64,
    pub length: u64,
}

impl ByteRange {
    /// The last byte, as the `Range` header counts (RFC 9110 section 14.1.2).
    pub fn last(self) -> u64 {
        self.offset.saturating_add(self.length.saturating_sub(1))
    }

    /// `n[@o]`; a range without offset follows the one before it.
    fn parse(text: &str, follows: u64) -> Option<Self> {
        let (length, offset) = match text.trim().split_once('@') {
            Some((length, offset)) => (length, offset.parse().ok()?),
            None => (text.trim(), follows),
        };
        let length = length.parse().ok().filter(|length| *length > 0)?;
        Some(Self { offset, length })
    }
}

/// Reads one playlist, however its bytes are cut up.
#[derive(Debug, Default)]
pub struct PlaylistReader {
    line: Vec<u8>,
    has_head: bool,
    variants: Vec<Variant>,
    is_multivariant: bool,
    media: MediaPlaylist,
    sequence: u64,
    /// What the tags so far say of the next URI.
    next: NextUri,
    map: Option<Map>,
    /// METHOD of the key in force, where segments are encrypted.
    key: Option<String>,
    newest_is_encrypted: Option<String>,
    /// Where the last byte range ended.
    range_end: u64,
}

#[derive(Debug, Default)]
struct NextUri {
    variant: Option<Variant>,
    range: Option<ByteRange>,
    duration_ms: u32,
    discontinuity: bool,
    is_gap: bool,
}

impl PlaylistReader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the text.
    ///
    /// # Errors
    /// [`PlaylistError::NoPlaylist`] as soon as it is clear, [`PlaylistError::LineTooLong`].
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), PlaylistError> {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let (start, rest) = bytes.split_at(at);
            self.extend(start)?;
            self.end_line()?;
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes)
    }

    /// The playlist, at the end of the text.
    ///
    /// # Errors
    /// Any [`PlaylistError`].
    pub fn finish(mut self) -> Result<Playlist, PlaylistError> {
        self.end_line()?;
        if !self.has_head {
            return Err(PlaylistError::NoPlaylist);
        }
        if self.is_multivariant {
            return match self.key {
                Some(method) => Err(PlaylistError::Encrypted(method)),
                None => Ok(Playlist::Multivariant(self.variants)),
            };
        }
        if let Some(method) = self.newest_is_encrypted {
            return Err(PlaylistError::Encrypted(method));
        }
        self.media.next_sequence = self.sequence;
        Ok(Playlist::Media(self.media))
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), PlaylistError> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(match self.has_head {
                true => PlaylistError::LineTooLong,
                false => PlaylistError::NoPlaylist,
            });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), PlaylistError> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            return Ok(());
        }
        if !self.has_head {
            self.has_head = line.starts_with("#EXTM3U");
            return match self.has_head {
                true => Ok(()),
                false => Err(PlaylistError::NoPlaylist),
            };
        }
        match line.strip_prefix('#') {
            Some(tag) => self.tag(tag),
            None => self.uri(line),
        }
        // Its capacity serves the next line.
        drop(text);
        self.line = bytes;
        self.line.clear();
        Ok(())
    }

    fn tag(&mut self, tag: &str) {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-STREAM-INF" => {
                self.is_multivariant = true;
                self.next.variant = Some(variant(value));
            }
            "EXT-X-KEY" | "EXT-X-SESSION-KEY" => {
                let method = attribute(value, "METHOD").unwrap_or("NONE");
                self.key = (method != "NONE").then(|| method.chars().take(40).collect());
            }
            "EXT-X-TARGETDURATION" => self.media.target_duration_ms = milliseconds(value),
            "EXT-X-MEDIA-SEQUENCE" => self.sequence = value.trim().parse().unwrap_or(0),
            "EXTINF" => {
                let seconds = value.split(',').next().unwrap_or_default();
                self.next.duration_ms = milliseconds(seconds);
            }
            "EXT-X-BYTERANGE" => self.next.range = ByteRange::parse(value, self.range_end),
            "EXT-X-MAP" => {
                self.map = attribute(value, "URI").map(|uri| Map {
                    uri: uri.to_owned(),
                    range: attribute(value, "BYTERANGE").and_then(|r| ByteRange::parse(r, 0)),
                });
            }
            "EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "EXT-X-GAP" => self.next.is_gap = true,
            "EXT-X-PLAYLIST-TYPE" => self.media.is_recording = value.trim() == "VOD",
            "EXT-X-ENDLIST" => self.media.is_ended = true,
            _ => {}
        }
    }

    fn uri(&mut self, uri: &str) {
        let next = std::mem::take(&mut self.next);
        if let Some(variant) = next.variant {
            if self.variants.len() < VARIANTS_MAX {
                let uri = uri.to_owned();
                self.variants.push(Variant { uri, ..variant });
            }
            return;
        }
        self.sequence = self.sequence.saturating_add(1);
        self.range_end = next.range.map_or(0, |range| range.last().saturating_add(1));
        // A segment that the packager lost (RFC 8216bis section 4.4.4.7).
        if next.is_gap {
            return;
        }
        self.newest_is_encrypted = self.key.clone();
        if self.media.newest.len() == SEGMENTS_KEPT {
            self.media.newest.pop_front();
        }
        self.media.newest.push_back(Segment {
            uri: uri.to_owned(),
            range: next.range,
            map: self.map.clone(),
            duration_ms: next.duration_ms,
            discontinuity: next.discontinuity,
        });
    }
}

/// The best rendition with video, by bit rate; the leanest where `lean`.
pub fn choose_variant(variants: &[Variant], lean: bool) -> Option<&Variant> {
    let video = variants.iter().filter(|v| v.may_have_video);
    match lean {
        true => video.min_by_key(|v| v.bandwidth_bps),
        // Of equals the first: packagers put what they recommend in front.
        false => video.rev().max_by_key(|v| v.bandwidth_bps),
    }
}

fn variant(attributes: &str) -> Variant {
    let codecs = attribute(attributes, "CODECS");
    let codec = codecs.and_then(|names| names.split(',').find_map(codec));
    let size = attribute(attributes, "RESOLUTION").and_then(|text| {
        let (width, height) = text.split_once(['x', 'X'])?;
        Some((width.parse().ok()?, height.parse().ok()?))
    });
    let number = |name| attribute(attributes, name).and_then(|text| text.parse().ok());
    Variant {
        uri: String::new(),
        bandwidth_bps: attribute(attributes, "BANDWIDTH")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        may_have_video: codecs.is_none() || codec.is_some() || size.is_some(),
        codec,
        size: size.filter(|(width, height)| *width > 0 && *height > 0),
        fps: number("FRAME-RATE").and_then(plausible_fps),
    }
}

/// A video codec of `CODECS` (RFC 6381, ISO 14496-15 annex E).
fn codec(name: &str) -> Option<Codec> {
    Some(match name.trim().split('.').next()? {
        "avc1" | "avc3" => Codec::H264,
        "hvc1" | "hev1" | "dvh1" | "dvhe" => Codec::H265,
        "mp4v" => Codec::Mpeg4,
        "av01" => Codec::Av1,
        "vp08" => Codec::Vp8,
        "vp09" => Codec::Vp9,
        _ => return None,
    })
}

/// The value of one attribute of a list (RFC 8216 section 4.2), without its quotes.
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after.strip_prefix(',').unwrap_or(after))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.trim() == wanted {
            return Some(value.trim());
        }
        rest = after;
    }
    None
}

/// Decimal seconds to ms; what cannot be one is 0.
fn milliseconds(seconds: &str) -> u32 {
    let seconds: f64 = seconds.trim().parse().unwrap_or(0.0);
    match seconds.is_finite() && seconds > 0.0 {
        true => (seconds * 1000.0).min(f64::from(u32::MAX)).round() as u32,
        false => 0,
    }
}

#[cfg(test)]
mod tests;
