//! Texts with pictures inside: long runs of Base64 are cut while they come, so that a message of 16 MiB
//! is held in as many bytes as it says something.

/// Base64 characters in a row that are kept: enough for any token or name.
const RUN_MAX: usize = 512;

/// Lets a text through without what is too long to be one; JSON, XML and forms stay what they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Squeeze {
    run: usize,
    is_escape: bool,
}

impl Squeeze {
    /// Appends to `out`, up to `bytes_max` in all.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>, bytes_max: usize) {
        for byte in bytes {
            let is_base64 = byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte);
            let is_kept = match is_base64 {
                false => {
                    self.run = 0;
                    true
                }
                // Half an escape of JSON would take the closing quote with it.
                true if self.is_escape => {
                    self.run += 1;
                    true
                }
                true if *byte == b'\\' => self.run < RUN_MAX,
                true => {
                    self.run += 1;
                    self.run <= RUN_MAX
                }
            };
            self.is_escape = is_kept && *byte == b'\\' && !self.is_escape;
            if is_kept && out.len() < bytes_max {
                out.push(*byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(text: &str) -> String {
        let mut out = Vec::new();
        let mut squeeze = Squeeze::default();
        // In pieces, as it comes.
        text.as_bytes()
            .chunks(7)
            .for_each(|piece| squeeze.push(piece, &mut out, 4096));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pictures_go_and_json_stays() {
        for picture in ["QUJD".repeat(50_000), "\\/9j\\/".repeat(30_000)] {
            let text = format!("{{\"a\": 1, \"Data\": \"{picture}\", \"b\": \"two\"}}");
            let value: serde_json::Value = serde_json::from_str(&squeezed(&text)).unwrap();
            assert_eq!(value["b"], "two");
            assert!(value["Data"].as_str().unwrap().len() <= RUN_MAX + 1);
        }
        let short = "{\"token\": \"abc\\\"def\", \"n\": [1, 2]}";
        assert_eq!(squeezed(short), short);
    }

    #[test]
    fn nothing_beyond_the_limit() {
        assert_eq!(squeezed(&"a b ".repeat(10_000)).len(), 4096);
    }
}
