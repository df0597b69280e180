//! Samples of containers (MP4, Matroska): one coded picture each, NAL units behind their lengths (ISO
//! 14496-15) instead of start codes. A sample is watched as its bytes come in; nothing of it is kept but
//! the beginning of a unit.

use super::jpeg::{JpegScanner, Progress};
use super::parameters::{ParameterSets, SET_BYTES_MAX};
use super::picture::PictureWatch;
use crate::model::Codec;

const KEPT_BYTES_MAX: usize = SET_BYTES_MAX + 1;

/// How a track's samples are coded: `avcC` and `hvcC` (ISO 14496-15 sections 5.3.3 and 8.3.3), which
/// Matroska keeps as `CodecPrivate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFormat {
    pub codec: Codec,
    pub sets: ParameterSets,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_bytes: usize,
}

impl SampleFormat {
    /// A codec without a configuration that matters here, or whose one did not come.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            sets: ParameterSets::new(codec),
            length_bytes: 4,
        }
    }

    /// Reads a decoder configuration record; what is missing of it is left out.
    pub fn read(codec: Codec, record: &[u8]) -> Self {
        let mut format = Self::new(codec);
        let _ = match codec {
            Codec::H264 => format.avcc(record),
            Codec::H265 => format.hvcc(record),
            _ => None,
        };
        format
    }

    fn avcc(&mut self, record: &[u8]) -> Option<()> {
        let (&[_version, _, _, _, lengths, sequences], rest) = record.split_first_chunk::<6>()?;
        self.length_bytes = usize::from(lengths & 3) + 1;
        let rest = self.units(rest, usize::from(sequences & 0x1f))?;
        let (pictures, rest) = rest.split_first()?;
        self.units(rest, usize::from(*pictures)).map(drop)
    }

    fn hvcc(&mut self, record: &[u8]) -> Option<()> {
        self.length_bytes = usize::from(record.get(21)? & 3) + 1;
        let arrays = *record.get(22)?;
        let mut rest = record.get(23..)?;
        for _ in 0..arrays {
            let (&[_kind, n0, n1], after) = rest.split_first_chunk::<3>()?;
            rest = self.units(after, usize::from(u16::from_be_bytes([n0, n1])))?;
        }
        Some(())
    }

    /// Takes `count` units behind lengths of two bytes; gives the rest.
    fn units<'a>(&mut self, mut bytes: &'a [u8], count: usize) -> Option<&'a [u8]> {
        for _ in 0..count {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            let (unit, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            self.sets.keep(unit);
            bytes = rest;
        }
        Some(bytes)
    }
}

/// Watches one sample after the other.
#[derive(Debug, Clone)]
pub struct SampleWatch {
    coding: Coding,
    has_key_frame: bool,
    jpeg_size: Option<(u32, u32)>,
}

#[derive(Debug, Clone)]
enum Coding {
    Units(Box<Units>),
    Jpeg(JpegScanner, Progress),
    /// Codecs whose samples are taken at the container's word.
    Opaque {
        bytes: u64,
    },
}

#[derive(Debug, Clone)]
struct Units {
    length_bytes: usize,
    pictures: PictureWatch,
    /// The length that comes now.
    length: Vec<u8>,
    /// Bytes of the unit that are still to come.
    left: u64,
    kept: Vec<u8>,
}

impl SampleWatch {
    pub fn new(format: SampleFormat) -> Self {
        let coding = match format.codec {
            Codec::H264 | Codec::H265 => Coding::Units(Box::new(Units {
                length_bytes: format.length_bytes,
                pictures: PictureWatch::new(format.codec, format.sets),
                length: Vec::new(),
                left: 0,
                kept: Vec::new(),
            })),
            Codec::Mjpeg => Coding::Jpeg(JpegScanner::new(), Progress::More),
            _ => Coding::Opaque { bytes: 0 },
        };
        Self {
            coding,
            has_key_frame: false,
            jpeg_size: None,
        }
    }

    /// A whole sample was a key frame that a decoder can start with.
    pub fn has_key_frame(&self) -> bool {
        self.has_key_frame
    }

    pub fn sets(&self) -> Option<&ParameterSets> {
        match &self.coding {
            Coding::Units(units) => Some(units.pictures.sets()),
            _ => None,
        }
    }

    /// Pixels by the picture itself, for JPEG.
    pub fn jpeg_size(&self) -> Option<(u32, u32)> {
        self.jpeg_size
    }

    /// Takes the next bytes of the sample that the container calls a key frame.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.coding {
            Coding::Units(units) => units.feed(bytes),
            Coding::Jpeg(scanner, progress) => *progress = scanner.feed(bytes).1,
            Coding::Opaque { bytes: seen } => *seen += bytes.len() as u64,
        }
    }

    /// The sample is over; `is_whole`: all of its bytes came.
    pub fn end(&mut self, is_whole: bool) {
        let is_key = match &mut self.coding {
            Coding::Units(units) => units.end(is_whole),
            Coding::Jpeg(scanner, progress) => {
                let facts = scanner.facts();
                self.jpeg_size = facts.width.zip(facts.height).or(self.jpeg_size);
                let is_picture = *progress == Progress::End;
                (*scanner, *progress) = (JpegScanner::new(), Progress::More);
                is_picture
            }
            Coding::Opaque { bytes } => is_whole && std::mem::take(bytes) > 0,
        };
        self.has_key_frame |= is_key;
    }
}

