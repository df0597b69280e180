//! Pictures of H.264 and H.265 by the beginnings of their NAL units (H.264 section 7.3, H.265 section
//! 7.3): which one is a key frame, and can a decoder start with it? What carries them (RTP, TS, MP4)
//! says where a picture ends and whether it is whole.

use super::bits::Bits;
use super::parameters::ParameterSets;
use crate::model::Codec;

/// One stream of H.264 or H.265 under observation; units of other codecs mean nothing to it.
#[derive(Debug, Clone)]
pub struct PictureWatch {
    codec: Codec,
    sets: ParameterSets,
    now: Picture,
    has_key_frame: bool,
}

/// The picture that comes now.
#[derive(Debug, Clone, Copy, Default)]
struct Picture {
    /// Its first slice was seen.
    began: bool,
    has_key_slice: bool,
    has_recovery_point: bool,
    /// A slice that needs other pictures.
    has_inter_slice: bool,
}

impl PictureWatch {
    /// Begins to watch; `sets` are those that are known beforehand.
    pub fn new(codec: Codec, sets: ParameterSets) -> Self {
        Self {
            codec,
            sets,
            now: Picture::default(),
            has_key_frame: false,
        }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// A whole key frame came, with the parameter sets that it needs.
    pub fn has_key_frame(&self) -> bool {
        self.has_key_frame
    }

    /// The newest parameter sets.
    pub fn sets(&self) -> &ParameterSets {
        &self.sets
    }

    /// Takes a parameter set that came apart from the pictures.
    pub fn keep_set(&mut self, unit: &[u8]) {
        self.sets.keep(unit);
    }

    /// The first slice of the current picture came.
    pub fn has_begun(&self) -> bool {
        self.now.began
    }

    /// The current picture is over; `is_whole`: nothing of it was lost. True when there was one.
    pub fn end(&mut self, is_whole: bool) -> bool {
        let picture = std::mem::take(&mut self.now);
        let is_key =
            picture.has_key_slice || (picture.has_recovery_point && !picture.has_inter_slice);
        self.has_key_frame |= picture.began && is_whole && is_key && self.sets.is_complete();
        picture.began
    }

    /// One NAL unit; of slices the beginning is enough.
    pub fn unit(&mut self, unit: &[u8]) {
        let kind = self.kind(unit);
        let body = match self.codec {
            Codec::H264 => unit.get(1..),
            _ => unit.get(2..),
        };
        let Some(body) = body else { return };
        if self.is_slice(kind) {
            self.slice(kind, body);
        } else if self.codec == Codec::H264 && kind == 6 {
            self.now.has_recovery_point |= has_recovery_point(body);
        } else {
            self.sets.keep(unit);
        }
    }

    /// The type of a NAL unit, by its header.
    pub fn kind(&self, unit: &[u8]) -> u8 {
        let header = unit.first().copied().unwrap_or_default();
        match self.codec {
            Codec::H264 => header & 0x1f,
            _ => header >> 1 & 0x3f,
        }
    }

    pub fn is_slice(&self, kind: u8) -> bool {
        match self.codec {
            Codec::H264 => matches!(kind, 1 | 2 | 5),
            _ => matches!(kind, 0..=9 | 16..=21),
        }
    }

    /// The start of a slice, behind the unit's header.
    pub fn slice(&mut self, kind: u8, body: &[u8]) {
        let first = body.first().copied().unwrap_or_default();
        // `first_mb_in_slice` of 0 is the single bit 1; `first_slice_segment_in_pic_flag`.
        self.now.began |= first & 0x80 != 0;
        let is_key = match self.codec {
            Codec::H264 => kind == 5,
            _ => matches!(kind, 16..=21),
        };
        self.now.has_key_slice |= is_key;
        self.now.has_inter_slice |= !is_key && !is_intra_slice(body);
    }
}

/// H.264 slices of type I or SI (H.264 section 7.3.3): behind `first_mb_in_slice`.
fn is_intra_slice(body: &[u8]) -> bool {
    let mut bits = Bits::new(body);
    let _first_mb_in_slice = bits.exp_golomb();
    matches!(bits.exp_golomb(), Some(2 | 4 | 7 | 9))
}

/// Payload type 6 among the messages of an H.264 SEI unit (H.264 annex D.1).
fn has_recovery_point(mut body: &[u8]) -> bool {
    const RECOVERY_POINT: usize = 6;
    while body.len() > 2 {
        let Some((kind, rest)) = sei_number(body) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some(rest) = sei_number(rest).and_then(|(length, rest)| rest.get(length..)) else {
            return false;
        };
        body = rest;
    }
    false
}

/// Bytes of 255, then the rest.
fn sei_number(body: &[u8]) -> Option<(usize, &[u8])> {
    let full = body.iter().take_while(|b| **b == 255).count();
    let last = usize::from(*body.get(full)?);
    Some((full * 255 + last, body.get(full + 1..)?))
}
