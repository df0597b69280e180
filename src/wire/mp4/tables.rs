//! The sample tables of an unfragmented track (ISO 14496-12 section 8.6 and 8.7), read piece by piece.

use super::Box;
use crate::wire::source::{Source, array};

/// Entries of one table that are read: a day of 30 pictures a second, and then some.
const ENTRIES_MAX: u32 = 4_000_000;
/// Bytes of a table that are read at a time.
const PIECE_BYTES: usize = 4096;

/// A stretch of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub at: u64,
    pub bytes: u64,
}

impl Span {
    /// The first byte behind it.
    pub fn end(self) -> u64 {
        self.at.saturating_add(self.bytes)
    }
}

/// Where one sample lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub at: u64,
    pub bytes: u32,
}

/// Where the tables of a track lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tables {
    /// Runs of samples of one duration.
    times: Option<Span>,
    /// Numbers of the key frames; all are where it is missing.
    syncs: Option<Span>,
    /// Runs of chunks of as many samples.
    chunks: Option<Span>,
    sizes: Option<Span>,
    offsets: Option<Span>,
    has_long_offsets: bool,
}

impl Tables {
    pub fn find(source: &mut dyn Source, table: Span) -> Self {
        let mut tables = Self::default();
        Box::walk(source, table, &mut |_, inner| {
            let body = Some(inner.body);
            match &inner.kind {
                b"stts" => tables.times = body,
                b"stss" => tables.syncs = body,
                b"stsc" => tables.chunks = body,
                b"stsz" => tables.sizes = body,
                b"stco" => tables.offsets = body,
                b"co64" => (tables.offsets, tables.has_long_offsets) = (body, true),
                _ => {}
            }
            true
        });
        tables
    }

    /// Samples and ticks in all.
    pub fn count(&self, source: &mut dyn Source) -> (u64, u64) {
        let mut sum = (0_u64, 0_u64);
        let _ = entries(source, self.times, 8, &mut |[count, delta]: [u32; 2]| {
            let (count, delta) = (u64::from(count), u64::from(delta));
            sum.0 = sum.0.saturating_add(count);
            sum.1 = sum.1.saturating_add(count.saturating_mul(delta));
            true
        });
        sum
    }

    /// The last key frame up to `position` in ticks, else the first one.
    pub fn key_sample(&self, source: &mut dyn Source, position: u64) -> Option<Sample> {
        let shown = self.number_at(source, position)?;
        let number = self.sync_before(source, shown)?;
        let (chunk, first) = self.chunk_of(source, number)?;
        let mut at = self.offset(source, chunk)?;
        let (skipped, bytes) = self.size(source, first, number)?;
        at = at.checked_add(skipped)?;
        Some(Sample { at, bytes })
    }

    /// The sample, counted from 0, that is shown at `position`.
    fn number_at(&self, source: &mut dyn Source, position: u64) -> Option<u64> {
        let (mut number, mut left, mut is_found) = (0_u64, position, false);
        entries(source, self.times, 8, &mut |[count, delta]: [u32; 2]| {
            let (count, delta) = (u64::from(count), u64::from(delta));
            let before = left.checked_div(delta).unwrap_or(count);
            if before < count {
                (number, is_found) = (number + before, true);
                return false;
            }
            number += count;
            left -= count * delta;
            true
        })?;
        match is_found {
            true => Some(number),
            // Behind the end: the last one.
            false => number.checked_sub(1),
        }
    }

    fn sync_before(&self, source: &mut dyn Source, number: u64) -> Option<u64> {
        if self.syncs.is_none() {
            return Some(number);
        }
        let mut best = None;
        entries(source, self.syncs, 4, &mut |[sync]: [u32; 1]| {
            let sync = u64::from(sync).saturating_sub(1);
            let is_before = sync <= number;
            if is_before || best.is_none() {
                best = Some(sync);
            }
            is_before
        })?;
        best
    }

    /// The chunk of a sample, counted from 0, and the number of the chunk's first sample.
    fn chunk_of(&self, source: &mut dyn Source, number: u64) -> Option<(u64, u64)> {
        let mut found = None;
        // Chunk and sample where the current run began, and its samples per chunk.
        let mut run = (0_u64, 0_u64, 0_u64);
        let locate = |run: (u64, u64, u64)| {
            let chunks = number.checked_sub(run.1)?.checked_div(run.2)?;
            Some((run.0 + chunks, run.1 + chunks * run.2))
        };
        entries(
            source,
            self.chunks,
            12,
            &mut |[first, per_chunk, _]: [u32; 3]| {
                let first = u64::from(first).saturating_sub(1);
                let samples = first.saturating_sub(run.0).saturating_mul(run.2);
                if samples > 0 && number < run.1.saturating_add(samples) {
                    found = locate(run);
                    return false;
                }
                run = (first, run.1.saturating_add(samples), per_chunk.into());
                run.1 <= number
            },
        )?;
        found.or_else(|| locate(run))
    }

    fn offset(&self, source: &mut dyn Source, chunk: u64) -> Option<u64> {
        let table = self.offsets?;
        let count = u64::from(u32::from_be_bytes(array(source, table.at + 4)?));
        if chunk >= count {
            return None;
        }
        match self.has_long_offsets {
            true => array(source, table.at + 8 + chunk * 8).map(u64::from_be_bytes),
            false => array(source, table.at + 8 + chunk * 4).map(|b| u32::from_be_bytes(b).into()),
        }
    }

    /// Bytes of the samples from `first` up to `number`, and of that one.
    fn size(&self, source: &mut dyn Source, first: u64, number: u64) -> Option<(u64, u32)> {
        let table = self.sizes?;
        let all = u32::from_be_bytes(array(source, table.at + 4)?);
        let count = u64::from(u32::from_be_bytes(array(source, table.at + 8)?));
        if number >= count {
            return None;
        }
        if all != 0 {
            return Some((number.checked_sub(first)?.checked_mul(all.into())?, all));
        }
        let mut skipped = 0_u64;
        for n in first..number.min(first.saturating_add(ENTRIES_MAX.into())) {
            skipped += u64::from(u32::from_be_bytes(array(source, table.at + 12 + n * 4)?));
        }
        let size = u32::from_be_bytes(array(source, table.at + 12 + number * 4)?);
        Some((skipped, size))
    }
}

/// Calls `visit` with the big-endian numbers of each entry of a table behind its version, flags and
/// count, until it says false. `None` where the table is missing or cut off.
fn entries<const N: usize>(
    source: &mut dyn Source,
    table: Option<Span>,
    entry_bytes: usize,
    visit: &mut dyn FnMut([u32; N]) -> bool,
) -> Option<()> {
    let table = table?;
    let count = u32::from_be_bytes(array(source, table.at + 4)?).min(ENTRIES_MAX);
    let fits = table.bytes.saturating_sub(8) / entry_bytes as u64;
    let mut left = u64::from(count).min(fits);
    let mut at = table.at + 8;
    let mut piece = [0; PIECE_BYTES];
    let per_piece = (PIECE_BYTES / entry_bytes) as u64;
    while left > 0 {
        let now = left.min(per_piece) as usize * entry_bytes;
        let piece = piece.get_mut(..now)?;
        source.read(at, piece)?;
        for entry in piece.chunks_exact(entry_bytes) {
            let (numbers, _) = entry.as_chunks::<4>();
            let mut values = [0; N];
            for (value, number) in values.iter_mut().zip(numbers) {
                *value = u32::from_be_bytes(*number);
            }
            if !visit(values) {
                return Some(());
            }
        }
        left -= left.min(per_piece);
        at += now as u64;
    }
    Some(())
}
