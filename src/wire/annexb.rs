//! NAL units of a byte stream (H.264 annex B, H.265 annex B), as the bytes come in. Of a unit only its
//! beginning is kept: parameter sets are short, and of slices the first bits tell enough.

use super::parameters::SET_BYTES_MAX;

/// One more than the longest parameter set that is used, so that a longer one is seen to be too long.
const KEPT_BYTES_MAX: usize = SET_BYTES_MAX + 1;

/// Cuts a byte stream into NAL units, however its bytes are cut up.
#[derive(Debug, Clone, Default)]
pub struct UnitSplitter {
    /// The beginning of the unit that comes now.
    kept: Vec<u8>,
    /// Zero bytes at the end of what was read.
    zeros: u32,
    in_unit: bool,
}

impl UnitSplitter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; `unit` gets the beginning of each unit that ended with them. The zeros of a
    /// start code may stay at its end.
    pub fn feed(&mut self, bytes: &[u8], mut unit: impl FnMut(&[u8])) {
        for byte in bytes {
            match byte {
                1 if self.zeros >= 2 => {
                    self.finish(&mut unit);
                    self.in_unit = true;
                }
                0 => {
                    self.zeros = self.zeros.saturating_add(1);
                    self.keep(0);
                }
                byte => {
                    self.zeros = 0;
                    self.keep(*byte);
                }
            }
        }
    }

    /// The stream, or its access unit, is over: so is the unit.
    pub fn finish(&mut self, mut unit: impl FnMut(&[u8])) {
        if self.in_unit && !self.kept.is_empty() {
            unit(&self.kept);
        }
        self.kept.clear();
        self.zeros = 0;
        self.in_unit = false;
    }

    fn keep(&mut self, byte: u8) {
        if self.in_unit && self.kept.len() < KEPT_BYTES_MAX {
            self.kept.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parameters::annex_b_units;

    fn units(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = UnitSplitter::new();
        let mut found = vec![];
        for piece in pieces {
            splitter.feed(piece, |unit| found.push(trimmed(unit)));
        }
        splitter.finish(|unit| found.push(trimmed(unit)));
        found
    }

    fn trimmed(unit: &[u8]) -> Vec<u8> {
        let end = unit.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        unit[..end].to_vec()
    }

    #[test]
    fn start_codes_of_three_and_four_bytes() {
        let stream = [
            9, 9, 0, 0, 0, 1, 0x67, 1, 0, 0, 3, 1, 0, 0, 1, 0x68, 2, 0, 0,
        ];
        assert_eq!(
            units(&[&stream]),
            [vec![0x67, 1, 0, 0, 3, 1], vec![0x68, 2]]
        );
        assert!(units(&[&[1, 2, 3]]).is_empty());
    }

    #[test]
    fn of_a_long_unit_the_beginning_is_kept() {
        let mut stream = vec![0, 0, 1];
        stream.resize(100_000, 7);
        let found = units(&[&stream]);
        assert_eq!((found.len(), found[0].len()), (1, KEPT_BYTES_MAX));
    }

    proptest::proptest! {
        #[test]
        fn cuts_change_nothing(
            stream in proptest::collection::vec(0u8..3, 0..60),
            cut in 0usize..60,
        ) {
            let stream = [&[0, 0, 1], stream.as_slice()].concat();
            let (start, end) = stream.split_at(cut.min(stream.len()));
            let whole: Vec<_> = annex_b_units(&stream).map(trimmed).collect();
            let found: Vec<_> = units(&[start, end])
                .into_iter()
                .filter(|unit| !unit.is_empty())
                .collect();
            proptest::prop_assert_eq!(found, whole);
        }
    }
}
