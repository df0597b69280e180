//! What a file holds, and the picture that is on at a position.

use super::open::Fault;
use super::window::Window;
use crate::model::{Codec, ErrorCode, Evidence, MediaFacts};
use crate::wire::jpeg::{JpegScanner, Progress};
use crate::wire::mkv::{self, MkvError};
use crate::wire::mp4::{self, Mp4Error, Sample, Span};
use crate::wire::sample::{SampleFormat, SampleWatch};
use crate::wire::source::Source;
use crate::wire::ts::{self, TsError, TsWatch};

/// Enough for the tables and a key frame of a transport stream.
const TS_BYTES_MAX: u64 = 8 << 20;
/// The last timestamp of a transport stream lies in its last part of this size.
const TS_TAIL_BYTES: u64 = 2 << 20;
const JPEG_BYTES_MAX: u64 = 64 << 20;
/// Timestamps of a transport stream have 33 bits.
const TS_TURN: u64 = 1 << 33;

/// A file whose head was read.
pub(super) struct Recording {
    kind: Kind,
    /// By the container alone.
    pub facts: MediaFacts,
    /// Of one turn of the loop; `None` for a still picture and where it is not known.
    pub duration_ms: Option<u64>,
}

enum Kind {
    Mp4(Box<mp4::Track>),
    Mkv(Box<mkv::Track>),
    Ts,
    Jpeg,
}

/// What the picture at a position proves.
pub(super) struct Shown {
    pub facts: MediaFacts,
    /// Frames per second by timestamps.
    pub measured_fps: Option<f64>,
    pub evidence: Evidence,
}

impl Recording {
    /// Reads as much of the file as its description needs.
    ///
    /// # Errors
    /// `no_frame` for an empty file, `protocol` for one of another kind or without an index,
    /// `unsupported_codec` where it has no video that we check.
    pub fn read(file: &mut Window) -> Result<Self, Fault> {
        if file.size() == 0 {
            return Err((ErrorCode::NoFrame, "the file is empty".to_owned()));
        }
        let mut head = [0; 12];
        let known = file.size().min(12) as usize;
        let head = head.get_mut(..known).unwrap_or_default();
        if file.read(0, head).is_none() {
            return Err(refused(file, ErrorCode::NoFrame, "the file is cut off"));
        }
        match kind_of(head) {
            Some(Form::Mp4) => Self::mp4(file),
            Some(Form::Mkv) => Self::mkv(file),
            Some(Form::Ts) => Self::ts(file),
            Some(Form::Jpeg) => Ok(Self {
                kind: Kind::Jpeg,
                facts: MediaFacts {
                    codec: Some(Codec::Mjpeg),
                    ..MediaFacts::default()
                },
                duration_ms: None,
            }),
            None => Err((
                ErrorCode::Protocol,
                "the file is no MP4, Matroska, MPEG-TS or JPEG".to_owned(),
            )),
        }
    }

    fn mp4(file: &mut Window) -> Result<Self, Fault> {
        let all = Span {
            at: 0,
            bytes: file.size(),
        };
        let track = mp4::Track::read(file, all).map_err(|error| {
            let code = match error {
                Mp4Error::NoMovie => ErrorCode::Protocol,
                Mp4Error::NoVideo | Mp4Error::OtherVideo(_) => ErrorCode::UnsupportedCodec,
            };
            refused(file, code, &error.to_string())
        })?;
        let (duration_ms, fps) = track.measure(file);
        let facts = of_format(&track.format, track.width, track.height, fps);
        Ok(Self {
            kind: Kind::Mp4(Box::new(track)),
            facts,
            duration_ms,
        })
    }

    fn mkv(file: &mut Window) -> Result<Self, Fault> {
        let track = mkv::Track::read(file).map_err(|error| {
            let code = match error {
                MkvError::NoTracks => ErrorCode::Protocol,
                MkvError::NoVideo | MkvError::OtherVideo(_) => ErrorCode::UnsupportedCodec,
            };
            refused(file, code, &error.to_string())
        })?;
        let duration_ms = track.duration(file);
        let facts = of_format(&track.format, track.width, track.height, track.fps);
        Ok(Self {
            kind: Kind::Mkv(Box::new(track)),
            facts,
            duration_ms,
        })
    }

