//! Video tags: the classic ones, H.265 in their Chinese dialect, and enhanced RTMP.

use std::time::Duration;

use super::pace::Pace;
use super::{SCRIPT, VIDEO};
use crate::model::{Codec, MediaFacts};
use crate::wire::amf::{self, Value};
use crate::wire::parameters::{ParameterSets, annex_b_units};
use crate::wire::sdp::plausible_fps;
use crate::wire::video::VideoWatch;

/// FLV timestamps are in milliseconds.
const CLOCK_RATE_HZ: u32 = 1000;
/// A NAL unit's length, where no sequence header says otherwise.
const LENGTH_BYTES_USUAL: usize = 4;
/// Pictures by their metadata: larger ones are no measure.
const SIDE_MAX: f64 = 65535.0;

/// The start of a video tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct VideoTag<'a> {
    /// The name of a codec that is none of ours.
    codec: Result<Codec, CodecName>,
    is_key: bool,
    packet: PacketKind,
    data: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketKind {
    SequenceHeader,
    Frame,
    /// End of a sequence, metadata, several tracks in one.
    Other,
}

/// A classic codec number or a FourCC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodecName {
    Number(u8),
    FourCc([u8; 4]),
}

impl<'a> VideoTag<'a> {
    /// `None` for what is no video frame, and for tags that are cut off.
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (first, rest) = body.split_first()?;
        match first & 0x80 {
            0 => Self::classic(*first, rest),
            _ => Self::enhanced(*first, rest),
        }
    }

    /// FLV annex E.4.3.
    fn classic(first: u8, rest: &'a [u8]) -> Option<Self> {
        const COMMAND_FRAME: u8 = 5;
        let (frame, number) = (first >> 4, first & 0x0f);
        if frame == COMMAND_FRAME {
            return None;
        }
        let codec = match number {
            7 => Codec::H264,
            // Not in Adobe's table; agreed on by Chinese services and their cameras.
            12 => Codec::H265,
            _ => {
                return Some(Self {
                    codec: Err(CodecName::Number(number)),
                    is_key: frame == 1,
                    packet: PacketKind::Frame,
                    data: rest,
                });
            }
        };
        // The kind of packet and a composition time.
        let (&[kind, ..], data) = rest.split_first_chunk::<4>()?;
        let packet = match kind {
            0 => PacketKind::SequenceHeader,
            1 => PacketKind::Frame,
            _ => PacketKind::Other,
        };
        Some(Self {
            codec: Ok(codec),
            is_key: frame == 1,
            packet,
            data,
        })
    }

    /// Enhanced RTMP, version 2, "Enhanced video".
    fn enhanced(first: u8, mut rest: &'a [u8]) -> Option<Self> {
        const COMMAND_FRAME: u8 = 5;
        const MULTITRACK: u8 = 6;
        const MOD_EX: u8 = 7;
        let frame = first >> 4 & 7;
        let mut kind = first & 0x0f;
        // Each extension has at least two bytes: this ends.
        while kind == MOD_EX {
            let (size, after) = rest.split_first()?;
            rest = after;
            let mut size = usize::from(*size) + 1;
            if size == 256 {
                let (long, after) = rest.split_first_chunk::<2>()?;
                size = usize::from(u16::from_be_bytes(*long)) + 1;
                rest = after;
            }
            let (next, after) = rest.get(size..)?.split_first()?;
            kind = next & 0x0f;
            rest = after;
        }
        if kind == MULTITRACK || frame == COMMAND_FRAME {
            return None;
        }
        let (name, mut data) = rest.split_first_chunk::<4>()?;
        let codec = match name {
            b"avc1" => Ok(Codec::H264),
            b"hvc1" => Ok(Codec::H265),
            b"av01" => Ok(Codec::Av1),
            b"vp08" => Ok(Codec::Vp8),
            b"vp09" => Ok(Codec::Vp9),
            _ => Err(CodecName::FourCc(*name)),
        };
        let packet = match kind {
            0 => PacketKind::SequenceHeader,
            1 | 3 => PacketKind::Frame,
            _ => PacketKind::Other,
        };
        let has_composition_time = kind == 1 && matches!(codec, Ok(Codec::H264 | Codec::H265));
        if has_composition_time {
            data = data.get(3..)?;
        }
        Some(Self {
            codec,
            is_key: frame == 1,
            packet,
            data,
        })
    }
}

