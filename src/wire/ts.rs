//! MPEG transport streams (ISO 13818-1), far enough to see a whole key frame of the first video
//! stream. Takes packets of 188, 192 (M2TS) and 204 bytes (with parity) however they are cut up; keeps a
//! packet, one table section and the beginning of a NAL unit.

use super::annexb::UnitSplitter;
use super::parameters::ParameterSets;
use super::picture::PictureWatch;
use super::rate::TimestampRate;
use crate::model::Codec;

pub const PACKET_BYTES: usize = 188;
/// Ticks of PTS and DTS (section 2.4.3.6).
pub const CLOCK_HZ: u32 = 90_000;

const SYNC: u8 = 0x47;
/// Distances at which packets may follow each other.
const STRIDES: [usize; 3] = [PACKET_BYTES, 192, 204];
/// Packets that must agree on a stride.
const PACKETS_TO_SYNC: usize = 3;
const CARRY_BYTES_MAX: usize = 204 * PACKETS_TO_SYNC;
/// Bytes without any packet in them that are looked at.
const NOISE_BYTES_MAX: usize = 64 << 10;
/// A section of PAT or PMT (section 2.4.4).
const SECTION_BYTES_MAX: usize = 1024;
/// The longest PES header (section 2.4.3.7).
const PES_HEADER_BYTES_MAX: usize = 9 + 255;

/// Why bytes are no transport stream that can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TsError {
    #[error("something that is no MPEG transport stream")]
    NoPackets,
    #[error("a transport stream with video of type {0:#04x}, which cannot be checked")]
    OtherVideo(u8),
    #[error("a transport stream without video")]
    NoVideo,
    #[error("a scrambled transport stream, whose pictures cannot be checked")]
    Scrambled,
}

/// Watches the first video stream of a transport stream.
#[derive(Debug, Default)]
pub struct TsWatch {
    carry: Vec<u8>,
    stride: Option<usize>,
    noise_bytes: usize,
    pmt_pid: Option<u16>,
    section: Section,
    video: Option<Video>,
}

/// A table section that is being put together.
#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    began: bool,
}

#[derive(Debug)]
struct Video {
    pid: u16,
    continuity: Option<u8>,
    units: UnitSplitter,
    pictures: PictureWatch,
    /// The header of the PES packet that comes now; `None` once it is behind.
    header: Option<Vec<u8>>,
    timestamp: Option<u64>,
    is_broken: bool,
    rate: TimestampRate,
}

impl TsWatch {
    pub fn new() -> Self {
        Self::default()
    }

    /// The video's codec, once the tables came.
    pub fn codec(&self) -> Option<Codec> {
        self.video.as_ref().map(|v| v.pictures.codec())
    }

    pub fn has_key_frame(&self) -> bool {
        self.video
            .as_ref()
            .is_some_and(|v| v.pictures.has_key_frame())
    }

    pub fn sets(&self) -> Option<&ParameterSets> {
        self.video.as_ref().map(|v| v.pictures.sets())
    }

    /// Timestamp of the latest picture in ticks of [`CLOCK_HZ`], 33 bits.
    pub fn timestamp(&self) -> Option<u64> {
        self.video.as_ref()?.timestamp
    }

