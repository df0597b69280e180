//! MP4 and QuickTime files and fragments (ISO 14496-12), far enough for the first video track: codec,
//! size, duration, rate, and where its key frames lie. Boxes are read where they stand; tables are read
//! piece by piece, so a recording of any length costs the same memory.

pub mod fragment;
mod tables;

use super::sample::SampleFormat;
use super::source::{Source, array, bytes};
use crate::model::Codec;

pub use tables::{Sample, Span};

/// Boxes of one level that are looked at.
const BOXES_MAX: u32 = 4096;
/// A sample description is not longer.
const DESCRIPTION_BYTES_MAX: u64 = 64 << 10;
/// A file of so many fragments is not walked further: a day of one second each.
const FRAGMENTS_MAX: u32 = 100_000;

/// Why there is nothing to watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mp4Error {
    /// Recordings that were cut off have no index.
    #[error("its index (moov) is missing: the recording was cut off before it was closed")]
    NoMovie,
    #[error("it has no video track")]
    NoVideo,
    /// A sample entry of a codec that has no name here, or of encrypted video (`encv`).
    #[error("its video of type {0} cannot be checked")]
    OtherVideo(String),
}

/// One box: its type, and where its content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Box {
    pub kind: [u8; 4],
    /// First byte of its header.
    pub start: u64,
    pub body: Span,
}

impl Box {
    /// The box at this place; `None` where none fits in before `end`.
    pub fn read(source: &mut dyn Source, start: u64, end: u64) -> Option<Box> {
        let [s0, s1, s2, s3, kind @ ..] = array::<8>(source, start)?;
        let (header_bytes, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (8, end.checked_sub(start)?),
            1 => (16, u64::from_be_bytes(array(source, start + 8)?)),
            size => (8, u64::from(size)),
        };
        let after = start.checked_add(size)?;
        let body = Span {
            at: start + header_bytes,
            bytes: size.checked_sub(header_bytes)?,
        };
        (after <= end).then_some(Box { kind, start, body })
    }

    /// Calls `visit` with each box inside `span`, until it says false.
    fn walk(
        source: &mut dyn Source,
        span: Span,
        visit: &mut dyn FnMut(&mut dyn Source, Box) -> bool,
    ) {
        let mut at = span.at;
        for _ in 0..BOXES_MAX {
            let Some(found) = Box::read(source, at, span.end()) else {
                return;
            };
            if !visit(source, found) {
                return;
            }
            at = found.body.end();
        }
    }

    /// The first box of this type inside `span`.
    fn find(source: &mut dyn Source, span: Span, kind: &[u8; 4]) -> Option<Span> {
        let mut found = None;
        Self::walk(source, span, &mut |_, inner| {
            found = (inner.kind == *kind).then_some(inner.body);
            found.is_none()
        });
        found
    }

    fn path(source: &mut dyn Source, span: Span, path: &[&[u8; 4]]) -> Option<Span> {
        path.iter()
            .try_fold(span, |span, kind| Self::find(source, span, kind))
    }
}

/// The first video track of a movie.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub id: u32,
    /// Ticks of its times; at least 1.
    pub ticks_per_s: u32,
    /// Its own duration in ticks; 0 for fragments.
    pub duration_ticks: u64,
    pub format: SampleFormat,
    /// Pixels, as the sample description says.
    pub width: u32,
    pub height: u32,
    tables: tables::Tables,
    /// Defaults of fragments (`trex`).
    defaults: fragment::Defaults,
    is_fragmented: bool,
}

impl Track {
    /// Reads the `moov` among the boxes of `span`.
    ///
    /// # Errors
    /// Any [`Mp4Error`].
    pub fn read(source: &mut dyn Source, span: Span) -> Result<Track, Mp4Error> {
        let movie = Box::find(source, span, b"moov").ok_or(Mp4Error::NoMovie)?;
        let mut track = Err(Mp4Error::NoVideo);
        Box::walk(source, movie, &mut |source, inner| {
            if inner.kind == *b"trak"
                && let Some(found) = video_track(source, inner.body)
            {
                track = found;
            }
            track.is_err()
        });
        let mut track = track?;
        Box::walk(source, movie, &mut |source, inner| {
            if inner.kind == *b"mvex" {
                track.is_fragmented = true;
                track.defaults = fragment::Defaults::read(source, inner.body, track.id);
            }
            true
        });
        Ok(track)
    }

