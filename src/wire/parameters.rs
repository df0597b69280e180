//! Parameter sets of H.264 and H.265: from SDP or in-band, to size and frame rate (H.264 section
//! 7.3.2, H.265 section 7.3.2). The bits are read by `retina`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use retina::codec::{Depacketizer, ParametersRef};

use super::sdp::plausible_fps;
use crate::model::Codec;

/// A longer set is not kept.
pub const SET_BYTES_MAX: usize = 4096;

/// Padding or none, and stray bits at the end: cameras write all of it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Zero bits with the emulation prevention of H.264 section 7.4.1, and a stop bit: what a truncated
/// set is continued with, so that the flags that are missing read as "not present".
const CONTINUATION: [u8; 17] = [0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0x80];
/// Any valid H.264 PPS: size and rate stand in the SPS.
const H264_PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// Which parameter set a NAL unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Video,
    Sequence,
    Picture,
}

/// Size and frame rate by a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoParameters {
    /// Pixels, after cropping.
    pub width: u32,
    pub height: u32,
    /// Frames per second as announced (VUI), rounded to 0.1.
    pub fps: Option<f64>,
}

/// The newest parameter sets of one stream, each at most [`SET_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSets {
    codec: Codec,
    video: Vec<u8>,
    sequence: Vec<u8>,
    picture: Vec<u8>,
}

impl ParameterSets {
    /// None known yet. Codecs other than H.264 and H.265 need none.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            video: Vec::new(),
            sequence: Vec::new(),
            picture: Vec::new(),
        }
    }

    /// The sets of an SDP's `a=fmtp` (RFC 6184 section 8.1, RFC 7798 section 7.1). What cannot be
    /// read is left out.
    pub fn from_format(codec: Codec, format: &str) -> Self {
        let mut sets = Self::new(codec);
        for parameter in format.split(';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let is_set = match codec {
                Codec::H264 => name.trim() == "sprop-parameter-sets",
                Codec::H265 => {
                    matches!(name.trim(), "sprop-vps" | "sprop-sps" | "sprop-pps")
                }
                _ => false,
            };
            if !is_set {
                continue;
            }
            for text in value.split(',') {
                let text = text.trim().trim_matches('"');
                if let Ok(nal) = BASE64.decode(text) {
                    annex_b_units(&nal).for_each(|nal| sets.keep(nal));
                }
            }
        }
        sets
    }

    /// Takes a NAL unit if it is a parameter set; the newest of each kind is kept.
    pub fn keep(&mut self, nal: &[u8]) {
        let nal = trim_zeros(nal);
        let Some(set) = self.kind(nal).filter(|_| nal.len() <= SET_BYTES_MAX) else {
            return;
        };
        let slot = match set {
            Set::Video => &mut self.video,
            Set::Sequence => &mut self.sequence,
            Set::Picture => &mut self.picture,
        };
        if slot != nal {
            slot.clear();
            slot.extend_from_slice(nal);
        }
    }

    /// True when a decoder could start.
    pub fn is_complete(&self) -> bool {
        let has_both = !self.sequence.is_empty() && !self.picture.is_empty();
        match self.codec {
            Codec::H264 => has_both,
            Codec::H265 => has_both && !self.video.is_empty(),
            _ => true,
        }
    }

    /// Size and frame rate; `None` while they are unknown or when the sets cannot be read.
    pub fn read(&self) -> Option<VideoParameters> {
        if self.sequence.is_empty() {
            return None;
        }
        self.read_sequence(&self.sequence).or_else(|| {
            let continued = [&self.sequence, CONTINUATION.as_slice()].concat();
            let parameters = self.read_sequence(&continued)?;
            // The rate stood in what is missing, at least in part.
            Some(VideoParameters {
                fps: None,
                ..parameters
            })
        })
    }

    fn read_sequence(&self, sequence: &[u8]) -> Option<VideoParameters> {
        let encode = |nal: &[u8]| BASE64.encode(nal);
        let (name, format) = match self.codec {
            Codec::H264 => {
                let picture = match self.picture.as_slice() {
                    [] => H264_PPS,
                    picture => picture,
                };
                let (sequence, picture) = (encode(sequence), encode(picture));
                ("h264", format!("sprop-parameter-sets={sequence},{picture}"))
            }
            Codec::H265 => {
                let (video, picture) = (encode(&self.video), encode(&self.picture));
                let sequence = encode(sequence);
                let format = format!("sprop-vps={video};sprop-sps={sequence};sprop-pps={picture}");
                ("h265", format)
            }
            _ => return None,
        };
        let parser = Depacketizer::new("video", name, 90_000, None, Some(&format)).ok()?;
        let Some(ParametersRef::Video(parameters)) = parser.parameters() else {
            return None;
        };
        let (width, height) = parameters.pixel_dimensions();
        let fps = parameters
            .frame_rate()
            .filter(|(duration, _)| *duration > 0)
            .and_then(|(duration, scale)| plausible_fps(f64::from(scale) / f64::from(duration)));
        (width > 0 && height > 0).then_some(VideoParameters { width, height, fps })
    }

    fn kind(&self, nal: &[u8]) -> Option<Set> {
        let header = *nal.first()?;
        match (self.codec, header & 0x1f, header >> 1 & 0x3f) {
            (Codec::H264, 7, _) | (Codec::H265, _, 33) => Some(Set::Sequence),
            (Codec::H264, 8, _) | (Codec::H265, _, 34) => Some(Set::Picture),
            (Codec::H265, _, 32) => Some(Set::Video),
            _ => None,
        }
    }
}