    pub fn rate(&self) -> TimestampRate {
        self.video.as_ref().map(|v| v.rate).unwrap_or_default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`TsError`], as soon as it is clear.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), TsError> {
        while !bytes.is_empty() {
            let Some(stride) = self.stride else {
                let room = CARRY_BYTES_MAX.saturating_sub(self.carry.len());
                let (now, rest) = bytes.split_at(room.min(bytes.len()));
                self.carry.extend_from_slice(now);
                bytes = rest;
                self.find_sync()?;
                continue;
            };
            let missing = stride.saturating_sub(self.carry.len());
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            self.carry.extend_from_slice(now);
            bytes = rest;
            self.drain(stride)?;
        }
        Ok(())
    }

    /// The stream is over, as announced: the last picture ends here.
    pub fn finish(&mut self) {
        if let Some(video) = &mut self.video {
            video.end_picture();
        }
    }

    /// Looks for packets in the carry.
    fn find_sync(&mut self) -> Result<(), TsError> {
        if self.carry.len() < CARRY_BYTES_MAX {
            return Ok(());
        }
        for offset in 0..STRIDES[2] {
            let fits = |stride: &usize| {
                (0..PACKETS_TO_SYNC).all(|n| self.carry.get(offset + n * stride) == Some(&SYNC))
            };
            let Some(stride) = STRIDES.into_iter().find(fits) else {
                continue;
            };
            self.carry.drain(..offset);
            self.stride = Some(stride);
            return self.drain(stride);
        }
        self.noise_bytes += self.carry.len();
        self.carry.clear();
        match self.noise_bytes > NOISE_BYTES_MAX || self.pmt_pid.is_none() {
            true => Err(TsError::NoPackets),
            false => Ok(()),
        }
    }

    /// Takes all whole packets of the carry.
    fn drain(&mut self, stride: usize) -> Result<(), TsError> {
        let carry = std::mem::take(&mut self.carry);
        let mut rest = carry.as_slice();
        while let Some((packet, after)) = rest.split_at_checked(stride) {
            if packet.first() != Some(&SYNC) {
                self.stride = None;
                break;
            }
            self.packet(packet.get(..PACKET_BYTES).unwrap_or(packet))?;
            rest = after;
        }
        let used = carry.len() - rest.len();
        self.carry = carry;
        self.carry.drain(..used);
        Ok(())
    }

    /// One packet (section 2.4.3.2). What makes no sense is left out.
    fn packet(&mut self, packet: &[u8]) -> Result<(), TsError> {
        let Some((&[_, p0, p1, flags], mut payload)) = packet.split_first_chunk::<4>() else {
            return Ok(());
        };
        let (is_lost, starts) = (p0 & 0x80 != 0, p0 & 0x40 != 0);
        let pid = u16::from_be_bytes([p0 & 0x1f, p1]);
        if flags & 0x20 != 0 {
            let Some((length, rest)) = payload.split_first() else {
                return Ok(());
            };
            payload = rest.get(usize::from(*length)..).unwrap_or_default();
        }
        if flags & 0x10 == 0 {
            return Ok(());
        }
        match &mut self.video {
            Some(video) if video.pid == pid => {
                if flags & 0xc0 != 0 {
                    return Err(TsError::Scrambled);
                }
                video.packet(payload, starts, flags & 0x0f, is_lost);
                Ok(())
            }
            Some(_) => Ok(()),
            None if pid == 0 && self.pmt_pid.is_none() => {
                if let Some(section) = self.section.feed(payload, starts) {
                    self.pmt_pid = program(section);
                    self.section = Section::default();
                }
                Ok(())
            }
            None if self.pmt_pid == Some(pid) => {
                if let Some(section) = self.section.feed(payload, starts) {
                    self.video = video(section)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Section {
    /// The section, once it is whole.
    fn feed(&mut self, payload: &[u8], starts: bool) -> Option<&[u8]> {
        let mut payload = payload;
        if starts {
            let (pointer, rest) = payload.split_first()?;
            payload = rest.get(usize::from(*pointer)..)?;
            self.bytes.clear();
            self.began = true;
        }
        let room = SECTION_BYTES_MAX.saturating_sub(self.bytes.len());
        if self.began {
            self.bytes
                .extend_from_slice(payload.get(..room).unwrap_or(payload));
        }
        let [_, high, low, ..] = *self.bytes.as_slice() else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high & 0x0f, low]));
        // Without the CRC at its end.
        let end = (3 + length).checked_sub(4)?;
        self.bytes.get(..end)
    }
}

/// PID of the first programme's map (section 2.4.4.3).
fn program(pat: &[u8]) -> Option<u16> {
    let [0, ..] = *pat else { return None };
    let (programs, _) = pat.get(8..)?.as_chunks::<4>();
    programs.iter().find_map(|[n0, n1, p0, p1]| {
        ([*n0, *n1] != [0, 0]).then(|| u16::from_be_bytes([p0 & 0x1f, *p1]))
    })
}

/// The first video stream of a programme map (section 2.4.4.8); `None` when it is none at all.
fn video(pmt: &[u8]) -> Result<Option<Video>, TsError> {
    let Some(&[2, _, _, _, _, _, _, _, _, _, l0, l1]) = pmt.first_chunk::<12>() else {
        return Ok(None);
    };
    let descriptors_bytes = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
    let mut streams = pmt.get(12 + descriptors_bytes..).unwrap_or_default();
    let mut other = None;
    while let Some((&[kind, p0, p1, l0, l1], rest)) = streams.split_first_chunk::<5>() {
        let pid = u16::from_be_bytes([p0 & 0x1f, p1]);
        let codec = match kind {
            0x1b => Some(Codec::H264),
            0x24 => Some(Codec::H265),
            _ => None,
        };
        if let Some(codec) = codec {
            return Ok(Some(Video::new(pid, codec)));
        }
        // MPEG-1, MPEG-2, MPEG-4 part 2, JPEG 2000, VVC (table 2-34).
        if matches!(kind, 0x01 | 0x02 | 0x10 | 0x21 | 0x33) {
            other = Some(kind);
        }
        let skipped = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
        streams = rest.get(skipped..).unwrap_or_default();
    }
    Err(other.map_or(TsError::NoVideo, TsError::OtherVideo))
}

impl Video {
    fn new(pid: u16, codec: Codec) -> Self {
        Self {
            pid,
            continuity: None,
            units: UnitSplitter::new(),
            pictures: PictureWatch::new(codec, ParameterSets::new(codec)),
            header: None,
            timestamp: None,
            // Whatever comes before the first start of a PES packet.
            is_broken: true,
            rate: TimestampRate::default(),
        }
    }

    fn packet(&mut self, payload: &[u8], starts: bool, continuity: u8, is_lost: bool) {
        if let Some(last) = self.continuity.replace(continuity) {
            // A packet may be sent twice (section 2.4.3.3).
            if continuity == last && !starts {
                return;
            }
            self.is_broken |= continuity != (last + 1) & 0x0f;
        }
        self.is_broken |= is_lost;
        if starts {
            self.header = Some(Vec::new());
        }
        let Some(mut header) = self.header.take() else {
            return self.elementary(payload);
        };
        let room = PES_HEADER_BYTES_MAX - header.len();
        let (now, rest) = payload.split_at(room.min(payload.len()));
        header.extend_from_slice(now);
        match header_bytes(&header) {
            Some(length) if header.len() >= length => {
                self.begin(&header);
                let body = header.get(length..).unwrap_or_default();
                self.elementary(body);
                self.elementary(rest);
            }
            _ if header.len() < PES_HEADER_BYTES_MAX => self.header = Some(header),
            _ => self.is_broken = true,
        }
    }

    /// A PES packet begins. One that tells no time, or the same, goes on with the picture.
    fn begin(&mut self, header: &[u8]) {
        let timestamp = timestamp(header);
        if timestamp.is_some() && timestamp != self.timestamp {
            self.end_picture();
            self.is_broken = false;
            self.timestamp = timestamp;
        }
    }

    fn elementary(&mut self, bytes: &[u8]) {
        let pictures = &mut self.pictures;
        self.units.feed(bytes, |unit| pictures.unit(unit));
    }

    fn end_picture(&mut self) {
        let pictures = &mut self.pictures;
        self.units.finish(|unit| pictures.unit(unit));
        let was_picture = self.pictures.end(!self.is_broken);
        if let Some(timestamp) = self.timestamp.filter(|_| was_picture) {
            self.rate.frame(timestamp, CLOCK_HZ);
        }
    }
}

/// Length of a PES header (section 2.4.3.6), once its first nine bytes are there.
fn header_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, _, _, _, _, _, length] = bytes.first_chunk::<9>()?;
    Some(9 + usize::from(length))
}

/// The decoding time of a PES packet, else its presentation time; 33 bits.
fn timestamp(header: &[u8]) -> Option<u64> {
    let &[0, 0, 1, _, _, _, _, flags, _] = header.first_chunk::<9>()? else {
        return None;
    };
    let at = match flags >> 6 {
        3 => 14,
        2 => 9,
        _ => return None,
    };
    let &[a, b, c, d, e] = header.get(at..)?.first_chunk::<5>()?;
    let bits = |byte: u8, shift: u32| u64::from(byte) << shift;
    Some(bits(a >> 1 & 7, 30) | bits(b, 22) | bits(c >> 1, 15) | bits(d, 7) | u64::from(e >> 1))
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
