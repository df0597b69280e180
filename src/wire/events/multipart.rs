//! A body on its way in: the texts are kept, pictures are passed over as they come. Multipart bodies
//! (RFC 2046) are read as firmware writes them: CRLF or LF alone, boundaries with dashes too many or
//! too few, parts without a type or without the blank line behind their header.

use super::squeeze::Squeeze;

/// All texts of one message together, bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Texts of one message.
const TEXTS_MAX: usize = 16;
/// A header line, or the beginning of a line that may be a delimiter, bytes.
const LINE_BYTES_MAX: usize = 512;
/// RFC 2046, section 5.1.1, and the dashes that firmware adds.
const BOUNDARY_BYTES_MAX: usize = 80;

/// What is left of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    pub texts: Vec<Vec<u8>>,
    pub has_picture: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has come yet.
    Start,
    /// Not multipart: one text to the end.
    Single,
    Preamble,
    Header,
    Text,
    /// A part, or a whole body, that is no text.
    Skipped,
}

/// Takes a body in pieces of any size.
#[derive(Debug)]
pub struct Intake {
    place: Place,
    /// Without leading dashes; empty for a body that is not multipart.
    boundary: Vec<u8>,
    /// The beginning of the line that is being read; bounded.
    line: Vec<u8>,
    /// The line goes on beyond what was kept of it, or cannot be a delimiter.
    is_plain_line: bool,
    /// The name of the field that this part is, in a form.
    name: Option<String>,
    is_binary: bool,
    squeeze: Squeeze,
    text: Vec<u8>,
    bytes_left: usize,
    /// Fields of a form, one `name=text` to a line.
    form: Vec<u8>,
    taken: Taken,
}

