//! Movie fragments (ISO 14496-12 section 8.8): in files that are written as they are recorded, and as
//! the segments of HLS, where they are watched as their bytes come in.

use super::{Box, Mp4Error, Sample, Span, Track};
use crate::model::Codec;
use crate::wire::parameters::ParameterSets;
use crate::wire::rate::TimestampRate;
use crate::wire::sample::SampleWatch;
use crate::wire::source::{Source, array};

/// A `moof` or `moov` of a segment is not longer.
const INDEX_BYTES_MAX: u64 = 256 << 10;
/// Samples of one fragment that are looked at.
const SAMPLES_MAX: u32 = 100_000;
/// In sample flags: needs other samples (section 8.8.3.1).
const IS_NO_SYNC: u32 = 0x0001_0000;

/// What samples have that say nothing of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    /// `trex` of this track among the boxes of `mvex` (section 8.8.3).
    pub fn read(source: &mut dyn Source, extends: Span, track: u32) -> Self {
        let mut found = Self::default();
        Box::walk(source, extends, &mut |source, inner| {
            let Some(bytes) = (inner.kind == *b"trex").then(|| array::<24>(source, inner.body.at))
            else {
                return true;
            };
            let Some(bytes) = bytes else { return false };
            let (numbers, _) = bytes.as_chunks::<4>();
            let number = |at: usize| numbers.get(at).map_or(0, |b| u32::from_be_bytes(*b));
            let is_ours = number(1) == track;
            if is_ours {
                found = Self {
                    duration: number(3),
                    size: number(4),
                    flags: number(5),
                };
            }
            !is_ours
        });
        found
    }
}

/// The samples of one track in one fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fragment {
    /// Decoding time of its first sample, ticks, where it says so.
    pub start_ticks: Option<u64>,
    pub duration_ticks: u64,
    pub samples: u64,
    /// Its first key frame.
    pub key_sample: Option<Sample>,
}

impl Fragment {
    pub fn end_ticks(&self) -> u64 {
        let start = self.start_ticks.unwrap_or(0);
        start.saturating_add(self.duration_ticks)
    }

    /// Reads the `moof`; `None` where it holds nothing of this track.
    pub fn read(source: &mut dyn Source, moof: Box, track: &Track) -> Option<Self> {
        let mut fragment = None;
        Box::walk(source, moof.body, &mut |source, inner| {
            if inner.kind == *b"traf" {
                fragment = Self::of_track(source, moof.start, inner.body, track);
            }
            fragment.is_none()
        });
        fragment
    }

    fn of_track(source: &mut dyn Source, moof_at: u64, traf: Span, track: &Track) -> Option<Self> {
        let header = Box::find(source, traf, b"tfhd")?;
        let mut reader = Numbers::new(source, header);
        let flags = reader.u32()? & 0x00ff_ffff;
        if reader.u32()? != track.id {
            return None;
        }
        let base = match flags & 1 != 0 {
            true => reader.u64()?,
            false => moof_at,
        };
        let _description = (flags & 2 != 0).then(|| reader.u32());
        let mut defaults = track.defaults;
        for (bit, field) in [
            (0x08, &mut defaults.duration),
            (0x10, &mut defaults.size),
            (0x20, &mut defaults.flags),
        ] {
            if flags & bit != 0 {
                *field = reader.u32()?;
            }
        }
        let mut fragment = Self {
            start_ticks: decode_time(source, traf),
            ..Self::default()
        };
        let mut at = base;
        Box::walk(source, traf, &mut |source, inner| {
            inner.kind != *b"trun"
                || fragment
                    .run(source, inner.body, base, &mut at, defaults)
                    .is_some()
        });
        Some(fragment)
    }

    /// One run of samples (`trun`, section 8.8.8).
    fn run(
        &mut self,
        source: &mut dyn Source,
        run: Span,
        base: u64,
        at: &mut u64,
        defaults: Defaults,
    ) -> Option<()> {
        let mut reader = Numbers::new(source, run);
        let flags = reader.u32()? & 0x00ff_ffff;
        let count = reader.u32()?.min(SAMPLES_MAX);
        if flags & 1 != 0 {
            *at = base.checked_add_signed(i64::from(reader.u32()?.cast_signed()))?;
        }
        let mut first_flags = match flags & 4 != 0 {
            true => Some(reader.u32()?),
            false => None,
        };
        for _ in 0..count {
            let mut sample = defaults;
            for (bit, field) in [
                (0x100, &mut sample.duration),
                (0x200, &mut sample.size),
                (0x400, &mut sample.flags),
            ] {
                if flags & bit != 0 {
                    *field = reader.u32()?;
                }
            }
            if flags & 0x800 != 0 {
                reader.u32()?;
            }
            let sample_flags = first_flags.take().unwrap_or(sample.flags);
            if sample_flags & IS_NO_SYNC == 0 && sample.size > 0 {
                let bytes = sample.size;
                self.key_sample.get_or_insert(Sample { at: *at, bytes });
            }
            *at = at.checked_add(sample.size.into())?;
            self.duration_ticks = self.duration_ticks.saturating_add(sample.duration.into());
            self.samples += 1;
        }
        Some(())
    }
}

