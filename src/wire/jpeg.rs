//! A JPEG's outline without its pixels (ITU-T T.81 annex B): does it have an end, and what size does
//! its frame header give? Works on a stream, keeps nothing but a few counters.

/// What one picture told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JpegFacts {
    /// Pixels; `None` where no frame header came, or where it leaves the size open.
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Entropy-coded bytes seen.
    pub data_bytes: u64,
    /// The end marker was there. Some encoders leave it out.
    pub has_end: bool,
}

/// How far the scan of one picture has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    /// The picture is over: its end marker came, or (`has_end` false) the start of another one.
    End,
    /// This is not a JPEG. The sentence part says why.
    Broken(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the `FF` of a marker.
    Marker,
    /// After the `FF` of a marker.
    Code,
    LengthHigh(u8),
    LengthLow(u8, u8),
    Segment {
        marker: u8,
        at: u16,
        len: u16,
    },
    Entropy,
    EntropyCode,
    Over(Progress),
}

/// Scans one picture, however its bytes are cut up.
#[derive(Debug, Clone)]
pub struct JpegScanner {
    state: State,
    facts: JpegFacts,
    high: u8,
}

impl JpegScanner {
    /// For the bytes that follow `FF D8`.
    pub fn new() -> Self {
        Self {
            state: State::Marker,
            facts: JpegFacts::default(),
            high: 0,
        }
    }

    /// For the bytes that follow `FF D8 FF`.
    pub fn after_first_marker() -> Self {
        Self {
            state: State::Code,
            ..Self::new()
        }
    }

    pub fn facts(&self) -> JpegFacts {
        self.facts
    }

    /// Takes what belongs to this picture: the count of bytes used, and where the scan stands. When
    /// a picture without end marker runs into the next, that one's `FF D8` counts as used.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.state {
                State::Over(progress) => return (at, progress),
                State::Entropy => self.skip_data(rest),
                State::Segment { marker, at, len } => self.skip_segment(rest, marker, at, len),
                _ => {
                    self.state = self.step(rest[0]);
                    1
                }
            };
        }
        match self.state {
            State::Over(progress) => (at, progress),
            _ => (at, Progress::More),
        }
    }

    fn step(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Marker, 0xFF) | (State::Code, 0xFF) => State::Code,
            (State::Marker, _) => broken("no marker where one must stand"),
            (State::Code, code) => self.marker(code),
            (State::LengthHigh(marker), high) => State::LengthLow(marker, high),
            (State::LengthLow(marker, high), low) => {
                match u16::from_be_bytes([high, low]).checked_sub(2) {
                    None => broken("a segment shorter than its own length field"),
                    Some(0) => self.after_segment(marker),
                    Some(len) => State::Segment { marker, at: 0, len },
                }
            }
            (State::EntropyCode, code) => self.entropy_marker(code),
            (state, _) => state,
        }
    }

    fn marker(&mut self, code: u8) -> State {
        match code {
            0x00 => broken("no marker where one must stand"),
            // Markers that stand alone, a doubled start among them.
            0x01 | 0xD0..=0xD8 => State::Marker,
            0xD9 if self.facts.data_bytes == 0 => broken("it ends before its picture data"),
            0xD9 => self.end(),
            code => State::LengthHigh(code),
        }
    }

    fn entropy_marker(&mut self, code: u8) -> State {
        match code {
            0x00 | 0x01 | 0xD0..=0xD7 => {
                self.facts.data_bytes += 2;
                State::Entropy
            }
            0xFF => State::EntropyCode,
            0xD8 if self.facts.data_bytes == 0 => broken("it ends before its picture data"),
            0xD8 => State::Over(Progress::End),
            code => self.marker(code),
        }
    }

    fn end(&mut self) -> State {
        self.facts.has_end = true;
        State::Over(Progress::End)
    }

    fn skip_data(&mut self, rest: &[u8]) -> usize {
        let run = rest.iter().position(|b| *b == 0xFF);
        self.facts.data_bytes += run.unwrap_or(rest.len()) as u64;
        match run {
            Some(run) => {
                self.state = State::EntropyCode;
                run + 1
            }
            None => rest.len(),
        }
    }

    /// Skips a segment's body, reading the size where it is a frame header.
    fn skip_segment(&mut self, rest: &[u8], marker: u8, at: u16, len: u16) -> usize {
        // Precision, then height and width of 16 bits each.
        if is_frame_header(marker) && at < 5 {
            let byte = rest[0];
            let value = u32::from(u16::from_be_bytes([self.high, byte]));
            match at {
                1 | 3 => self.high = byte,
                2 => self.facts.height = Some(value).filter(|v| *v > 0),
                4 => self.facts.width = Some(value).filter(|v| *v > 0),
                _ => {}
            }
            self.pass(marker, at + 1, len);
            return 1;
        }
        let used = rest.len().min(usize::from(len - at));
        self.pass(marker, at + used as u16, len);
        used
    }

    fn pass(&mut self, marker: u8, at: u16, len: u16) {
        self.state = match at < len {
            true => State::Segment { marker, at, len },
            false => self.after_segment(marker),
        };
    }

    fn after_segment(&self, marker: u8) -> State {
        match marker {
            0xDA => State::Entropy,
            _ => State::Marker,
        }
    }
}

