//! Positioned reads of a file through a small window, within a deadline and a budget of bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::wire::source::Source;

const WINDOW_BYTES: usize = 16 << 10;
/// What one probe may read: the tables of a day's recording, and then some.
const BYTES_MAX: u64 = 256 << 20;

pub(super) struct Window {
    file: File,
    len: u64,
    bytes: Vec<u8>,
    /// Place of `bytes` in the file.
    at: u64,
    left: u64,
    until: Instant,
    fault: Option<io::Error>,
}

impl Window {
    pub fn new(file: File, until: Instant) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            len,
            bytes: Vec::new(),
            at: 0,
            left: BYTES_MAX,
            until,
            fault: None,
        })
    }

    /// Why a read gave nothing, where it was not the end of the file.
    pub fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Calls `take` with the bytes from `at` on, piece by piece, until it says false, the budget or the
    /// file is over. True when `count` bytes came.
    pub fn stream(&mut self, at: u64, count: u64, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let mut piece = vec![0; WINDOW_BYTES];
        let (mut at, mut left) = (at, count);
        while left > 0 {
            let now = left
                .min(self.len.saturating_sub(at))
                .min(WINDOW_BYTES as u64) as usize;
            let Some(piece) = piece.get_mut(..now).filter(|piece| !piece.is_empty()) else {
                return false;
            };
            if self.load(at, piece).is_none() || !take(piece) {
                return false;
            }
            at += now as u64;
            left -= now as u64;
        }
        true
    }

    fn load(&mut self, at: u64, into: &mut [u8]) -> Option<()> {
        let charge = self.left.checked_sub(into.len() as u64);
        let result = match charge {
            Some(left) if Instant::now() < self.until => {
                self.left = left;
                self.file.read_exact_at(into, at)
            }
            _ => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(()) => Some(()),
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    self.fault = Some(error);
                }
                None
            }
        }
    }
}

impl Source for Window {
    fn size(&self) -> u64 {
        self.len
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Option<()> {
        let end = at
            .checked_add(into.len() as u64)
            .filter(|end| *end <= self.len)?;
        let has = self.at..=self.at + self.bytes.len() as u64;
        if !(has.contains(&at) && has.contains(&end)) {
            if into.len() > WINDOW_BYTES / 2 {
                return self.load(at, into);
            }
            let count = (self.len - at).min(WINDOW_BYTES as u64) as usize;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(count, 0);
            self.load(at, &mut bytes)?;
            (self.bytes, self.at) = (bytes, at);
        }
        let from = (at - self.at) as usize;
        into.copy_from_slice(self.bytes.get(from..from + into.len())?);
        Some(())
    }
}
