//! Transitions between two commits of the database. One commit costs six pages of flash whatever
//! it holds, one record here a single page; so states and events wait in this file, synced, until a
//! commit takes them into their tables.
//!
//! A record: length (u32 LE), checksum (8 bytes), entries. An entry: kind (1 state, 2 event, 3 report of a camera), number
//! (u64 LE: camera id or sequence), length (u32 LE), bytes. The checksum is the head of a SHA-256 over
//! the store's id, the generation, the checksum before and the entries. The database holds the
//! generation that is valid; the commit that takes the entries in moves it on, and the next record
//! starts at the head of the file again. So nothing is ever applied twice, nor from another store.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::model::CameraId;

/// Beyond this a commit of the database takes the entries in. Also the most that is held in memory.
pub(super) const LIMIT_BYTES: u64 = 64 * 1024;
const HEAD: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    State(CameraId, Vec<u8>),
    /// A row of the events table.
    Event(u64, Vec<u8>),
    /// A row of the table of what cameras reported.
    Observed(u64, Vec<u8>),
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, number, body) = match self {
            Self::State(camera, body) => (1, u64::from(camera.0), body),
            Self::Event(sequence, body) => (2, *sequence, body),
            Self::Observed(sequence, body) => (3, *sequence, body),
        };
        out.push(kind);
        out.extend(number.to_le_bytes());
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(body);
    }

    fn decode(input: &[u8]) -> Option<(Entry, &[u8])> {
        let (kind, rest) = input.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let number = u64::from_le_bytes(*number);
        let entry = match kind {
            1 => Self::State(CameraId(u32::try_from(number).ok()?), body.to_vec()),
            2 => Self::Event(number, body.to_vec()),
            3 => Self::Observed(number, body.to_vec()),
            _ => return None,
        };
        Some((entry, rest))
    }
}

pub(super) struct Journal {
    file: File,
    path: PathBuf,
    store_id: [u8; 16],
    generation: u64,
    /// Where the next record goes.
    end: u64,
    /// Checksum of the last record.
    last: [u8; 8],
    /// What the database does not hold yet, oldest first.
    pub pending: Vec<Entry>,
}

impl Journal {
    /// Opens or makes the file and reads what is pending. A damaged or torn record ends it: that one
    /// was never acknowledged.
    pub fn open(path: &Path, store_id: [u8; 16], generation: u64) -> Result<Self, StoreError> {
        let fail = |e: io::Error| StoreError::io(path, &e);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len().min(LIMIT_BYTES);
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(fail)?;
        let mut journal = Self {
            file,
            path: path.to_owned(),
            store_id,
            generation,
            end: 0,
            last: [0; 8],
            pending: Vec::new(),
        };
        journal.replay(&bytes);
        Ok(journal)
    }

    fn replay(&mut self, mut bytes: &[u8]) {
        while let Some((len, checksum, rest)) = split_head(bytes) {
            let Some((payload, rest)) = rest.split_at_checked(len) else {
                return;
            };
            if payload.is_empty() || checksum != self.checksum(payload) {
                return;
            }
            let mut left = payload;
            while let Some((entry, after)) = Entry::decode(left) {
                self.pending.push(entry);
                left = after;
            }
            self.end += (HEAD + len) as u64;
            self.last = checksum;
            bytes = rest;
        }
    }

    fn checksum(&self, payload: &[u8]) -> [u8; 8] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(&self.store_id);
        context.update(&self.generation.to_le_bytes());
        context.update(&self.last);
        context.update(payload);
        let digest = context.finish();
        let mut head = [0; 8];
        head.copy_from_slice(&digest.as_ref()[..8]);
        head
    }

    pub fn has_room_for(&self, entries: &[Entry]) -> bool {
        self.end + (HEAD + encoded_len(entries)) as u64 <= LIMIT_BYTES
    }

    /// Writes the entries as one record and syncs it. On an error nothing counts as written.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        let mut record = vec![0; HEAD];
        for entry in &entries {
            entry.encode(&mut record);
        }
        let checksum = self.checksum(&record[HEAD..]);
        let len = (record.len() - HEAD) as u32;
        record[..4].copy_from_slice(&len.to_le_bytes());
        record[4..HEAD].copy_from_slice(&checksum);
        self.file
            .write_all_at(&record, self.end)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| StoreError::io(&self.path, &e))?;
        self.end += record.len() as u64;
        self.last = checksum;
        self.pending.extend(entries);
        Ok(())
    }

    /// The generation that a commit which takes the entries in has to store.
    pub fn next_generation(&self) -> u64 {
        self.generation.wrapping_add(1)
    }

    /// After that commit.
    pub fn start_over(&mut self) {
        self.generation = self.next_generation();
        self.end = 0;
        self.last = [0; 8];
        self.pending = Vec::new();
    }
}

fn split_head(bytes: &[u8]) -> Option<(usize, [u8; 8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*len) as usize, *checksum, rest))
}

fn encoded_len(entries: &[Entry]) -> usize {
    let len = |entry: &Entry| match entry {
        Entry::State(_, body) | Entry::Event(_, body) | Entry::Observed(_, body) => 13 + body.len(),
    };
    entries.iter().map(len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(i: u8) -> Entry {
        if i.is_multiple_of(2) {
            Entry::State(CameraId(i.into()), vec![i; 40])
        } else {
            Entry::Event(i.into(), vec![i; 90])
        }
    }

    fn open(path: &Path, generation: u64) -> Journal {
        Journal::open(path, [9; 16], generation).unwrap()
    }

    #[test]
    fn holds_what_was_appended_until_it_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = open(&path, 1);
        journal.append(vec![entry(1), entry(2)]).unwrap();
        journal.append(vec![entry(3)]).unwrap();
        assert_eq!(open(&path, 1).pending, [entry(1), entry(2), entry(3)]);
        // Another store's, or an older generation.
        assert_eq!(Journal::open(&path, [8; 16], 1).unwrap().pending, []);
        assert_eq!(open(&path, 2).pending, []);

        journal.start_over();
        journal.append(vec![entry(5), entry(6)]).unwrap();
        // The old third record now follows exactly where it stood, and must not count.
        assert_eq!(open(&path, 2).pending, [entry(5), entry(6)]);
        let mut restored = open(&path, 1);
        assert_eq!(restored.pending, []);
        restored.append(vec![entry(7), entry(8)]).unwrap();
        assert_eq!(open(&path, 1).pending, [entry(7), entry(8)]);
    }

    #[test]
    fn a_torn_record_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = open(&path, 1);
        journal.append(vec![entry(1)]).unwrap();
        let first = journal.end;
        journal.append(vec![entry(2)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let want = usize::from(cut as u64 >= first);
            assert_eq!(open(&path, 1).pending.len(), want, "cut at {cut}");
            let mut flipped = whole.clone();
            flipped[cut] ^= 0x10;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(open(&path, 1).pending.len(), want, "flipped at {cut}");
        }
    }

    #[test]
    fn knows_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(&dir.path().join("journal"), 1);
        let big = || vec![Entry::Event(1, vec![0; 60_000])];
        assert!(journal.has_room_for(&big()));
        journal.append(big()).unwrap();
        assert!(!journal.has_room_for(&big()));
    }
}
