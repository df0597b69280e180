//! Query strings and path segments.

use super::problem::FieldError;
use super::strict::{not_integer, not_one_of, unknown_name};

/// The parameters of a request, read one by one; what nobody asked for is a mistake.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Takes `a=1&b=two+words` apart. A bad escape stays as it is.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |t: &str| percent_decode(&t.replace('+', " "));
            (plain(name), plain(value))
        });
        Self {
            pairs: pairs.collect(),
            ..Self::default()
        }
    }

    /// The last value of this name; empty counts as absent.
    pub fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let value = self.pairs.iter().rev().find(|(n, _)| n == name);
        value.map(|(_, v)| v.clone()).filter(|v| !v.is_empty())
    }

    /// Those that were asked for.
    #[cfg(test)]
    pub(super) fn names(self) -> Vec<&'static str> {
        self.known
    }

    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(name, message));
    }

    pub fn integer(&mut self, name: &'static str, min: u32, max: u32) -> Option<u32> {
        let text = self.take(name)?;
        let number = digits(&text).filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.error(name, not_integer(min, max));
        }
        number
    }

    /// `true` or `1`; a bare name (`?wait`) is true too.
    pub fn flag(&mut self, name: &'static str) -> bool {
        if self.pairs.iter().any(|(n, v)| n == name && v.is_empty()) {
            self.known.push(name);
            return true;
        }
        match self.take(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => {
                self.error(name, "must be true or false");
                false
            }
        }
    }

    /// One of these names.
    pub fn choice(&mut self, name: &'static str, names: &[&'static str]) -> Option<&'static str> {
        let given = self.take(name)?;
        let found = names.iter().copied().find(|n| *n == given);
        if found.is_none() {
            self.error(name, not_one_of(&given, names.iter().copied()));
        }
        found
    }

    /// Every mistake, the unknown parameters included.
    pub fn finish(mut self) -> Vec<FieldError> {
        for (name, _) in self.pairs.iter().take(32) {
            if !self.known.contains(&name.as_str()) {
                let shown: String = name.chars().take(40).collect();
                let message = unknown_name(name, self.known.iter().copied());
                self.errors.push(FieldError::new(shown, message));
            }
        }
        self.errors
    }
}

/// A number written in digits alone.
pub fn digits(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Decodes `%41`; what is no escape, or would be no UTF-8, stays as it is.
pub fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'%')
            .then(|| after.split_at_checked(2))
            .flatten()
            .and_then(|(hex, tail)| Some((hex_byte(hex)?, tail)));
        let (byte, tail) = escape.unwrap_or((*first, after));
        out.push(byte);
        rest = tail;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn hex_byte(hex: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let value = digit(hex.first()?)? * 16 + digit(hex.get(1)?)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_complains() {
        let mut query = Query::parse("limit=5&q=front+door%20%C3%A9&helth=good&wait=maybe");
        assert_eq!(query.integer("limit", 1, 1000), Some(5));
        assert_eq!(query.take("q").as_deref(), Some("front door é"));
        assert_eq!(query.choice("health", &["good", "fair"]), None);
        assert!(!query.flag("wait"));
        let fields: Vec<String> = query.finish().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["wait", "helth"]);
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(digits("12"), Some(12));
        for bad in ["", "+1", "-1", "1 ", "4294967296", "1e3"] {
            assert_eq!(digits(bad), None, "{bad}");
        }
        let mut query = Query::parse("limit=0");
        assert_eq!(query.integer("limit", 1, 1000), None);
        assert_eq!(query.finish().len(), 1);
    }

    #[test]
    fn bad_escapes_stay() {
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
        assert_eq!(percent_decode("%ff"), "%ff");
        assert_eq!(percent_decode("tp%2Dlink"), "tp-link");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,64}") {
            let _ = Query::parse(&text).finish();
        }
    }
}