impl std::fmt::Display for CodecName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(2) => f.write_str("Sorenson H.263"),
            Self::Number(4 | 5) => f.write_str("VP6"),
            Self::Number(3 | 6) => f.write_str("screen video"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::FourCc(name) => write!(f, "{}", name.escape_ascii()),
        }
    }
}

/// Watches the tags of one stream just closely enough to know when a whole key frame came and how
/// many pictures there are. No picture is kept.
#[derive(Debug, Default)]
pub struct FlvWatch {
    watch: Option<(Codec, VideoWatch)>,
    length_bytes: Option<usize>,
    metadata: MediaFacts,
    other_codec: Option<CodecName>,
    tags: u64,
    pace: Pace,
}

impl FlvWatch {
    /// Takes one whole tag, or RTMP message of the same type, that arrived `at`, a time since the
    /// start of media.
    ///
    /// * `head`: its beginning; `length` bytes are all of it.
    pub fn push(&mut self, kind: u8, timestamp_ms: u32, head: &[u8], length: u32, at: Duration) {
        match kind {
            VIDEO => {
                if let Some(tag) = VideoTag::parse(head) {
                    let is_cut = head.len() < length as usize;
                    self.video(tag, timestamp_ms, is_cut, at);
                }
            }
            SCRIPT => self.script(head),
            _ => {}
        }
    }

    /// A whole key frame came, with what is needed to decode it.
    pub fn has_key_frame(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|(_, watch)| watch.has_key_frame())
    }

    /// Pictures came as they were taken, not out of a server's memory alone.
    pub fn is_live(&self) -> bool {
        self.pace.is_live()
    }

    /// Video tags so far.
    pub fn tags(&self) -> u64 {
        self.tags
    }

    /// The name of the stream's codec, where it is one that cannot be checked.
    pub fn other_codec(&self) -> Option<String> {
        self.other_codec.map(|name| name.to_string())
    }

    /// What the stream says of itself; `fps` is what it announces.
    pub fn facts(&self) -> MediaFacts {
        let mut facts = self.metadata;
        let Some((codec, watch)) = &self.watch else {
            return facts;
        };
        facts.codec = Some(*codec);
        // A parameter set knows better than metadata, which is often made up.
        if let Some(read) = watch.sets().read() {
            facts.width = Some(read.width);
            facts.height = Some(read.height);
            facts.fps = read.fps.or(facts.fps);
        }
        facts
    }

    /// Frames per second by what arrived, rounded to 0.1.
    pub fn measured_fps(&self) -> Option<f64> {
        self.watch.as_ref()?.1.rate.fps(CLOCK_RATE_HZ)
    }

    /// True when the window for the frame rate is long enough.
    pub fn is_rate_full(&self) -> bool {
        self.watch.as_ref().is_some_and(|(_, w)| w.rate.is_full())
    }

    fn video(&mut self, tag: VideoTag<'_>, timestamp_ms: u32, is_cut: bool, at: Duration) {
        self.tags += 1;
        let codec = match tag.codec {
            Ok(codec) => codec,
            Err(name) => {
                self.other_codec = Some(name);
                return;
            }
        };
        let watch = match &mut self.watch {
            Some((old, watch)) if *old == codec => watch,
            // The first one, or the stream was begun anew with other settings.
            watch => {
                self.length_bytes = None;
                let fresh = VideoWatch::new(codec, 0, ParameterSets::new(codec));
                &mut watch.insert((codec, fresh)).1
            }
        };
        if tag.packet == PacketKind::Frame {
            self.pace.picture(timestamp_ms, at);
        }
        match (tag.packet, codec) {
            (PacketKind::Other, _) => {}
            (PacketKind::SequenceHeader, Codec::H264 | Codec::H265) => {
                if let Some(length_bytes) = configuration(codec, tag.data, |n| watch.keep_set(n)) {
                    self.length_bytes = Some(length_bytes);
                }
            }
            (PacketKind::SequenceHeader, _) => {}
            (PacketKind::Frame, Codec::H264 | Codec::H265) => {
                // A few cameras write Annex B where lengths should stand.
                if tag.data.starts_with(&[0, 0, 0, 1]) {
                    let units = annex_b_units(tag.data).map(Some);
                    return watch.push_units(units, timestamp_ms, at);
                }
                let length_bytes = self.length_bytes.unwrap_or(LENGTH_BYTES_USUAL);
                watch.push_units(units(tag.data, length_bytes, is_cut), timestamp_ms, at);
            }
            (PacketKind::Frame, _) => watch.push_frame(tag.is_key, timestamp_ms, at),
        }
    }

    /// `onMetaData`, a command's name and an object.
    fn script(&mut self, body: &[u8]) {
        let values = amf::read_all(body);
        let Some(data) = values.iter().find(|v| matches!(v, Value::Object(_))) else {
            return;
        };
        let number = |name: &str| data.get(name).and_then(Value::as_number);
        let side = |name: &str| {
            number(name)
                .filter(|n| (1.0..=SIDE_MAX).contains(n))
                .map(|n| n as u32)
        };
        let fps = number("framerate").or_else(|| number("videoframerate"));
        self.metadata.width = side("width").or(self.metadata.width);
        self.metadata.height = side("height").or(self.metadata.height);
        self.metadata.fps = fps.and_then(plausible_fps).or(self.metadata.fps);
    }
}