impl Intake {
    /// `content_type` as the header says it; it may be missing or wrong.
    pub fn new(content_type: &str) -> Self {
        let boundary = boundary(content_type).unwrap_or_default();
        let is_picture = is_binary(content_type);
        Self {
            place: match () {
                () if !boundary.is_empty() => Place::Preamble,
                () if is_picture => Place::Skipped,
                () => Place::Start,
            },
            boundary: boundary.into_bytes(),
            line: Vec::new(),
            is_plain_line: false,
            name: None,
            is_binary: false,
            squeeze: Squeeze::default(),
            text: Vec::new(),
            bytes_left: TEXT_BYTES_MAX,
            form: Vec::new(),
            taken: Taken {
                has_picture: is_picture,
                ..Taken::default()
            },
        }
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        if self.place == Place::Start {
            let Some(first) = bytes.first() else { return };
            self.place = match first {
                0xff => {
                    self.taken.has_picture = true;
                    Place::Skipped
                }
                // Multipart that nobody announced: its first line is the boundary.
                b'-' => Place::Preamble,
                _ => Place::Single,
            };
        }
        match self.place {
            Place::Single => self.keep(bytes),
            Place::Skipped if self.boundary.is_empty() => {}
            _ => {
                while !bytes.is_empty() {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |e| e + 1));
                    self.piece(piece);
                    if end.is_some() {
                        self.end_of_line();
                    }
                    bytes = rest;
                }
            }
        }
    }

    pub fn finish(mut self) -> Taken {
        match self.place {
            Place::Preamble | Place::Header | Place::Text | Place::Skipped => {
                self.end_of_line();
                self.end_of_part();
            }
            Place::Start | Place::Single => self.end_of_part(),
        }
        if !self.form.is_empty() {
            self.taken.texts.push(self.form);
        }
        self.taken
    }

    /// A piece of one line; with its end, if that is in it.
    fn piece(&mut self, piece: &[u8]) {
        if self.is_plain_line {
            return self.content(piece);
        }
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        let (head, rest) = piece.split_at(piece.len().min(room));
        self.line.extend_from_slice(head);
        let may_be_delimiter = self.line.starts_with(b"--") || self.line == b"-";
        let is_of_header = matches!(self.place, Place::Header | Place::Preamble);
        if !rest.is_empty() || (!may_be_delimiter && !is_of_header) {
            self.is_plain_line = true;
            let line = std::mem::take(&mut self.line);
            self.content(&line);
            self.content(rest);
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_plain_line) {
            return;
        }
        let bare = line.trim_ascii_end();
        if self.is_delimiter(bare) {
            self.end_of_part();
            self.place = match bare.strip_suffix(b"--") {
                // What follows the last part is none.
                Some(rest) if rest.ends_with(&self.boundary) => Place::Preamble,
                _ => Place::Header,
            };
            return;
        }
        match self.place {
            Place::Header if bare.is_empty() => self.begin_body(),
            Place::Header => match header(bare) {
                Some((name, value)) => self.header(name, value),
                // The blank line is missing: this is the body already.
                None => {
                    self.begin_body();
                    self.content(&line);
                }
            },
            _ => self.content(&line),
        }
    }

    fn is_delimiter(&mut self, line: &[u8]) -> bool {
        let Some(rest) = line.strip_prefix(b"--") else {
            return false;
        };
        let dashes = rest.iter().take_while(|b| **b == b'-').count();
        let rest = rest.get(dashes..).unwrap_or_default();
        if self.boundary.is_empty() && self.place == Place::Preamble {
            let is_one = (1..=BOUNDARY_BYTES_MAX).contains(&rest.len());
            self.boundary = if is_one { rest.to_vec() } else { Vec::new() };
            return is_one;
        }
        let own = self.boundary.as_slice();
        !own.is_empty()
            && rest
                .strip_prefix(own)
                .is_some_and(|end| end.is_empty() || end == b"--")
    }

    fn header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("content-type") {
            self.is_binary |= is_binary(value);
        } else if name.eq_ignore_ascii_case("content-disposition") {
            self.name = parameter(value, "name");
            let file = parameter(value, "filename").unwrap_or_default();
            let file = file.to_ascii_lowercase();
            self.is_binary |= [".jpg", ".jpeg", ".png", ".mp4"]
                .iter()
                .any(|e| file.ends_with(e));
        }
    }

    fn begin_body(&mut self) {
        self.place = match self.is_binary {
            true => Place::Skipped,
            false => Place::Text,
        };
        self.taken.has_picture |= self.is_binary;
    }

    fn content(&mut self, bytes: &[u8]) {
        match self.place {
            Place::Text if self.text.is_empty() && bytes.first() == Some(&0xff) => {
                self.taken.has_picture = true;
                self.place = Place::Skipped;
            }
            Place::Text => self.keep(bytes),
            // A long line where a header should be.
            Place::Header => self.begin_body(),
            _ => {}
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.squeeze.push(bytes, &mut self.text, self.bytes_left);
    }

    fn end_of_part(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.bytes_left = self.bytes_left.saturating_sub(text.len());
        self.squeeze = Squeeze::default();
        self.is_binary = false;
        let name = self.name.take();
        let is_text = text.iter().any(|b| !b.is_ascii_whitespace() && *b != 0);
        let bare = text.trim_ascii();
        let is_field = !bare.contains(&b'\n')
            && !bare.contains(&b'=')
            && !bare.starts_with(b"{")
            && !bare.starts_with(b"[")
            && !bare.starts_with(b"<");
        match name {
            _ if !is_text => {}
            Some(name) if is_field => {
                self.form.extend_from_slice(name.as_bytes());
                self.form.push(b'=');
                self.form.extend_from_slice(bare);
                self.form.push(b'\n');
            }
            _ if self.taken.texts.len() < TEXTS_MAX => self.taken.texts.push(text),
            _ => {}
        }
    }
}

/// The boundary of a multipart type, without its leading dashes.
fn boundary(content_type: &str) -> Option<String> {
    let is_multipart = content_type
        .trim_start()
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let boundary = parameter(content_type, "boundary").filter(|_| is_multipart)?;
    let bare = boundary.trim_start_matches('-').to_owned();
    (1..=BOUNDARY_BYTES_MAX)
        .contains(&bare.len())
        .then_some(bare)
}

/// A parameter of a header's value, quoted or not.
fn parameter(value: &str, name: &str) -> Option<String> {
    let found = value.split(';').skip(1).find_map(|part| {
        let (key, text) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(text)
    })?;
    let text = found.trim().trim_matches('"');
    (!text.is_empty()).then(|| text.chars().take(100).collect())
}

fn is_binary(content_type: &str) -> bool {
    let kind = content_type.trim().to_ascii_lowercase();
    ["image/", "video/", "audio/", "application/octet-stream"]
        .iter()
        .any(|start| kind.starts_with(start))
}

