//! Matroska and WebM (RFC 9559, EBML: RFC 8794), far enough for the first video track: codec, size,
//! duration, rate, and where its key frames lie. Elements are read where they stand, so a recording of any
//! length costs the same memory; files that were cut off, or never closed, are read as far as they go.

use std::collections::VecDeque;

use super::mp4::{Sample, Span};
use super::sample::SampleFormat;
use super::sdp::plausible_fps;
use super::source::{Source, array, bytes};
use crate::model::Codec;

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const SEEK: u32 = 0x4DBB;
const SEEK_ID: u32 = 0x53AB;
const SEEK_POSITION: u32 = 0x53AC;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const CODEC_PRIVATE: u32 = 0x63A2;
const DEFAULT_DURATION: u32 = 0x0023_E383;
const CONTENT_ENCODINGS: u32 = 0x6D80;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const CUES: u32 = 0x1C53_BB6B;
const CUE_POINT: u32 = 0xBB;
const CUE_TIME: u32 = 0xB3;
const CUE_TRACK_POSITIONS: u32 = 0xB7;
const CUE_TRACK: u32 = 0xF7;
const CUE_CLUSTER_POSITION: u32 = 0xF1;
const CLUSTER: u32 = 0x1F43_B675;
const CLUSTER_TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const REFERENCE_BLOCK: u32 = 0xFB;

/// Children of one element that are looked at.
const CHILDREN_MAX: u32 = 200_000;
/// Texts and codec configurations are not longer.
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// Clusters in front of a position that are looked through for its key frame, and behind it.
const CLUSTERS_BACK_MAX: usize = 16;
const CLUSTERS_ON_MAX: u32 = 4;

/// Why there is nothing to watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MkvError {
    #[error("it ends before its tracks: the recording was cut off")]
    NoTracks,
    #[error("it has no video track")]
    NoVideo,
    /// A `CodecID` that has no name here, or packed or encrypted samples.
    #[error("its video of type {0} cannot be checked")]
    OtherVideo(String),
}

/// One element: what it is and where its content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element {
    id: u32,
    start: u64,
    body: Span,
    /// Its end was not known when it was written, so it ends where its parent or its next sibling says.
    is_open: bool,
}

impl Element {
    /// The element at a place; one that reaches over `end` was cut off and ends there.
    fn read(source: &mut dyn Source, start: u64, end: u64) -> Option<Element> {
        let (id, id_bytes) = number(source, start, 4, true)?;
        let (size, size_bytes) = number(source, start + id_bytes, 8, false)?;
        let at = start + id_bytes + size_bytes;
        let is_open = size == (1 << (7 * size_bytes)) - 1;
        let bytes = match is_open {
            true => end.checked_sub(at)?,
            false => size.min(end.checked_sub(at)?),
        };
        Some(Element {
            id: u32::try_from(id).ok()?,
            start,
            body: Span { at, bytes },
            is_open,
        })
    }

    fn unsigned(&self, source: &mut dyn Source) -> Option<u64> {
        let content = bytes(source, self.body.at, self.body.bytes, 8)?;
        Some(content.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
    }

    fn float(&self, source: &mut dyn Source) -> Option<f64> {
        match self.body.bytes {
            4 => array(source, self.body.at).map(|b| f64::from(f32::from_be_bytes(b))),
            8 => array(source, self.body.at).map(f64::from_be_bytes),
            _ => None,
        }
    }

    fn bytes(&self, source: &mut dyn Source) -> Option<Vec<u8>> {
        bytes(source, self.body.at, self.body.bytes, VALUE_BYTES_MAX)
    }
}

/// A number whose length its first byte tells, and that length (RFC 8794 section 4).
fn number(
    source: &mut dyn Source,
    at: u64,
    bytes_max: u32,
    keep_marker: bool,
) -> Option<(u64, u64)> {
    let [first] = array(source, at)?;
    let more = first.leading_zeros();
    if more >= bytes_max {
        return None;
    }
    let mut value = u64::from(first);
    if !keep_marker {
        value &= (1 << (7 - more)) - 1;
    }
    for n in 1..=u64::from(more) {
        let [byte] = array(source, at + n)?;
        value = value << 8 | u64::from(byte);
    }
    Some((value, u64::from(more) + 1))
}

/// Calls `visit` with each child, until it says false.
fn walk(
    source: &mut dyn Source,
    span: Span,
    visit: &mut dyn FnMut(&mut dyn Source, Element) -> bool,
) {
    let mut at = span.at;
    for _ in 0..CHILDREN_MAX {
        let Some(child) = (at < span.end())
            .then(|| Element::read(source, at, span.end()))
            .flatten()
        else {
            return;
        };
        if !visit(source, child) {
            return;
        }
        at = child.body.end();
    }
}

/// The first video track of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    number: u64,
    pub format: SampleFormat,
    /// Pixels; 0 where the file does not say.
    pub width: u32,
    pub height: u32,
    /// Frames per second as announced, rounded to 0.1.
    pub fps: Option<f64>,
    /// Whole milliseconds, where the file says so.
    pub duration_ms: Option<u64>,
    scale_ns: u64,
    segment: Span,
    first_cluster: Option<u64>,
    cues: Option<u64>,
}

