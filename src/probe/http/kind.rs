//! What an answer with status 200 is: cameras answer a wrong path, a wrong login or a wrong stream
//! type with 200 as well, so its first bytes count for more than what it calls itself.

use crate::model::ErrorCode;
use crate::wire::mjpeg::Framing;

/// As many bytes are looked at, if there are as many.
pub(super) const HEAD_BYTES_MIN: usize = 12;

/// True where the header alone says enough: the first part of a stream may be long in coming.
pub(super) fn is_multipart(content_type: &str) -> bool {
    starts_with_ignoring_case(content_type.as_bytes(), b"multipart/")
}

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Pictures(Framing),
    Flv,
    /// An HLS playlist.
    Playlist,
}

/// How to read it, or the code and the sentence that tell what else it is.
pub(super) fn of_body(content_type: &str, head: &[u8]) -> Result<Content, (ErrorCode, String)> {
    let pictures = |framing| Ok(Content::Pictures(framing));
    if head.starts_with(&[0xFF, 0xD8]) {
        return pictures(Framing::Bare);
    }
    if head.starts_with(b"FLV\x01") {
        return Ok(Content::Flv);
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let text = text.trim_ascii_start();
    if text.starts_with(b"--") {
        return pictures(Framing::Parts);
    }
    let not_yet = |what: &str| format!("answers with {what}, which is not read here yet");
    if text.starts_with(b"#EXTM3U") {
        return Ok(Content::Playlist);
    }
    let not_a_picture = |what: &str| {
        let sentence = format!("answers with {what}, not with a picture");
        Err((ErrorCode::Protocol, sentence))
    };
    match text.first() {
        None => return Err((ErrorCode::NoFrame, "answers with an empty body".to_owned())),
        Some(b'<') if is_web_page(content_type, text) => return not_a_picture("a web page"),
        Some(b'<') => return not_a_picture("an XML text"),
        Some(b'{' | b'[') => return not_a_picture("a JSON text"),
        Some(_) => {}
    }
    if let Some(what) = other_media(content_type, head) {
        return Err((ErrorCode::UnsupportedCodec, not_yet(what)));
    }
    let is_text = head
        .iter()
        .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    match is_text {
        true => not_a_picture("a text"),
        // A picture with something before it, or nothing that is known: the reader will tell.
        false => pictures(Framing::Bare),
    }
}

fn is_web_page(content_type: &str, text: &[u8]) -> bool {
    starts_with_ignoring_case(content_type.as_bytes(), b"text/html")
        || starts_with_ignoring_case(text, b"<!doctype")
        || starts_with_ignoring_case(text, b"<html")
}

fn other_media(content_type: &str, head: &[u8]) -> Option<&'static str> {
    let by_bytes = [
        (0, &b"\x89PNG"[..], "a PNG picture"),
        (0, b"GIF8", "a GIF picture"),
        (8, b"WEBP", "a WebP picture"),
        (4, b"ftyp", "an MP4 stream"),
    ];
    let named = by_bytes.into_iter().find_map(|(at, magic, name)| {
        let rest = head.get(at..)?;
        rest.starts_with(magic).then_some(name)
    });
    let is_video = || starts_with_ignoring_case(content_type.as_bytes(), b"video/");
    named.or_else(|| is_video().then_some("a video stream of another kind"))
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_for_more_than_names() {
        assert_eq!(
            of_body("text/plain", b"\xFF\xD8\xFF\xE0"),
            Ok(Content::Pictures(Framing::Bare))
        );
        assert_eq!(
            of_body("image/jpeg", b"\0\0\0\x01\xFF\xD8"),
            Ok(Content::Pictures(Framing::Bare))
        );
        assert_eq!(
            of_body("", b"\r\n--frame\r\nContent-Type: image/jpeg"),
            Ok(Content::Pictures(Framing::Parts))
        );
        assert_eq!(of_body("text/html", b"FLV\x01\x05"), Ok(Content::Flv));
        assert_eq!(of_body("text/plain", b"#EXTM3U\n"), Ok(Content::Playlist));
        assert!(is_multipart("Multipart/x-mixed-replace;boundary=x"));
        assert!(!is_multipart("multi"));
    }

    #[test]
    fn what_is_no_picture_is_named() {
        use ErrorCode::{NoFrame, Protocol, UnsupportedCodec};
        for (content_type, head, code, word) in [
            ("text/html", &b"<html>"[..], Protocol, "a web page"),
            (
                "image/jpeg",
                b"\xEF\xBB\xBF <!DOCTYPE html>",
                Protocol,
                "a web page",
            ),
            ("text/xml", b"<?xml version", Protocol, "an XML text"),
            ("image/jpeg", b"{\"error\":1}", Protocol, "a JSON text"),
            ("text/plain", b"error: 5", Protocol, "a text"),
            ("", b"\0\0\0\x18ftypisom", UnsupportedCodec, "MP4"),
            ("image/png", b"\x89PNG\r\n", UnsupportedCodec, "PNG"),
            (
                "video/mp2t",
                b"G@\0\x10\0\xB0",
                UnsupportedCodec,
                "video stream",
            ),
            ("image/jpeg", b"", NoFrame, "empty"),
        ] {
            let (got, sentence) = of_body(content_type, head).unwrap_err();
            assert_eq!(got, code, "{sentence}");
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
