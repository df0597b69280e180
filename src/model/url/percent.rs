//! Percent escapes, and the hash that stands for a password in some URLs.

use std::fmt::Write as _;

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Decodes percent escapes; a `%` that starts none stays as it is (people paste raw passwords).
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escape = (bytes[i] == b'%')
            .then(|| bytes.get(i + 1..i + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escape.unwrap_or(bytes[i]));
        i += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Xiongmai's eight-character password hash (MD5, pairs of bytes folded to `0-9A-Za-z`).
pub fn sofia_hash(password: &str) -> String {
    use md5::{Digest as _, Md5};
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Md5::digest(password.as_bytes());
    let fold =
        |pair: &[u8]| char::from(ALPHABET[(usize::from(pair[0]) + usize::from(pair[1])) % 62]);
    digest.chunks_exact(2).map(fold).collect()
}
