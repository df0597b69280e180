//! Bytes at places, for formats that must be read here and there: a file, or a piece of memory.

/// What can be read anywhere.
pub trait Source {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Fills `into` from there on. `None` where the bytes end before, or cannot be read: the source
    /// itself knows why.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Option<()>;
}

impl Source for &[u8] {
    fn size(&self) -> u64 {
        (**self).len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Option<()> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.get(at..)?.get(..into.len())?;
        into.copy_from_slice(bytes);
        Some(())
    }
}

/// A fixed number of bytes at a place.
pub fn array<const N: usize>(source: &mut dyn Source, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    source.read(at, &mut bytes)?;
    Some(bytes)
}

/// `count` bytes at a place; `None` for more than `bytes_max`, and where there are not so many.
pub fn bytes(source: &mut dyn Source, at: u64, count: u64, bytes_max: u64) -> Option<Vec<u8>> {
    let count =
        Some(count).filter(|n| *n <= bytes_max && at.saturating_add(*n) <= source.size())?;
    let mut bytes = vec![0; usize::try_from(count).ok()?];
    source.read(at, &mut bytes)?;
    Some(bytes)
}
