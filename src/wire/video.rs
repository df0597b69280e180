//! Watches the packets of one video stream just closely enough to know when a whole key frame came
//! and how many pictures there are (RFC 6184, RFC 7798, RFC 2435, and VP8, VP9, AV1 in WebRTC). No
//! picture is kept.

#[cfg(feature = "webrtc")]
mod av1;
#[cfg(feature = "webrtc")]
mod vpx;

use std::time::Duration;

use super::parameters::{ParameterSets, annex_b_units};
use super::picture::PictureWatch;
use super::rtp::{Packet, RateMeter};
use crate::model::Codec;

/// RTP header extension that carries the whole JPEG header (ONVIF streaming, JPEG over RTP).
const JPEG_HEADER_EXTENSION: u16 = 0xffd8;

/// One video stream under observation.
#[derive(Debug, Clone)]
pub struct VideoWatch {
    codec: Codec,
    payload_type: u8,
    pictures: PictureWatch,
    frame_size: Option<(u32, u32)>,
    last_sequence: Option<u16>,
    unit: Arrival,
    /// Of the codecs that [`PictureWatch`] does not read.
    has_other_key_frame: bool,
    packets: u64,
    lost_packets: u64,
    pub rate: RateMeter,
}

/// The frame that arrives now.
#[derive(Debug, Clone, Copy, Default)]
struct Arrival {
    timestamp: u32,
    /// A fragment was begun and not ended.
    open: bool,
    broken: bool,
    /// Its first byte was seen, where [`PictureWatch`] does not look.
    began: bool,
    /// It needs no other one, by the same.
    is_key: bool,
    /// Bytes of JPEG so far.
    jpeg_bytes: usize,
}

impl VideoWatch {
    /// Begins to watch; `sets` are those of the description.
    pub fn new(codec: Codec, payload_type: u8, sets: ParameterSets) -> Self {
        Self {
            codec,
            payload_type,
            pictures: PictureWatch::new(codec, sets),
            frame_size: None,
            last_sequence: None,
            unit: Arrival::default(),
            has_other_key_frame: false,
            packets: 0,
            lost_packets: 0,
            rate: RateMeter::default(),
        }
    }

    /// A whole key frame came, with the parameter sets that it needs.
    pub fn has_key_frame(&self) -> bool {
        self.pictures.has_key_frame() || self.has_other_key_frame
    }

    /// Packets of this stream so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Gaps in the sequence, in packets.
    pub fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// The newest parameter sets, from the description or the stream.
    pub fn sets(&self) -> &ParameterSets {
        self.pictures.sets()
    }

    /// Width and height by the frames themselves; H.264 and H.265 have it in their parameter sets.
    pub fn frame_size(&self) -> Option<(u32, u32)> {
        self.frame_size
    }

    /// Takes one packet that arrived `at`, a time since the start of media.
    pub fn push(&mut self, packet: &[u8], at: Duration) {
        let Some(packet) = Packet::parse(packet).filter(|p| p.payload_type == self.payload_type)
        else {
            return;
        };
        self.packets += 1;
        if let Some(last) = self.last_sequence.replace(packet.sequence) {
            let gap = packet.sequence.wrapping_sub(last).wrapping_sub(1);
            if gap != 0 {
                self.lost_packets += u64::from(gap);
                self.unit.broken = true;
            }
        }
        if packet.timestamp != self.unit.timestamp {
            self.end_unit(packet.timestamp);
        }
        let had_begun = self.has_begun();
        let was_understood = match self.codec {
            Codec::H264 => self.h264(packet.payload),
            Codec::H265 => self.h265(packet.payload),
            #[cfg(feature = "webrtc")]
            Codec::Vp8 => self.piece(vpx::vp8(packet.payload)),
            #[cfg(feature = "webrtc")]
            Codec::Vp9 => self.piece(vpx::vp9(packet.payload)),
            #[cfg(feature = "webrtc")]
            Codec::Av1 => self.piece(av1::av1(packet.payload)),
            _ => self.jpeg(&packet),
        };
        self.unit.broken |= was_understood.is_none();
        if self.has_begun() && !had_begun {
            self.rate.picture(packet.timestamp, at);
        }
        // Some cameras mark packets without any slice.
        if packet.marker && self.has_begun() {
            self.end_unit(packet.timestamp);
        }
    }