    fn ts(file: &mut Window) -> Result<Self, Fault> {
        let first = watch_ts(file, 0, TS_BYTES_MAX, |watch| watch.timestamp().is_some())?;
        let tail = file.size().saturating_sub(TS_TAIL_BYTES);
        let last = watch_ts(file, tail, TS_TAIL_BYTES, |_| false)?;
        let ticks = first.timestamp().zip(last.timestamp());
        let ticks = ticks.map(|(first, last)| last.wrapping_sub(first) % TS_TURN);
        Ok(Self {
            kind: Kind::Ts,
            facts: of_ts(&first),
            duration_ms: ticks
                .map(|t| t * 1000 / u64::from(ts::CLOCK_HZ))
                .filter(|ms| *ms > 0),
        })
    }

    /// Proves the key frame that is on at `position_ms` of the loop.
    ///
    /// # Errors
    /// `no_frame` where there is none, or only a part of it.
    pub fn shown(&self, file: &mut Window, position_ms: u64) -> Result<Shown, Fault> {
        match &self.kind {
            Kind::Mp4(track) => {
                let sample = track.key_sample(file, position_ms);
                let facts = self.prove(file, sample, &track.format, position_ms)?;
                Ok(Shown {
                    measured_fps: self.facts.fps,
                    facts,
                    evidence: Evidence::KeyFrame,
                })
            }
            Kind::Mkv(track) => {
                let found = track.key_sample(file, position_ms);
                let facts = self.prove(file, found.sample, &track.format, position_ms)?;
                Ok(Shown {
                    measured_fps: found.fps(),
                    facts,
                    evidence: Evidence::KeyFrame,
                })
            }
            Kind::Ts => self.ts_shown(file, position_ms),
            Kind::Jpeg => self.picture(file),
        }
    }

    fn prove(
        &self,
        file: &mut Window,
        sample: Option<Sample>,
        format: &SampleFormat,
        position_ms: u64,
    ) -> Result<MediaFacts, Fault> {
        let at = format!("at {:.1} s", position_ms as f64 / 1000.0);
        let Some(sample) = sample else {
            return Err(no_frame(file, &format!("the file has no key frame {at}")));
        };
        let mut watch = SampleWatch::new(format.clone());
        let is_whole = file.stream(sample.at, sample.bytes.into(), |piece| {
            watch.feed(piece);
            true
        });
        watch.end(is_whole);
        if !watch.has_key_frame() {
            let what = match is_whole {
                true => format!("what the file calls a key frame {at} is none"),
                false => format!("the key frame {at} is cut off"),
            };
            return Err(no_frame(file, &what));
        }
        let mut facts = self.facts;
        if let Some(read) = watch.sets().and_then(|sets| sets.read()) {
            (facts.width, facts.height) = (Some(read.width), Some(read.height));
        }
        if let Some((width, height)) = watch.jpeg_size() {
            (facts.width, facts.height) = (Some(width), Some(height));
        }
        Ok(facts)
    }

    /// A transport stream has no index: its bytes are taken to be evenly spread over its time, and the
    /// key frame that follows the place is on next; behind the last one the loop begins anew.
    fn ts_shown(&self, file: &mut Window, position_ms: u64) -> Result<Shown, Fault> {
        let from = self.duration_ms.map_or(0, |duration| {
            let at = u128::from(file.size()) * u128::from(position_ms) / u128::from(duration);
            u64::try_from(at).unwrap_or(0)
        });
        for at in [from, 0] {
            let full =
                |watch: &TsWatch| watch.has_key_frame() && watch.rate().is_full(ts::CLOCK_HZ);
            let watch = watch_ts(file, at, TS_BYTES_MAX, full)?;
            if watch.has_key_frame() {
                return Ok(Shown {
                    facts: of_ts(&watch),
                    measured_fps: watch.rate().fps(ts::CLOCK_HZ),
                    evidence: Evidence::KeyFrame,
                });
            }
        }
        Err(no_frame(file, "the file has no whole key frame"))
    }