/// The parameter sets of an `avcC` or `hvcC` record (ISO/IEC 14496-15 sections 5.3.3 and 8.3.3); gives
/// the bytes of a NAL unit's length. `None` for a record that is none.
fn configuration(codec: Codec, record: &[u8], mut keep: impl FnMut(&[u8])) -> Option<usize> {
    let (length_at, mut rest) = match codec {
        Codec::H264 => (4, record.get(5..)?),
        _ => (21, record.get(22..)?),
    };
    let length_bytes = usize::from(record.get(length_at)? & 3) + 1;
    let mut sets = |count: usize, rest: &mut &[u8]| {
        for _ in 0..count {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (unit, after) = after.split_at_checked(length)?;
            keep(unit);
            *rest = after;
        }
        Some(())
    };
    match codec {
        Codec::H264 => {
            for mask in [0x1f, 0xff] {
                let (count, after) = rest.split_first()?;
                rest = after;
                sets(usize::from(count & mask), &mut rest)?;
            }
        }
        _ => {
            let (arrays, after) = rest.split_first()?;
            rest = after;
            for _ in 0..*arrays {
                let (&[_, c0, c1], after) = rest.split_first_chunk::<3>()?;
                rest = after;
                sets(usize::from(u16::from_be_bytes([c0, c1])), &mut rest)?;
            }
        }
    }
    Some(length_bytes)
}

/// NAL units behind their lengths; `None` for one whose length cannot be. The last one may be cut
/// off when `is_cut`.
fn units(
    mut data: &[u8],
    length_bytes: usize,
    is_cut: bool,
) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let whole = data
            .split_at_checked(length_bytes)
            .and_then(|(length, rest)| {
                let length = length.iter().fold(0, |n, b| n << 8 | usize::from(*b));
                rest.split_at_checked(length)
            });
        let cut = std::mem::take(&mut data);
        match whole {
            Some((unit, rest)) => {
                data = rest;
                Some(Some(unit))
            }
            None if is_cut => Some(Some(cut.get(length_bytes..).unwrap_or_default())),
            None => Some(None),
        }
    })
    .filter(|unit| unit.is_none_or(|unit| !unit.is_empty()))
}