    /// Milliseconds of `ticks`.
    pub fn ms(&self, ticks: u64) -> u64 {
        let ms = u128::from(ticks) * 1000 / u128::from(self.ticks_per_s.max(1));
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    fn ticks(&self, ms: u64) -> u64 {
        let ticks = u128::from(ms) * u128::from(self.ticks_per_s) / 1000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Duration in ms and frames per second of the whole file.
    pub fn measure(&self, source: &mut dyn Source) -> (Option<u64>, Option<f64>) {
        let (frames, ticks) = match self.is_fragmented {
            true => {
                let mut sum = (0, 0);
                self.fragments(source, &mut |_, fragment| {
                    sum = (sum.0 + fragment.samples, fragment.end_ticks().max(sum.1));
                    true
                });
                sum
            }
            false => self.tables.count(source),
        };
        let duration = Some(ticks.max(self.duration_ticks)).filter(|ticks| *ticks > 0);
        let seconds = ticks as f64 / f64::from(self.ticks_per_s.max(1));
        let fps = (frames > 1 && ticks > 0).then(|| frames as f64 / seconds);
        (
            duration.map(|ticks| self.ms(ticks)),
            fps.and_then(super::sdp::plausible_fps),
        )
    }

    /// The key frame that is shown at `position_ms`, or the first one.
    pub fn key_sample(&self, source: &mut dyn Source, position_ms: u64) -> Option<Sample> {
        let position = self.ticks(position_ms);
        if !self.is_fragmented {
            return self.tables.key_sample(source, position);
        }
        let mut found = None;
        self.fragments(source, &mut |_, fragment| {
            let is_later = fragment.start_ticks.is_some_and(|start| start > position);
            if found.is_none() || !is_later {
                found = fragment.key_sample.or(found);
            }
            !is_later
        });
        found
    }

    /// Calls `visit` with each fragment of this track in the file, until it says false.
    fn fragments(
        &self,
        source: &mut dyn Source,
        visit: &mut dyn FnMut(&mut dyn Source, fragment::Fragment) -> bool,
    ) {
        let (mut at, end) = (0, source.size());
        for _ in 0..FRAGMENTS_MAX {
            let Some(found) = Box::read(source, at, end) else {
                return;
            };
            // Its samples, in the box behind, may have been cut off.
            if found.kind == *b"moof"
                && Box::read(source, found.body.end(), end).is_some()
                && let Some(fragment) = fragment::Fragment::read(source, found, self)
                && !visit(source, fragment)
            {
                return;
            }
            at = found.body.end();
        }
    }
}

/// One track; `None` where it is no video.
fn video_track(source: &mut dyn Source, track: Span) -> Option<Result<Track, Mp4Error>> {
    let handler = Box::path(source, track, &[b"mdia", b"hdlr"])?;
    let [_, _, _, _, _, _, _, _, kind @ ..] = array::<12>(source, handler.at)?;
    if kind != *b"vide" {
        return None;
    }
    let id = track_id(source, track).unwrap_or(0);
    let header = Box::path(source, track, &[b"mdia", b"mdhd"])?;
    let (ticks_per_s, duration_ticks) = media_header(source, header)?;
    let table = Box::path(source, track, &[b"mdia", b"minf", b"stbl"])?;
    let description = Box::find(source, table, b"stsd")?;
    // Version, flags, count; then the first entry.
    let entry = Box::read(source, description.at + 8, description.end())?;
    let content = bytes(
        source,
        entry.body.at,
        entry.body.bytes,
        DESCRIPTION_BYTES_MAX,
    )?;
    let Some(codec) = codec(entry.kind) else {
        let name = String::from_utf8_lossy(&entry.kind).into_owned();
        return Some(Err(Mp4Error::OtherVideo(name)));
    };
    let side = |at: usize| {
        let bytes = content.get(at..)?.first_chunk::<2>()?;
        Some(u32::from(u16::from_be_bytes(*bytes)))
    };
    Some(Ok(Track {
        id,
        ticks_per_s: ticks_per_s.max(1),
        duration_ticks,
        format: format(codec, &content),
        width: side(24)?,
        height: side(26)?,
        tables: tables::Tables::find(source, table),
        defaults: fragment::Defaults::default(),
        is_fragmented: false,
    }))
}

/// A sample entry's codec (ISO 14496-15, RFC 6381).
fn codec(kind: [u8; 4]) -> Option<Codec> {
    Some(match &kind {
        b"avc1" | b"avc3" => Codec::H264,
        b"hvc1" | b"hev1" => Codec::H265,
        b"jpeg" | b"mjpa" | b"mjpg" => Codec::Mjpeg,
        b"mp4v" => Codec::Mpeg4,
        b"av01" => Codec::Av1,
        b"vp08" => Codec::Vp8,
        b"vp09" => Codec::Vp9,
        _ => return None,
    })
}

/// The configuration behind the 78 fixed bytes of a visual sample entry (section 12.1.3).
fn format(codec: Codec, entry: &[u8]) -> SampleFormat {
    let mut children = entry.get(78..).unwrap_or_default();
    let all = Span {
        at: 0,
        bytes: children.len() as u64,
    };
    let mut record = None;
    Box::walk(&mut children, all, &mut |source, inner| {
        if matches!(&inner.kind, b"avcC" | b"hvcC") {
            record = bytes(
                source,
                inner.body.at,
                inner.body.bytes,
                DESCRIPTION_BYTES_MAX,
            );
        }
        record.is_none()
    });
    match record {
        Some(record) => SampleFormat::read(codec, &record),
        None => SampleFormat::new(codec),
    }
}

fn track_id(source: &mut dyn Source, track: Span) -> Option<u32> {
    let header = Box::find(source, track, b"tkhd")?;
    let [version] = array(source, header.at)?;
    let at = if version == 1 { 20 } else { 12 };
    array(source, header.at + at).map(u32::from_be_bytes)
}

/// Timescale and duration of `mdhd` (section 8.4.2).
fn media_header(source: &mut dyn Source, header: Span) -> Option<(u32, u64)> {
    let [version] = array(source, header.at)?;
    if version == 1 {
        let ticks_per_s = u32::from_be_bytes(array(source, header.at + 20)?);
        let duration = u64::from_be_bytes(array(source, header.at + 24)?);
        return Some((ticks_per_s, if duration == u64::MAX { 0 } else { duration }));
    }
    let ticks_per_s = u32::from_be_bytes(array(source, header.at + 12)?);
    let duration = u32::from_be_bytes(array(source, header.at + 16)?);
    let is_unknown = duration == u32::MAX;
    Some((ticks_per_s, if is_unknown { 0 } else { duration.into() }))
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