    fn picture(&self, file: &mut Window) -> Result<Shown, Fault> {
        let mut scanner = JpegScanner::new();
        let mut progress = Progress::More;
        let count = file.size().min(JPEG_BYTES_MAX);
        file.stream(0, count, |piece| {
            progress = scanner.feed(piece).1;
            progress == Progress::More
        });
        let told = scanner.facts();
        match progress {
            Progress::End => Ok(Shown {
                facts: MediaFacts {
                    width: told.width,
                    height: told.height,
                    ..self.facts
                },
                measured_fps: None,
                evidence: Evidence::Picture,
            }),
            Progress::More => Err(no_frame(file, "the picture is cut off")),
            Progress::Broken(why) => Err(no_frame(file, &format!("the picture is no JPEG: {why}"))),
        }
    }
}

enum Form {
    Mp4,
    Mkv,
    Ts,
    Jpeg,
}

fn kind_of(head: &[u8]) -> Option<Form> {
    const BOXES: [&[u8; 4]; 7] = [
        b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp",
    ];
    let kind = head.get(4..8).unwrap_or_default();
    if BOXES.iter().any(|known| kind == *known) {
        return Some(Form::Mp4);
    }
    match head {
        [0xff, 0xd8, 0xff, ..] => Some(Form::Jpeg),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Form::Mkv),
        // M2TS has a time code in front of each packet.
        [0x47, ..] | [_, _, _, _, 0x47, ..] => Some(Form::Ts),
        _ => None,
    }
}

fn watch_ts(
    file: &mut Window,
    at: u64,
    bytes_max: u64,
    is_enough: impl Fn(&TsWatch) -> bool,
) -> Result<TsWatch, Fault> {
    let mut watch = TsWatch::new();
    let mut error = None;
    let count = file.size().saturating_sub(at).min(bytes_max);
    let is_end = file.stream(at, count, |piece| {
        error = watch.feed(piece).err();
        error.is_none() && !is_enough(&watch)
    });
    if let Some(error) = error {
        let code = match error {
            TsError::NoPackets => ErrorCode::Protocol,
            _ => ErrorCode::UnsupportedCodec,
        };
        return Err(refused(file, code, &format!("the file is {error}")));
    }
    // Only the file's own end is the end of a picture.
    if is_end && at + count == file.size() {
        watch.finish();
    }
    Ok(watch)
}

fn of_ts(watch: &TsWatch) -> MediaFacts {
    let read = watch.sets().and_then(|sets| sets.read());
    MediaFacts {
        codec: watch.codec(),
        width: read.map(|r| r.width),
        height: read.map(|r| r.height),
        fps: read.and_then(|r| r.fps),
        announced_fps: None,
    }
}

fn of_format(format: &SampleFormat, width: u32, height: u32, fps: Option<f64>) -> MediaFacts {
    let read = format.sets.read();
    let side = |container: u32| Some(container).filter(|side| *side > 0);
    MediaFacts {
        codec: Some(format.codec),
        width: read.map(|r| r.width).or(side(width)),
        height: read.map(|r| r.height).or(side(height)),
        fps: fps.or(read.and_then(|r| r.fps)),
        announced_fps: None,
    }
}

fn no_frame(file: &mut Window, what: &str) -> Fault {
    refused(file, ErrorCode::NoFrame, what)
}

/// What is wrong with the file, unless it could not be read.
fn refused(file: &mut Window, code: ErrorCode, what: &str) -> Fault {
    match file.take_fault() {
        Some(error) if error.kind() == std::io::ErrorKind::TimedOut => (
            ErrorCode::Timeout,
            "the file could not be read in time".to_owned(),
        ),
        Some(error) => {
            let text = format!("the file cannot be read: {error}");
            (ErrorCode::Unreachable, text)
        }
        None => (code, what.to_owned()),
    }
}