/// What a look for a key frame found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    pub sample: Option<Sample>,
    /// The pictures around it: how many, and their first and last time in ms. Times are those of
    /// presentation, and go back and forth where there are B-frames.
    pictures: u32,
    span_ms: Option<(u64, u64)>,
}

impl Found {
    /// Frames per second by the timestamps around the key frame, rounded to 0.1.
    pub fn fps(&self) -> Option<f64> {
        let (first, last) = self.span_ms?;
        let intervals = self.pictures.checked_sub(1).filter(|n| *n > 1)?;
        let span_ms = Some(last - first).filter(|ms| *ms > 0)?;
        plausible_fps(f64::from(intervals) * 1000.0 / span_ms as f64)
    }

    fn count(&mut self, at_ms: u64) {
        let (first, last) = self.span_ms.unwrap_or((at_ms, at_ms));
        self.span_ms = Some((first.min(at_ms), last.max(at_ms)));
        self.pictures = self.pictures.saturating_add(1);
    }
}

impl Track {
    /// Reads what stands before the first cluster.
    ///
    /// # Errors
    /// Any [`MkvError`].
    pub fn read(source: &mut dyn Source) -> Result<Track, MkvError> {
        let end = source.size();
        let head = Element::read(source, 0, end).filter(|head| head.id == EBML);
        let segment = head.and_then(|head| Element::read(source, head.body.end(), end));
        let segment = segment.filter(|segment| segment.id == SEGMENT);
        let segment = segment.ok_or(MkvError::NoTracks)?.body;
        let mut track = Err(MkvError::NoTracks);
        let (mut scale_ns, mut duration, mut first_cluster, mut cues) =
            (1_000_000, None, None, None);
        walk(source, segment, &mut |source, child| {
            match child.id {
                SEEK_HEAD => cues = cues.or(seek(source, child.body, CUES)),
                INFO => walk(source, child.body, &mut |source, info| {
                    match info.id {
                        TIMESTAMP_SCALE => {
                            scale_ns = info.unsigned(source).filter(|n| *n > 0).unwrap_or(scale_ns);
                        }
                        DURATION => duration = info.float(source),
                        _ => {}
                    }
                    true
                }),
                TRACKS => track = tracks(source, child.body),
                CUES => cues = Some(child.start - segment.at),
                CLUSTER => first_cluster = Some(child.start),
                _ => {}
            }
            first_cluster.is_none()
        });
        let mut track = track?;
        let ms = duration.map(|units| units * scale_ns as f64 / 1e6);
        // A float to an integer goes to the nearest end.
        track.duration_ms = ms.filter(|ms| *ms >= 1.0).map(|ms| ms as u64);
        track.scale_ns = scale_ns;
        track.segment = segment;
        track.first_cluster = first_cluster;
        track.cues = cues.and_then(|at| segment.at.checked_add(at));
        Ok(track)
    }