/// `tfdt` (section 8.8.12).
fn decode_time(source: &mut dyn Source, traf: Span) -> Option<u64> {
    let body = Box::find(source, traf, b"tfdt")?;
    let mut reader = Numbers::new(source, body);
    match reader.u32()? >> 24 {
        1 => reader.u64(),
        _ => reader.u32().map(u64::from),
    }
}

/// Big-endian numbers one after the other.
struct Numbers<'s> {
    source: &'s mut dyn Source,
    at: u64,
    end: u64,
}

impl<'s> Numbers<'s> {
    fn new(source: &'s mut dyn Source, span: Span) -> Self {
        Self {
            source,
            at: span.at,
            end: span.end(),
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let after = self
            .at
            .checked_add(N as u64)
            .filter(|after| *after <= self.end)?;
        let bytes = array(self.source, self.at)?;
        self.at = after;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// Watches the fragments of a segment as they come in, until a key frame is whole.
#[derive(Debug, Default)]
pub struct FragmentWatch {
    track: Option<Track>,
    samples: Option<SampleWatch>,
    /// Where in the segment the next byte lies.
    position: u64,
    state: State,
    key_sample: Option<Sample>,
    rate: TimestampRate,
}

#[derive(Debug)]
enum State {
    /// The header of a box.
    Head(Vec<u8>),
    /// A box that is read whole.
    Index(Vec<u8>, u64),
    /// The rest of a box that is not: its end in the segment.
    Body(u64),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// Why a segment cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    #[error("something that is no MP4 segment")]
    NoBoxes,
    #[error("an MP4 segment with an index of more than {INDEX_BYTES_MAX} bytes")]
    TooLong,
    #[error("an MP4 segment before its initialisation")]
    NoInitialisation,
    #[error("an MP4 segment that cannot be watched: {0}")]
    Movie(#[from] Mp4Error),
}

impl FragmentWatch {
    pub fn new() -> Self {
        Self::default()
    }

    /// The initialisation (`EXT-X-MAP`) was fed; the next bytes are a segment's first.
    pub fn begin_segment(&mut self) {
        self.position = 0;
        self.state = State::default();
        self.key_sample = None;
    }

    fn initialise(&mut self, mut boxes: &[u8]) -> Result<(), FragmentError> {
        let span = Span {
            at: 0,
            bytes: boxes.len() as u64,
        };
        let track = Track::read(&mut boxes, span)?;
        self.samples = Some(SampleWatch::new(track.format.clone()));
        self.track = Some(track);
        Ok(())
    }

    pub fn codec(&self) -> Option<Codec> {
        self.track.as_ref().map(|track| track.format.codec)
    }

    /// Pixels as the initialisation says.
    pub fn size(&self) -> Option<(u32, u32)> {
        let track = self.track.as_ref()?;
        (track.width > 0 && track.height > 0).then_some((track.width, track.height))
    }

    pub fn sets(&self) -> Option<&ParameterSets> {
        self.samples.as_ref()?.sets()
    }

    pub fn has_key_frame(&self) -> bool {
        self.samples
            .as_ref()
            .is_some_and(SampleWatch::has_key_frame)
    }

    /// The rate by the durations of the samples, and its ticks per second.
    pub fn rate(&self) -> (TimestampRate, u32) {
        let ticks_per_s = self.track.as_ref().map_or(1, |track| track.ticks_per_s);
        (self.rate, ticks_per_s)
    }

    /// Takes the next bytes of the segment.
    ///
    /// # Errors
    /// [`FragmentError`], as soon as it is clear.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), FragmentError> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Head(head) => {
                    let wanted = if head.starts_with(&[0, 0, 0, 1]) {
                        16
                    } else {
                        8
                    };
                    let used = bytes.len().min(wanted - head.len());
                    head.extend_from_slice(bytes.get(..used).unwrap_or_default());
                    used
                }
                State::Index(content, size) => {
                    let left = size.saturating_sub(content.len() as u64);
                    let used = bytes.len().min(left as usize);
                    content.extend_from_slice(bytes.get(..used).unwrap_or_default());
                    used
                }
                State::Body(end) => {
                    let left = end.saturating_sub(self.position);
                    let used = usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()));
                    let end = *end;
                    self.media(bytes.get(..used).unwrap_or_default());
                    self.position += used as u64;
                    if self.position >= end {
                        self.state = State::default();
                    }
                    bytes = bytes.get(used..).unwrap_or_default();
                    continue;
                }
            };
            self.position += used as u64;
            bytes = bytes.get(used..).unwrap_or_default();
            self.advance()?;
        }
        Ok(())
    }

    /// A header or an index may be whole now.
    fn advance(&mut self) -> Result<(), FragmentError> {
        match &self.state {
            State::Head(head) if head.len() >= 8 => {
                let is_long = head.starts_with(&[0, 0, 0, 1]);
                if is_long && head.len() < 16 {
                    return Ok(());
                }
                self.begin_box()
            }
            State::Index(content, size) if content.len() as u64 >= *size => self.end_index(),
            _ => Ok(()),
        }
    }

    fn begin_box(&mut self) -> Result<(), FragmentError> {
        let State::Head(head) = std::mem::take(&mut self.state) else {
            return Ok(());
        };
        let start = self.position - head.len() as u64;
        // How far the box reaches, beyond what is here already.
        let sized = |head: &[u8]| {
            let mut source = Unbounded(head);
            Box::read(&mut source, 0, u64::MAX >> 1)
        };
        let found = sized(&head).filter(|found| {
            found
                .kind
                .iter()
                .all(|b| b.is_ascii_graphic() || *b == b' ')
        });
        let found = found.ok_or(FragmentError::NoBoxes)?;
        let end = start.saturating_add(found.body.end());
        match &found.kind {
            b"moof" | b"moov" if found.body.end() > INDEX_BYTES_MAX => Err(FragmentError::TooLong),
            b"moof" | b"moov" => {
                self.state = State::Index(head, found.body.end());
                self.advance()
            }
            _ if end > self.position => {
                self.state = State::Body(end);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_index(&mut self) -> Result<(), FragmentError> {
        let State::Index(content, _) = std::mem::take(&mut self.state) else {
            return Ok(());
        };
        let bytes = content.len() as u64;
        let mut source = content.as_slice();
        let Some(found) = Box::read(&mut source, 0, bytes) else {
            return Err(FragmentError::NoBoxes);
        };
        if found.kind == *b"moov" {
            return self.initialise(&content);
        }
        let track = self.track.as_ref().ok_or(FragmentError::NoInitialisation)?;
        let moof_at = self.position - content.len() as u64;
        let here = Box {
            start: moof_at,
            ..found
        };
        let Some(fragment) = Fragment::read(&mut source, here, track) else {
            return Ok(());
        };
        self.count(&fragment);
        if !self.has_key_frame() {
            self.key_sample = fragment.key_sample;
        }
        Ok(())
    }

    /// Counts the fragment's samples as evenly spread: their mean is what a rate is.
    fn count(&mut self, fragment: &Fragment) {
        let (Some(track), Some(step)) = (
            &self.track,
            fragment.duration_ticks.checked_div(fragment.samples),
        ) else {
            return;
        };
        let start = fragment.start_ticks.unwrap_or(0);
        for n in 0..fragment.samples {
            let at = start.saturating_add(n.saturating_mul(step));
            self.rate.frame(at, track.ticks_per_s);
        }
    }

    /// Bytes of a box of media: what belongs to the key frame is watched.
    fn media(&mut self, bytes: &[u8]) {
        let (Some(sample), Some(samples)) = (self.key_sample, &mut self.samples) else {
            return;
        };
        let end = sample.at.saturating_add(sample.bytes.into());
        let from = sample.at.saturating_sub(self.position);
        let to = end.saturating_sub(self.position).min(bytes.len() as u64);
        if let Some(part) = bytes.get(from as usize..to as usize) {
            samples.feed(part);
        }
        if end <= self.position.saturating_add(bytes.len() as u64) {
            samples.end(end > sample.at);
            self.key_sample = None;
        }
    }
}

/// A header alone: what it announces lies behind it.
struct Unbounded<'a>(&'a [u8]);

impl Source for Unbounded<'_> {
    fn size(&self) -> u64 {
        u64::MAX >> 1
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Option<()> {
        self.0.read(at, into)
    }
}

#[cfg(test)]
mod tests;