/// `Name: value`, with a name that a header may have.
fn header(line: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_name.then_some((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(content_type: &str, body: &[u8], piece: usize) -> (Vec<String>, bool) {
        let mut intake = Intake::new(content_type);
        body.chunks(piece).for_each(|piece| intake.push(piece));
        let taken = intake.finish();
        let text = |t: &Vec<u8>| String::from_utf8_lossy(t).trim().to_owned();
        (taken.texts.iter().map(text).collect(), taken.has_picture)
    }

    /// However the network cuts it.
    #[track_caller]
    fn check(content_type: &str, body: &[u8], texts: &[&str], has_picture: bool) {
        for piece in [1, 2, 3, 7, 4096] {
            let (found, picture) = taken(content_type, body, piece);
            assert_eq!(found, texts, "in pieces of {piece}");
            assert_eq!(picture, has_picture, "in pieces of {piece}");
        }
    }

    #[test]
    fn texts_and_pictures() {
        let body = b"preamble\r\n--b1\r\nContent-Type: application/xml\r\n\r\n<a>1</a>\r\n--b1\r\nContent-Disposition: form-data; name=\"p\"; filename=\"x.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8--\n--b2\n\xff\xd9\r\n--b1--\r\nepilogue";
        check(
            "multipart/form-data; boundary=b1",
            body,
            &["<a>1</a>"],
            true,
        );
        let quoted = "Multipart/Mixed; charset=x; boundary=\"--b1\"";
        check(quoted, body, &["<a>1</a>"], true);
    }

    #[test]
    fn as_firmware_writes_them() {
        let lf = b"--my\nContent-Type: text/plain\nContent-Length: 9\n\nCode=A;action=Start\n--my\nContent-Type: text/plain\nCode=B;action=Stop\n--my--\n";
        check(
            "multipart/x-mixed-replace; boundary=my",
            lf,
            &["Code=A;action=Start", "Code=B;action=Stop"],
            false,
        );
        // Nobody announced it, and the picture has no type.
        let bare = b"--x9\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n{\"a\":1}\r\n--x9\r\n\r\n\xff\xd8\xff\xe0 \r\n--x9--";
        check("", bare, &["{\"a\":1}"], true);
        let form = b"--f\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\nmotion\r\n--f\r\nContent-Disposition: form-data; name=\"ch\"\r\n\r\n2\r\n--f--\r\n";
        check(
            "multipart/form-data; boundary=f",
            form,
            &["event=motion\nch=2"],
            false,
        );
        check("multipart/form-data; boundary=f", b"--f--\r\n", &[], false);
    }

    #[test]
    fn bodies_of_one_part() {
        check("text/plain", b"a=1\n--b\nc", &["a=1\n--b\nc"], false);
        check("image/jpeg", b"\xff\xd8\xff", &[], true);
        check("", b"\xff\xd8\xff", &[], true);
        check(
            "application/json",
            b"{\"a\":\"--\"}",
            &["{\"a\":\"--\"}"],
            false,
        );
        check("", b"", &[], false);
    }

    #[test]
    fn memory_is_bounded() {
        let mut intake = Intake::new("multipart/form-data; boundary=b");
        for _ in 0..200 {
            intake.push(b"--b\r\n\r\n");
            (0..2000).for_each(|_| intake.push(b"a b c d e f g h i j k l"));
            intake.push(b"\r\n");
        }
        let taken = intake.finish();
        let sum: usize = taken.texts.iter().map(Vec::len).sum();
        assert!(
            sum <= TEXT_BYTES_MAX && taken.texts.len() <= TEXTS_MAX,
            "{sum}"
        );
    }

    proptest::proptest! {
        #[test]
        fn pieces_do_not_matter(body in "(--b|\r\n|\n|-|:|a|x: y|\\{|\u{ff}|b--){0,40}", piece in 1usize..9) {
            let kind = "multipart/mixed; boundary=b";
            proptest::prop_assert_eq!(taken(kind, body.as_bytes(), piece), taken(kind, body.as_bytes(), 4096));
        }

        #[test]
        fn no_bytes_panic(kind in "(multipart/[a-z]{0,4}; ?boundary=[-\"a-c]{0,5})?", body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = taken(&kind, &body, 5);
        }
    }
}