/// The NAL units between Annex B start codes (H.264 annex B); all of it when there is none. The
/// zeros of start codes stay at the ends of units: [`ParameterSets::keep`] drops them.
pub fn annex_b_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let here = rest?;
        let code = here.windows(3).position(|w| w == [0, 0, 1]);
        let (unit, after) = match code {
            Some(at) => (here.get(..at)?, here.get(at + 3..)),
            None => (here, None),
        };
        rest = after;
        Some(unit)
    })
    .filter(|unit| !trim_zeros(unit).is_empty())
}

fn trim_zeros(mut nal: &[u8]) -> &[u8] {
    while let [before @ .., 0] = nal {
        nal = before;
    }
    nal
}

#[cfg(test)]
mod tests {
    use super::*;

    const H264_1080: &str = "6742c028da01e0089f97011000000300100000030320f1832a";
    const H264_1440: &str = "67640032acd9402800b5b0110000030001000003001e0f183196";
    const H265_1080: &str =
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84";
    const H265_2160: &str =
        "420101016000000300900000030000030096a001e020021c5965654a4c2f016808000003000800000300a040";
    /// Of another encoder; size and rate do not depend on them.
    const H265_VPS: &str = "QAEMAf//AWAAAAMAkAAAAwAAAwA/LAwAAgAAAwAoAAIAAgACgA==";
    const H265_PPS: &str = "RAHA8vAzJA==";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    fn h264(sequence: &[u8]) -> ParameterSets {
        let mut sets = ParameterSets::new(Codec::H264);
        sets.keep(sequence);
        sets.keep(H264_PPS);
        sets
    }

    fn h265(sequence: &[u8]) -> ParameterSets {
        let mut sets = ParameterSets::new(Codec::H265);
        sets.keep(&BASE64.decode(H265_VPS).unwrap());
        sets.keep(sequence);
        sets.keep(&BASE64.decode(H265_PPS).unwrap());
        sets
    }

    fn parameters(width: u32, height: u32, fps: f64) -> Option<VideoParameters> {
        Some(VideoParameters {
            width,
            height,
            fps: Some(fps),
        })
    }

    #[test]
    fn size_after_cropping_and_rate() {
        assert_eq!(h264(&bytes(H264_1080)).read(), parameters(1920, 1080, 25.0));
        assert_eq!(h264(&bytes(H264_1440)).read(), parameters(2560, 1440, 15.0));
        assert_eq!(h265(&bytes(H265_1080)).read(), parameters(1920, 1080, 25.0));
        assert_eq!(h265(&bytes(H265_2160)).read(), parameters(3840, 2160, 20.0));
    }

    #[test]
    fn reads_sets_of_a_description() {
        let sequence = BASE64.encode(bytes(H264_1080));
        let picture = BASE64.encode(H264_PPS);
        for format in [
            format!("packetization-mode=1;sprop-parameter-sets={sequence},{picture}"),
            format!(" sprop-parameter-sets = {sequence} , {picture} ; x"),
            format!(
                "sprop-parameter-sets={},{picture}",
                sequence.trim_end_matches('=')
            ),
            format!("sprop-parameter-sets={sequence}"),
        ] {
            let sets = ParameterSets::from_format(Codec::H264, &format);
            assert_eq!(sets.read(), parameters(1920, 1080, 25.0), "{format}");
        }
        let sequence = BASE64.encode(bytes(H265_1080));
        let format = format!("sprop-vps={H265_VPS}; sprop-sps={sequence};sprop-pps={H265_PPS}");
        let sets = ParameterSets::from_format(Codec::H265, &format);
        assert!(sets.is_complete());
        assert_eq!(sets.read(), parameters(1920, 1080, 25.0));
    }

    #[test]
    fn start_codes_inside_base64_are_stripped() {
        let nal = [
            &[0, 0, 0, 1],
            bytes(H264_1080).as_slice(),
            &[0, 0, 0, 1],
            H264_PPS,
        ]
        .concat();
        let format = format!("sprop-parameter-sets={}", BASE64.encode(nal));
        let sets = ParameterSets::from_format(Codec::H264, &format);
        assert!(sets.is_complete());
        assert_eq!(sets.read(), parameters(1920, 1080, 25.0));
    }

    #[test]
    fn junk_behind_the_set_is_ignored() {
        let mut junk = bytes(H264_1440);
        junk.extend_from_slice(&[0x80, 0x41, 0x9a]);
        assert_eq!(h264(&junk).read(), parameters(2560, 1440, 15.0));
    }

    #[test]
    fn a_truncated_vui_still_gives_the_size() {
        let mut sequence = bytes(H264_1440);
        sequence.truncate(13);
        let read = h264(&sequence).read().unwrap();
        assert_eq!((read.width, read.height, read.fps), (2560, 1440, None));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        for format in ["", "sprop-parameter-sets=", "sprop-parameter-sets=%%%,A"] {
            let sets = ParameterSets::from_format(Codec::H264, format);
            assert!(!sets.is_complete());
            assert_eq!(sets.read(), None);
        }
        assert_eq!(h264(&[0x67]).read(), None);
        assert_eq!(h264(&[0x67, 0xff, 0xff, 0xff]).read(), None);
        assert!(ParameterSets::new(Codec::Mjpeg).is_complete());
    }

    #[test]
    fn overlong_sets_are_not_kept() {
        let mut long = bytes(H264_1080);
        long.resize(SET_BYTES_MAX + 1, 1);
        assert!(!h264(&long).is_complete());
    }

    proptest::proptest! {
        #[test]
        fn no_set_panics(codec in 0..2, tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), cut in 0usize..40) {
            let (base, build): (&str, fn(&[u8]) -> ParameterSets) =
                if codec == 0 { (H264_1440, h264) } else { (H265_1080, h265) };
            let mut sequence = bytes(base);
            sequence.truncate(cut.max(2));
            sequence.extend(tail);
            build(&sequence).read();
        }
    }
}