    /// The duration in ms: as told, else up to the last cluster.
    pub fn duration(&self, source: &mut dyn Source) -> Option<u64> {
        self.duration_ms.or_else(|| {
            let mut last = None;
            self.clusters(source, self.first_cluster?, &mut |_, _, at_ms| {
                last = Some(at_ms);
                true
            });
            last.filter(|ms| *ms > 0)
        })
    }

    /// The key frame that is shown at `position_ms`, or the first one behind.
    pub fn key_sample(&self, source: &mut dyn Source, position_ms: u64) -> Found {
        let Some(first) = self.first_cluster else {
            return Found::default();
        };
        let from = self.cue(source, position_ms).unwrap_or(first);
        let mut up_to_here = VecDeque::with_capacity(CLUSTERS_BACK_MAX);
        let mut here = None;
        self.clusters(source, from, &mut |_, cluster, at_ms| {
            let is_before = at_ms <= position_ms;
            if is_before || here.is_none() {
                if up_to_here.len() == CLUSTERS_BACK_MAX {
                    up_to_here.pop_front();
                }
                up_to_here.push_back(cluster.start);
                here = Some(cluster.start);
            }
            is_before
        });
        // A group of pictures may be longer than a cluster: its key frame stands in an earlier one.
        for start in up_to_here.into_iter().rev().chain([from]) {
            let (found, _) = self.look(source, start, position_ms);
            if found.sample.is_some() {
                return found;
            }
        }
        let mut next = here;
        for _ in 0..CLUSTERS_ON_MAX {
            let Some(start) = next else { break };
            let (found, behind) = self.look(source, start, position_ms);
            if found.sample.is_some() {
                return found;
            }
            next = behind;
        }
        Found::default()
    }

    /// What the cluster that starts there holds, and where the next one starts.
    fn look(&self, source: &mut dyn Source, start: u64, position_ms: u64) -> (Found, Option<u64>) {
        let mut found = Found::default();
        let next = Element::read(source, start, self.segment.end())
            .and_then(|cluster| self.key_block(source, cluster, position_ms, &mut found));
        (found, next)
    }

    /// Calls `visit` with each cluster from there on and its time in ms, until it says false.
    fn clusters(
        &self,
        source: &mut dyn Source,
        from: u64,
        visit: &mut dyn FnMut(&mut dyn Source, Element, u64) -> bool,
    ) {
        let span = Span {
            at: from,
            bytes: self.segment.end().saturating_sub(from),
        };
        let mut open = None;
        walk(source, span, &mut |source, child| {
            if child.id != CLUSTER {
                return true;
            }
            let at_ms = self.ms(cluster_time(source, child.body));
            let goes_on = visit(source, child, at_ms);
            open = (child.is_open && goes_on).then_some(child);
            goes_on && open.is_none()
        });
        // Its blocks must be passed to find what follows an open cluster.
        if let Some(next) = open.and_then(|cluster| end_of_open(source, cluster)) {
            self.following(source, next, visit);
        }
    }

    /// The clusters behind an open one, all of which are open too.
    fn following(
        &self,
        source: &mut dyn Source,
        from: u64,
        visit: &mut dyn FnMut(&mut dyn Source, Element, u64) -> bool,
    ) {
        let mut at = Some(from);
        for _ in 0..CHILDREN_MAX {
            let Some(cluster) = at
                .and_then(|at| Element::read(source, at, self.segment.end()))
                .filter(|cluster| cluster.id == CLUSTER)
            else {
                return;
            };
            let at_ms = self.ms(cluster_time(source, cluster.body));
            if !visit(source, cluster, at_ms) {
                return;
            }
            at = match cluster.is_open {
                true => end_of_open(source, cluster),
                false => Some(cluster.body.end()),
            };
        }
    }

