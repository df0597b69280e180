//! Names of pixel formats: four characters (`V4L2_PIX_FMT_*`).

use std::fmt;
use std::fmt::Write as _;

use crate::model::Codec;

/// A pixel format by its code, the first character lowest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub u32);

/// What a picture of a format must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Jpeg,
    /// NAL units behind start codes (H.264 annex B, H.265 annex B).
    AnnexB(Codec),
    /// Bits of one pixel, all planes together.
    Pixels {
        bits: u32,
    },
    /// Compressed in a way that cannot be checked here, or an unknown one.
    Unknown,
}

const fn code(name: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*name)
}

impl FourCc {
    pub const MJPEG: Self = Self(code(b"MJPG"));
    pub const JPEG: Self = Self(code(b"JPEG"));
    pub const H264: Self = Self(code(b"H264"));
    pub const HEVC: Self = Self(code(b"HEVC"));
    pub const YUYV: Self = Self(code(b"YUYV"));
    pub const NV12: Self = Self(code(b"NV12"));
    /// Stands for "big endian" in the highest bit.
    const BIG_ENDIAN: u32 = 1 << 31;

    /// The format that this text names; the inverse of `Display` for all but odd codes.
    pub fn from_name(name: &str) -> Option<Self> {
        let (name, flag) = match name.strip_suffix("-BE") {
            Some(name) => (name, Self::BIG_ENDIAN),
            None => (name, 0),
        };
        let bytes: [u8; 4] = name.as_bytes().try_into().ok()?;
        bytes.is_ascii().then(|| Self(code(&bytes) | flag))
    }

    /// How its pictures are checked.
    pub fn packing(self) -> Packing {
        let bits = |bits| Packing::Pixels { bits };
        match &(self.0 & !Self::BIG_ENDIAN).to_le_bytes() {
            b"MJPG" | b"JPEG" => Packing::Jpeg,
            b"H264" => Packing::AnnexB(Codec::H264),
            b"HEVC" => Packing::AnnexB(Codec::H265),
            b"GREY" | b"BA81" | b"GBRG" | b"GRBG" | b"RGGB" => bits(8),
            b"NV12" | b"NV21" | b"YU12" | b"YV12" => bits(12),
            b"YUYV" | b"UYVY" | b"YVYU" | b"VYUY" | b"NV16" | b"NV61" | b"422P" => bits(16),
            b"Y10 " | b"Y12 " | b"Y16 " | b"Z16 " | b"RGBP" => bits(16),
            b"RGB3" | b"BGR3" => bits(24),
            b"RGB4" | b"BGR4" | b"XR24" | b"BX24" | b"AR24" | b"BA24" => bits(32),
            _ => Packing::Unknown,
        }
    }

    /// The codec by the API's name; `None` for compressed formats that it does not know.
    pub fn codec(self) -> Option<Codec> {
        match (self, self.packing()) {
            (Self::YUYV, _) => Some(Codec::Yuyv),
            (Self::NV12, _) => Some(Codec::Nv12),
            (_, Packing::Jpeg) => Some(Codec::Mjpeg),
            (_, Packing::AnnexB(codec)) => Some(codec),
            (_, Packing::Pixels { .. }) => Some(Codec::Raw),
            (_, Packing::Unknown) => match &self.0.to_le_bytes() {
                b"MPG4" => Some(Codec::Mpeg4),
                b"VP80" => Some(Codec::Vp8),
                b"VP90" => Some(Codec::Vp9),
                b"AV01" => Some(Codec::Av1),
                _ => None,
            },
        }
    }
}

/// The four characters, `-BE` behind those of big endian; others than printable ASCII as `\x00`.
impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in (self.0 & !Self::BIG_ENDIAN).to_le_bytes() {
            match byte {
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        match self.0 & Self::BIG_ENDIAN {
            0 => Ok(()),
            _ => f.write_str("-BE"),
        }
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_kernels_header() {
        for (fourcc, number, name) in [
            (FourCc::MJPEG, 0x4750_4a4d, "MJPG"),
            (FourCc::JPEG, 0x4745_504a, "JPEG"),
            (FourCc::YUYV, 0x5659_5559, "YUYV"),
            (FourCc::NV12, 0x3231_564e, "NV12"),
            (FourCc::H264, 0x3436_3248, "H264"),
            (FourCc::HEVC, 0x4356_4548, "HEVC"),
        ] {
            assert_eq!((fourcc.0, fourcc.to_string().as_str()), (number, name));
        }
        // V4L2_PIX_FMT_Y16_BE, and one that a broken driver makes up.
        assert_eq!(FourCc(0xa036_3159).to_string(), "Y16 -BE");
        assert_eq!(FourCc(0x0041_4203).to_string(), "\\x03BA\\x00");
    }

    #[test]
    fn codecs_are_those_of_the_api() {
        let codec = |name| FourCc::from_name(name).unwrap().codec();
        assert_eq!(codec("MJPG"), Some(Codec::Mjpeg));
        assert_eq!(codec("HEVC"), Some(Codec::H265));
        assert_eq!(codec("YUYV"), Some(Codec::Yuyv));
        assert_eq!(codec("UYVY"), Some(Codec::Raw));
        assert_eq!(codec("Y16 -BE"), Some(Codec::Raw));
        assert_eq!(codec("VP80"), Some(Codec::Vp8));
        assert_eq!(codec("S263"), None);
    }

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_code(code in any::<u32>()) {
            let name = FourCc(code).to_string();
            if code.to_le_bytes().iter().take(3).all(|b| (b' '..=b'~').contains(b)) && (b' '..=b'~').contains(&((code >> 24) as u8 & 0x7f)) {
                prop_assert_eq!(FourCc::from_name(&name), Some(FourCc(code)));
            }
            prop_assert!(name.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }

        #[test]
        fn no_name_panics(name in ".{0,8}") {
            let _ = FourCc::from_name(&name).map(FourCc::codec);
        }
    }
}