impl Default for JpegScanner {
    fn default() -> Self {
        Self::new()
    }
}

fn broken(why: &'static str) -> State {
    State::Over(Progress::Broken(why))
}

/// SOF0 to SOF15 without the tables and extensions in between.
fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// The facts of a picture that lies in memory whole; `None` when it is no JPEG or has no picture data.
pub fn facts(picture: &[u8]) -> Option<JpegFacts> {
    let rest = picture.strip_prefix(&[0xFF, 0xD8])?;
    let mut scanner = JpegScanner::new();
    let (_, progress) = scanner.feed(rest);
    let facts = scanner.facts();
    (!matches!(progress, Progress::Broken(_)) && facts.data_bytes > 0).then_some(facts)
}

#[cfg(test)]
pub(crate) mod fixtures {
    /// A JPEG of this size with an APP1 thumbnail that is a JPEG itself, a restart marker and a
    /// stuffed byte in its data.
    pub(crate) fn picture(width: u16, height: u16) -> Vec<u8> {
        let mut out = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, b'J', b'F'];
        let thumbnail = [
            0xFF, 0xD8, 0xFF, 0xC0, 0, 7, 8, 0, 9, 0, 9, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0xD9,
        ];
        out.extend([0xFF, 0xE1, 0, 2 + thumbnail.len() as u8]);
        out.extend(thumbnail);
        out.extend([0xFF, 0xC0, 0, 11, 8]);
        out.extend(height.to_be_bytes());
        out.extend(width.to_be_bytes());
        out.extend([1, 1, 0x11, 0]);
        out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
        out.extend([0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD0, 0x56, 0xFF, 0xD9]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_size_of_the_picture_not_of_its_thumbnail() {
        let got = facts(&fixtures::picture(1920, 1080)).unwrap();
        assert_eq!(
            (got.width, got.height, got.has_end),
            (Some(1920), Some(1080), true)
        );
        assert_eq!(got.data_bytes, 7);
    }

    #[test]
    fn tables_between_scans_and_fill_bytes_are_no_end() {
        let mut progressive = fixtures::picture(640, 480);
        progressive.truncate(progressive.len() - 2);
        progressive.extend([
            0xFF, 0xFF, 0xC4, 0, 3, 9, 0xFF, 0xDA, 0, 2, 7, 7, 0xFF, 0xD9,
        ]);
        let got = facts(&progressive).unwrap();
        assert_eq!((got.data_bytes, got.has_end), (9, true));
    }

    #[test]
    fn a_picture_without_data_is_none() {
        let whole = fixtures::picture(8, 8);
        let data_from = whole.len() - 9;
        for cut in 0..=data_from {
            assert_eq!(facts(&whole[..cut]), None, "{cut}");
        }
        assert!(!facts(&whole[..data_from + 1]).unwrap().has_end);
        assert_eq!(facts(&[0xFF, 0xD8, 0xFF, 0xD9]), None);
        assert_eq!(facts(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 1, 0, 0]), None);
        assert_eq!(facts(b"<html>"), None);
    }

    #[test]
    fn a_size_left_open_is_not_known() {
        let mut picture = fixtures::picture(640, 0);
        assert_eq!(facts(&picture).unwrap().height, None);
        picture.truncate(30);
        assert_eq!(facts(&picture), None);
    }

    #[test]
    fn a_missing_end_is_found_at_the_next_start() {
        let mut two = fixtures::picture(320, 240);
        two.truncate(two.len() - 2);
        let first_len = two.len();
        two.extend(fixtures::picture(320, 240));
        let mut scanner = JpegScanner::new();
        let (used, progress) = scanner.feed(&two[2..]);
        assert_eq!((used, progress), (first_len, Progress::End));
        assert!(!scanner.facts().has_end);
    }

    proptest::proptest! {
        #[test]
        fn any_cut_gives_the_same(cut in 0usize..64) {
            let picture = fixtures::picture(1280, 720);
            let cut = 2 + cut % (picture.len() - 2);
            let mut scanner = JpegScanner::new();
            let (used, progress) = scanner.feed(&picture[2..cut]);
            proptest::prop_assert_eq!((used, progress), (cut - 2, Progress::More));
            let (used, progress) = scanner.feed(&picture[cut..]);
            proptest::prop_assert_eq!((used, progress), (picture.len() - cut, Progress::End));
            proptest::prop_assert_eq!(Some(scanner.facts()), facts(&picture));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut scanner = JpegScanner::new();
            let (used, _) = scanner.feed(&bytes);
            proptest::prop_assert!(used <= bytes.len());
            let _ = facts(&bytes);
        }
    }
}