    /// Looks through the blocks of one cluster; gives the place of the next cluster.
    fn key_block(
        &self,
        source: &mut dyn Source,
        cluster: Element,
        position_ms: u64,
        found: &mut Found,
    ) -> Option<u64> {
        let base = cluster_time(source, cluster.body);
        let mut next = (!cluster.is_open).then(|| cluster.body.end());
        walk(source, cluster.body, &mut |source, child| {
            let block = match child.id {
                SIMPLE_BLOCK => Some((child.body, None)),
                BLOCK_GROUP => group(source, child.body),
                CLUSTER | CUES | INFO | TRACKS => {
                    next = Some(child.start);
                    return false;
                }
                _ => None,
            };
            let Some(block) = block.and_then(|(body, is_key)| self.block(source, body, is_key))
            else {
                return true;
            };
            let at_ms = self.ms(base.saturating_add_signed(block.0.into()));
            found.count(at_ms);
            let is_first = found.sample.is_none();
            if block.1 && (is_first || at_ms <= position_ms) {
                found.sample = Some(block.2);
            }
            true
        });
        next
    }

    /// Relative time, is it a key frame, and the sample; `None` for other tracks and laced blocks.
    fn block(
        &self,
        source: &mut dyn Source,
        body: Span,
        is_key: Option<bool>,
    ) -> Option<(i16, bool, Sample)> {
        let (track, length) = number(source, body.at, 8, false)?;
        let [t0, t1, flags] = array(source, body.at + length)?;
        let header_bytes = length + 3;
        let bytes = body.bytes.checked_sub(header_bytes)?;
        let is_usable = track == self.number && flags & 0x06 == 0 && bytes > 0;
        let sample = Sample {
            at: body.at + header_bytes,
            bytes: u32::try_from(bytes).ok()?,
        };
        let is_key = is_key.unwrap_or(flags & 0x80 != 0);
        is_usable.then_some((i16::from_be_bytes([t0, t1]), is_key, sample))
    }

    /// The cluster of the last cue up to a position.
    fn cue(&self, source: &mut dyn Source, position_ms: u64) -> Option<u64> {
        let cues = Element::read(source, self.cues?, self.segment.end())?;
        let mut best = None;
        if cues.id == CUES {
            walk(source, cues.body, &mut |source, point| {
                let Some((time, cluster)) = (point.id == CUE_POINT)
                    .then(|| cue_point(source, point.body, self.number))
                    .flatten()
                else {
                    return true;
                };
                let is_before = self.ms(time) <= position_ms;
                if is_before {
                    best = self.segment.at.checked_add(cluster);
                }
                is_before
            });
        }
        best.filter(|at| *at < self.segment.end())
    }