    /// Takes one whole frame as containers carry it (FLV), that arrived `at`. A unit that cannot be
    /// read is `None`.
    pub fn push_units<'a>(
        &mut self,
        units: impl Iterator<Item = Option<&'a [u8]>>,
        timestamp: u32,
        at: Duration,
    ) {
        self.packets += 1;
        self.end_unit(timestamp);
        for unit in units {
            match unit {
                Some(unit) => self.pictures.unit(unit),
                None => self.unit.broken = true,
            }
        }
        if self.has_begun() {
            self.rate.picture(timestamp, at);
        }
        self.end_unit(timestamp);
    }

    /// The same for a codec whose frames are not looked into: their container says what is key.
    pub fn push_frame(&mut self, is_key: bool, timestamp: u32, at: Duration) {
        self.packets += 1;
        self.has_other_key_frame |= is_key;
        self.rate.picture(timestamp, at);
    }

    /// Takes a parameter set that came apart from the frames.
    pub fn keep_set(&mut self, unit: &[u8]) {
        self.pictures.keep_set(unit);
    }

    fn end_unit(&mut self, next_timestamp: u32) {
        let next = Arrival {
            timestamp: next_timestamp,
            ..Arrival::default()
        };
        let unit = std::mem::replace(&mut self.unit, next);
        let is_whole = !unit.open && !unit.broken;
        self.has_other_key_frame |= unit.began && unit.is_key && is_whole;
        self.pictures.end(is_whole);
    }

    fn has_begun(&self) -> bool {
        self.unit.began || self.pictures.has_begun()
    }

    /// RFC 6184 section 5. `None`: the payload makes no sense.
    fn h264(&mut self, payload: &[u8]) -> Option<()> {
        let (header, body) = payload.split_first()?;
        match header & 0x1f {
            24 => self.aggregate(body),
            28 => {
                let (fragment, body) = body.split_first()?;
                let unit_header = header & 0xe0 | fragment & 0x1f;
                self.fragment(*fragment, &[unit_header], body);
            }
            _ => self.single(payload),
        }
        Some(())
    }

    /// RFC 7798 section 4.4, without DONL fields (`sprop-max-don-diff` 0, as in all cameras).
    fn h265(&mut self, payload: &[u8]) -> Option<()> {
        let (&[high, low], body) = payload.split_first_chunk::<2>()?;
        match high >> 1 & 0x3f {
            48 => self.aggregate(body),
            49 => {
                let (fragment, body) = body.split_first()?;
                let unit_header = [high & 0x81 | (fragment & 0x3f) << 1, low];
                self.fragment(*fragment, &unit_header, body);
            }
            _ => self.single(payload),
        }
        Some(())
    }

    /// STAP-A and AP: length, unit, length, unit.
    fn aggregate(&mut self, mut body: &[u8]) {
        while let Some((length, rest)) = body.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((unit, rest)) = rest.split_at_checked(length) else {
                self.unit.broken = true;
                return;
            };
            self.pictures.unit(unit);
            body = rest;
        }
    }

    /// FU-A and FU. `flags` has the start bit highest and the end bit below.
    fn fragment(&mut self, flags: u8, header: &[u8], body: &[u8]) {
        if flags & 0x80 != 0 {
            self.unit.open = true;
            let kind = self.pictures.kind(header);
            if self.pictures.is_slice(kind) {
                self.pictures.slice(kind, body);
            } else {
                // Some cameras put a whole Annex B stream into one "unit".
                let mut units = annex_b_units(body).peekable();
                let first = units.next().unwrap_or_default();
                if units.peek().is_some() {
                    self.pictures.unit(&[header, first].concat());
                }
                units.for_each(|unit| self.pictures.unit(unit));
            }
        } else if !self.unit.open {
            // Its start was lost, or belongs to what came before we listened.
            self.unit.broken = true;
        }
        if flags & 0x40 != 0 {
            self.unit.open = false;
        }
    }

    fn single(&mut self, payload: &[u8]) {
        let has_start_code = payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]);
        if !has_start_code && self.pictures.is_slice(self.pictures.kind(payload)) {
            return self.pictures.unit(payload);
        }
        annex_b_units(payload).for_each(|unit| self.pictures.unit(unit));
    }

    /// Of the codecs whose packets name the first of a frame.
    #[cfg(feature = "webrtc")]
    fn piece(&mut self, piece: Option<vpx::Piece>) -> Option<()> {
        let piece = piece?;
        self.unit.began |= piece.begins;
        self.unit.is_key |= piece.is_key;
        self.frame_size = piece.size.or(self.frame_size);
        Some(())
    }

    /// RFC 2435 section 3.
    fn jpeg(&mut self, packet: &Packet<'_>) -> Option<()> {
        let (&[_, o0, o1, o2, kind, quality, width, height], rest) =
            packet.payload.split_first_chunk::<8>()?;
        let offset = u32::from_be_bytes([0, o0, o1, o2]) as usize;
        let mut header_bytes = 0;
        if (64..128).contains(&kind) {
            header_bytes += 4;
        }
        if quality >= 128 && offset == 0 {
            let length = rest.get(header_bytes + 2..header_bytes + 4)?;
            header_bytes += 4 + usize::from(u16::from_be_bytes(length.try_into().ok()?));
        }
        let data = rest.get(header_bytes..)?;
        if offset == 0 {
            self.unit.began = true;
            self.unit.is_key = true;
            self.unit.jpeg_bytes = 0;
            let size = (u32::from(width) * 8, u32::from(height) * 8);
            let from_header = (size.0 > 0 && size.1 > 0).then_some(size);
            self.frame_size = from_header
                .or_else(|| jpeg_header_size(packet))
                .or(self.frame_size);
        }
        self.unit.broken |= offset != self.unit.jpeg_bytes || data.is_empty();
        self.unit.jpeg_bytes += data.len();
        Some(())
    }
}

/// The size in the start-of-frame segment of a JPEG header that travels as an extension: for
/// pictures larger than RFC 2435 can say.
fn jpeg_header_size(packet: &Packet<'_>) -> Option<(u32, u32)> {
    let (JPEG_HEADER_EXTENSION, mut segments) = packet.extension? else {
        return None;
    };
    loop {
        let fill = segments.iter().take_while(|b| **b == 0xff).count();
        let (marker, rest) = segments.get(fill..)?.split_first()?;
        let (length, _) = rest.split_first_chunk::<2>()?;
        if matches!(marker, 0xc0..=0xc2) {
            let &[_, _, _, h0, h1, w0, w1] = rest.first_chunk::<7>()?;
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            let (width, height) = (side(w0, w1), side(h0, h1));
            return (width > 0 && height > 0).then_some((width, height));
        }
        segments = rest.get(usize::from(u16::from_be_bytes(*length)).max(2)..)?;
    }
}

#[cfg(test)]
mod tests;