impl Units {
    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.length.push(*first);
                bytes = rest;
                if self.length.len() == self.length_bytes {
                    let length = self.length.drain(..);
                    self.left = length.fold(0, |sum, byte| sum << 8 | u64::from(byte));
                }
                continue;
            }
            let now = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (unit, rest) = bytes.split_at(now);
            let room = KEPT_BYTES_MAX - self.kept.len();
            self.kept
                .extend_from_slice(unit.get(..room).unwrap_or(unit));
            self.left -= now as u64;
            bytes = rest;
            if self.left == 0 {
                self.pictures.unit(&self.kept);
                self.kept.clear();
            }
        }
    }

    fn end(&mut self, is_whole: bool) -> bool {
        let is_whole = is_whole && self.left == 0 && self.length.is_empty();
        self.length.clear();
        self.kept.clear();
        self.left = 0;
        self.pictures.end(is_whole);
        self.pictures.has_key_frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10,
    ];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 0, 1];
    const P: &[u8] = &[0x41, 0x9a, 0x20, 0x11];

    fn avcc(length_bytes: u8) -> Vec<u8> {
        let mut record = vec![1, 0x42, 0xc0, 0x28, 0xfc | (length_bytes - 1), 0xe1];
        record.extend([0, SPS.len() as u8]);
        record.extend(SPS);
        record.extend([1, 0, PPS.len() as u8]);
        record.extend(PPS);
        record
    }

    fn sample(length_bytes: usize, units: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![];
        for unit in units {
            out.extend(&(unit.len() as u32).to_be_bytes()[4 - length_bytes..]);
            out.extend(*unit);
        }
        out
    }

    fn is_key(format: &SampleFormat, sample: &[u8], is_whole: bool) -> bool {
        let mut watch = SampleWatch::new(format.clone());
        watch.feed(sample);
        watch.end(is_whole);
        watch.has_key_frame()
    }

    #[test]
    fn the_configuration_has_the_parameter_sets() {
        for length_bytes in [1, 2, 4] {
            let format = SampleFormat::read(Codec::H264, &avcc(length_bytes));
            assert_eq!(format.length_bytes, usize::from(length_bytes));
            assert!(format.sets.is_complete());
            let idr = sample(format.length_bytes, &[&[6, 0], IDR]);
            assert!(is_key(&format, &idr, true));
            assert!(!is_key(&format, &idr, false));
            assert!(!is_key(&format, &idr[..idr.len() - 1], true));
            let inter = sample(format.length_bytes, &[P]);
            assert!(!is_key(&format, &inter, true));
        }
    }

    #[test]
    fn parameter_sets_inside_the_samples_count_too() {
        let format = SampleFormat::read(Codec::H264, &[1, 0x42, 0xc0, 0x28, 0xff, 0xe0, 0]);
        assert!(!is_key(&format, &sample(4, &[IDR]), true));
        assert!(is_key(&format, &sample(4, &[SPS, PPS, IDR]), true));
    }

    #[test]
    fn the_configuration_of_h265() {
        let mut record = vec![1; 21];
        record.extend([0xff, 3]);
        for (kind, unit) in [(32, [0x40, 1, 7]), (33, [0x42, 1, 7]), (34, [0x44, 1, 7])] {
            record.extend([kind, 0, 1, 0, 3]);
            record.extend(unit);
        }
        let format = SampleFormat::read(Codec::H265, &record);
        assert!(format.sets.is_complete());
        let idr = [0x26, 1, 0x80, 5];
        assert!(is_key(&format, &sample(4, &[&idr]), true));
    }

    #[test]
    fn pictures_and_codecs_at_the_containers_word() {
        let jpeg = crate::wire::jpeg::fixtures::picture(320, 240);
        let mut watch = SampleWatch::new(SampleFormat::new(Codec::Mjpeg));
        watch.feed(&jpeg[..10]);
        watch.feed(&jpeg[10..]);
        watch.end(true);
        assert_eq!(
            (watch.has_key_frame(), watch.jpeg_size()),
            (true, Some((320, 240)))
        );
        assert!(!is_key(&SampleFormat::new(Codec::Mjpeg), &jpeg[..20], true));
        let av1 = SampleFormat::new(Codec::Av1);
        assert!(is_key(&av1, &[1, 2], true) && !is_key(&av1, &[], true));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_cuts_change_nothing(
            record in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            bytes in proptest::collection::vec(0u8..8, 0..60),
            cut in 0usize..60,
            h264 in proptest::prelude::any::<bool>(),
        ) {
            let codec = if h264 { Codec::H264 } else { Codec::H265 };
            let format = SampleFormat::read(codec, &record);
            let (start, end) = bytes.split_at(cut.min(bytes.len()));
            let mut watch = SampleWatch::new(format.clone());
            watch.feed(start);
            watch.feed(end);
            watch.end(true);
            proptest::prop_assert_eq!(watch.has_key_frame(), is_key(&format, &bytes, true));
        }
    }
}
