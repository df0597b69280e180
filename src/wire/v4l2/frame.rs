//! Is what a device delivered a picture? Its outline is looked at, its pixels are not.

use super::fourcc::Packing;
use super::{Buffer, PixelFormat};
use crate::model::Codec;
use crate::wire::jpeg;
use crate::wire::parameters::{ParameterSets, annex_b_units};

/// What a good picture told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameFacts {
    /// Pixels by the picture itself; the format's where it does not say.
    pub width: u32,
    pub height: u32,
    /// Frames per second that the stream announces.
    pub announced_fps: Option<f64>,
}

/// Judges the pictures of one stream, one after the other, until a good one comes.
#[derive(Debug, Clone)]
pub struct FrameCheck {
    format: PixelFormat,
    /// Of H.264 and H.265: may come before the key frame.
    sets: ParameterSets,
}

impl FrameCheck {
    pub fn new(format: PixelFormat) -> Self {
        let codec = format.fourcc.codec().unwrap_or(Codec::Raw);
        Self {
            format,
            sets: ParameterSets::new(codec),
        }
    }

    /// Takes one picture.
    ///
    /// * `bytes`: what the buffer holds; of an uncompressed picture only the length is used.
    ///
    /// # Errors
    /// Why it proves nothing, to be put behind "the last picture".
    pub fn judge(&mut self, buffer: &Buffer, bytes: &[u8]) -> Result<FrameFacts, &'static str> {
        if buffer.is_broken {
            return Err("lost a part on its way; check cable and hub");
        }
        if bytes.is_empty() {
            return Err("was empty");
        }
        let facts = FrameFacts {
            width: self.format.width,
            height: self.format.height,
            announced_fps: None,
        };
        match self.format.fourcc.packing() {
            Packing::Jpeg => jpeg_picture(facts, bytes),
            Packing::AnnexB(codec) => self.key_frame(codec, facts, bytes),
            Packing::Pixels { bits } => match bytes.len() as u64 >= self.least_bytes(bits) {
                true => Ok(facts),
                false => Err("was cut short; check cable and hub"),
            },
            Packing::Unknown => match bytes.len() as u64 >= u64::from(self.format.image_bytes) {
                true => Ok(facts),
                false => Err("was cut short; check cable and hub"),
            },
        }
    }

    /// Bytes of a whole picture, padding at the ends of lines left out.
    fn least_bytes(&self, bits: u32) -> u64 {
        let pixels = u64::from(self.format.width) * u64::from(self.format.height);
        pixels * u64::from(bits) / 8
    }

    fn key_frame(
        &mut self,
        codec: Codec,
        facts: FrameFacts,
        bytes: &[u8],
    ) -> Result<FrameFacts, &'static str> {
        if !begins_with_start_code(bytes) {
            return Err("was of another format than the device says");
        }
        let mut has_key_slice = false;
        for unit in annex_b_units(bytes) {
            let header = unit.first().copied().unwrap_or_default();
            has_key_slice |= match codec {
                Codec::H264 => header & 0x1f == 5,
                _ => matches!(header >> 1 & 0x3f, 16..=21),
            };
            self.sets.keep(unit);
        }
        if !has_key_slice {
            return Err("was no key frame; shorten the key frame interval");
        }
        if !self.sets.is_complete() {
            return Err("came without parameter sets");
        }
        Ok(self.sets.read().map_or(facts, |read| FrameFacts {
            width: read.width,
            height: read.height,
            announced_fps: read.fps,
        }))
    }
}

/// Other formats have bytes in them that look like one; none begins with one (H.264 annex B.1).
fn begins_with_start_code(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    zeros >= 2 && bytes.get(zeros) == Some(&1)
}

/// UVC leaves the Huffman tables out; the frame header is there all the same.
fn jpeg_picture(facts: FrameFacts, bytes: &[u8]) -> Result<FrameFacts, &'static str> {
    let picture = jpeg::facts(bytes).ok_or("was no JPEG")?;
    Ok(FrameFacts {
        width: picture.width.unwrap_or(facts.width),
        height: picture.height.unwrap_or(facts.height),
        ..facts
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::jpeg::fixtures;
    use crate::wire::v4l2::FourCc;
    use proptest::prelude::*;

    fn format(name: &str) -> PixelFormat {
        PixelFormat {
            width: 640,
            height: 480,
            fourcc: FourCc::from_name(name).unwrap(),
            line_bytes: 0,
            image_bytes: 1000,
        }
    }

    fn buffer(is_broken: bool) -> Buffer {
        Buffer {
            index: 0,
            used_bytes: 0,
            is_broken,
            timestamp_us: 0,
            sequence: 0,
            offset: 0,
            length: 0,
        }
    }

    fn judge(name: &str, bytes: &[u8]) -> Result<(u32, u32), &'static str> {
        let facts = FrameCheck::new(format(name)).judge(&buffer(false), bytes);
        facts.map(|f| (f.width, f.height))
    }

    #[test]
    fn a_jpeg_knows_its_size() {
        let picture = fixtures::picture(1920, 1080);
        assert_eq!(judge("MJPG", &picture), Ok((1920, 1080)));
        assert_eq!(judge("MJPG", &picture[..20]), Err("was no JPEG"));
        assert_eq!(judge("MJPG", b"\0\0\0"), Err("was no JPEG"));
        let mut check = FrameCheck::new(format("MJPG"));
        assert!(check.judge(&buffer(true), &picture).is_err());
    }

    #[test]
    fn pixels_have_their_length() {
        assert_eq!(judge("YUYV", &vec![0; 640 * 480 * 2]), Ok((640, 480)));
        assert!(judge("YUYV", &vec![0; 640 * 480 * 2 - 1]).is_err());
        assert_eq!(judge("NV12", &vec![0; 640 * 480 * 3 / 2]), Ok((640, 480)));
        assert_eq!(judge("NV12", &[]), Err("was empty"));
        assert!(judge("ABCD", &[0; 999]).is_err());
        assert!(judge("ABCD", &[0; 1000]).is_ok());
    }

    #[test]
    fn a_key_frame_needs_its_parameter_sets() {
        const SPS: &[u8] = &[
            0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10, 0x00, 0x00,
            0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x2a,
        ];
        const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
        let stream = |units: &[&[u8]]| -> Vec<u8> {
            let each = units.iter().flat_map(|u| [&[0, 0, 0, 1][..], u]);
            each.flatten().copied().collect()
        };
        let slice: &[u8] = &[0x65, 0x88, 1, 2];
        assert_eq!(judge("H264", &stream(&[SPS, PPS, slice])), Ok((1920, 1080)));
        assert_eq!(
            judge("H264", &stream(&[slice])),
            Err("came without parameter sets")
        );
        assert!(judge("H264", &stream(&[SPS, PPS, &[0x41, 0x9a, 1]])).is_err());
        // Huffman tables of a JPEG hold what looks like a key slice.
        let other = [&[0xff, 0xd8][..], &stream(&[SPS, PPS, slice])].concat();
        let fault = "was of another format than the device says";
        assert_eq!(judge("H264", &other), Err(fault));
        // The sets come in a buffer of their own.
        let mut check = FrameCheck::new(format("H264"));
        assert!(check.judge(&buffer(false), &stream(&[SPS, PPS])).is_err());
        let facts = check.judge(&buffer(false), &stream(&[slice])).unwrap();
        assert_eq!(facts.announced_fps, Some(25.0));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in prop::sample::select(vec!["MJPG", "H264", "HEVC", "YUYV", "ABCD"])) {
            let _ = judge(name, &bytes);
        }
    }
}
