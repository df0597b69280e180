//! Watches the packets of one video stream just closely enough to know when a whole key frame came
//! and how many pictures there are (RFC 6184, RFC 7798, RFC 2435). No picture is kept.

use std::time::Duration;

use super::parameters::{ParameterSets, annex_b_units};
use super::picture::PictureWatch;
use super::rtp::{Packet, RateMeter};
use crate::model::Codec;

/// RTP header extension that carries the whole JPEG header (ONVIF streaming, JPEG over RTP).
const JPEG_HEADER_EXTENSION: u16 = 0xffd8;

/// One stream of H.264, H.265 or JPEG under observation.
#[derive(Debug, Clone)]
pub struct VideoWatch {
    codec: Codec,
    payload_type: u8,
    pictures: PictureWatch,
    jpeg_size: Option<(u32, u32)>,
    last_sequence: Option<u16>,
    unit: Arrival,
    has_jpeg: bool,
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
    /// A JPEG's first byte was seen.
    jpeg_began: bool,
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
            jpeg_size: None,
            last_sequence: None,
            unit: Arrival::default(),
            has_jpeg: false,
            packets: 0,
            lost_packets: 0,
            rate: RateMeter::default(),
        }
    }

    /// A whole key frame came, with the parameter sets that it needs.
    pub fn has_key_frame(&self) -> bool {
        self.pictures.has_key_frame() || self.has_jpeg
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

    /// Width and height by the stream itself, for JPEG; others have it in their parameter sets.
    pub fn jpeg_size(&self) -> Option<(u32, u32)> {
        self.jpeg_size
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

    fn end_unit(&mut self, next_timestamp: u32) {
        let next = Arrival {
            timestamp: next_timestamp,
            ..Arrival::default()
        };
        let unit = std::mem::replace(&mut self.unit, next);
        let is_whole = !unit.open && !unit.broken;
        self.has_jpeg |= unit.jpeg_began && is_whole;
        self.pictures.end(is_whole);
    }

    fn has_begun(&self) -> bool {
        self.unit.jpeg_began || self.pictures.has_begun()
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
            self.unit.jpeg_began = true;
            self.unit.jpeg_bytes = 0;
            let size = (u32::from(width) * 8, u32::from(height) * 8);
            let from_header = (size.0 > 0 && size.1 > 0).then_some(size);
            self.jpeg_size = from_header
                .or_else(|| jpeg_header_size(packet))
                .or(self.jpeg_size);
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