    fn ms(&self, units: u64) -> u64 {
        let ms = u128::from(units) * u128::from(self.scale_ns) / 1_000_000;
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

/// Where an open cluster ends: at the next element of its parent's level.
fn end_of_open(source: &mut dyn Source, cluster: Element) -> Option<u64> {
    let mut end = None;
    walk(source, cluster.body, &mut |_, child| {
        end = matches!(child.id, CLUSTER | CUES | INFO | TRACKS | SEEK_HEAD).then_some(child.start);
        end.is_none()
    });
    end
}

fn cluster_time(source: &mut dyn Source, cluster: Span) -> u64 {
    let mut time = None;
    walk(source, cluster, &mut |source, child| {
        if child.id == CLUSTER_TIMESTAMP {
            time = child.unsigned(source);
        }
        // It stands in front of the blocks.
        time.is_none() && !matches!(child.id, SIMPLE_BLOCK | BLOCK_GROUP)
    });
    time.unwrap_or(0)
}

/// The block of a group, and whether it needs another one.
fn group(source: &mut dyn Source, group: Span) -> Option<(Span, Option<bool>)> {
    let (mut block, mut is_key) = (None, true);
    walk(source, group, &mut |_, child| {
        match child.id {
            BLOCK => block = Some(child.body),
            REFERENCE_BLOCK => is_key = false,
            _ => {}
        }
        true
    });
    block.map(|block| (block, Some(is_key)))
}

/// Where the wanted element lies, counted from the segment's content.
fn seek(source: &mut dyn Source, head: Span, wanted: u32) -> Option<u64> {
    let mut found = None;
    walk(source, head, &mut |source, entry| {
        let (mut id, mut position) = (None, None);
        if entry.id == SEEK {
            walk(source, entry.body, &mut |source, child| {
                match child.id {
                    SEEK_ID => id = child.unsigned(source),
                    SEEK_POSITION => position = child.unsigned(source),
                    _ => {}
                }
                true
            });
        }
        found = position.filter(|_| id == Some(wanted.into()));
        found.is_none()
    });
    found
}

fn cue_point(source: &mut dyn Source, point: Span, track: u64) -> Option<(u64, u64)> {
    let (mut time, mut cluster) = (None, None);
    walk(source, point, &mut |source, child| {
        match child.id {
            CUE_TIME => time = child.unsigned(source),
            CUE_TRACK_POSITIONS if cluster.is_none() => {
                let (mut number, mut position) = (None, None);
                walk(source, child.body, &mut |source, child| {
                    match child.id {
                        CUE_TRACK => number = child.unsigned(source),
                        CUE_CLUSTER_POSITION => position = child.unsigned(source),
                        _ => {}
                    }
                    true
                });
                cluster = position.filter(|_| number == Some(track));
            }
            _ => {}
        }
        true
    });
    Some((time?, cluster?))
}

/// The first video track among all.
fn tracks(source: &mut dyn Source, tracks: Span) -> Result<Track, MkvError> {
    let mut found = Err(MkvError::NoVideo);
    walk(source, tracks, &mut |source, entry| {
        if entry.id == TRACK_ENTRY
            && let Some(track) = video_track(source, entry.body)
        {
            found = track;
        }
        matches!(found, Err(MkvError::NoVideo))
    });
    found
}

fn video_track(source: &mut dyn Source, entry: Span) -> Option<Result<Track, MkvError>> {
    let (mut number, mut kind, mut size) = (0, 0, (0, 0));
    let (mut name, mut private, mut duration_ns) = (String::new(), Vec::new(), None);
    let mut is_packed = false;
    walk(source, entry, &mut |source, child| {
        match child.id {
            TRACK_NUMBER => number = child.unsigned(source).unwrap_or(0),
            TRACK_TYPE => kind = child.unsigned(source).unwrap_or(0),
            CODEC_ID => {
                let bytes = child.bytes(source).unwrap_or_default();
                name = String::from_utf8_lossy(&bytes)
                    .trim_end_matches('\0')
                    .chars()
                    .take(40)
                    .collect();
            }
            CODEC_PRIVATE => private = child.bytes(source).unwrap_or_default(),
            DEFAULT_DURATION => duration_ns = child.unsigned(source),
            CONTENT_ENCODINGS => is_packed = true,
            VIDEO => size = pixels(source, child.body),
            _ => {}
        }
        true
    });
    if kind != 1 {
        return None;
    }
    let Some(codec) = codec(&name).filter(|_| !is_packed) else {
        return Some(Err(MkvError::OtherVideo(name)));
    };
    let fps = duration_ns.filter(|ns| *ns > 0).map(|ns| 1e9 / ns as f64);
    Some(Ok(Track {
        number,
        format: SampleFormat::read(codec, &private),
        width: size.0,
        height: size.1,
        fps: fps.and_then(plausible_fps),
        duration_ms: None,
        scale_ns: 1_000_000,
        segment: Span::default(),
        first_cluster: None,
        cues: None,
    }))
}

fn pixels(source: &mut dyn Source, video: Span) -> (u32, u32) {
    let mut size = (0, 0);
    walk(source, video, &mut |source, child| {
        let value = |source: &mut dyn Source| {
            let value = child.unsigned(source)?;
            u32::try_from(value).ok()
        };
        match child.id {
            PIXEL_WIDTH => size.0 = value(source).unwrap_or(0),
            PIXEL_HEIGHT => size.1 = value(source).unwrap_or(0),
            _ => {}
        }
        true
    });
    size
}

/// A `CodecID` (Matroska codec registry).
fn codec(name: &str) -> Option<Codec> {
    Some(match name {
        "V_MPEG4/ISO/AVC" => Codec::H264,
        "V_MPEGH/ISO/HEVC" => Codec::H265,
        "V_MJPEG" => Codec::Mjpeg,
        "V_MPEG4/ISO/SP" | "V_MPEG4/ISO/ASP" | "V_MPEG4/ISO/AP" => Codec::Mpeg4,
        "V_AV1" => Codec::Av1,
        "V_VP8" => Codec::Vp8,
        "V_VP9" => Codec::Vp9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
