//! Conditional requests (RFC 9110 section 13) on camera records: `ETag: "r<revision>"`.

use hyper::header::{self, HeaderMap, HeaderName};

/// What a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever is there.
    Any,
    /// Tags of other making count as none.
    Revisions(Vec<u64>),
}

impl Tags {
    pub fn matches(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Revisions(list) => list.contains(&revision),
        }
    }

    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let revision = |tag: &str| {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = tag.strip_prefix("\"r")?.strip_suffix('"')?;
            inner.parse().ok()
        };
        Self::Revisions(text.split(',').take(16).filter_map(revision).collect())
    }
}

/// The conditions of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
}

impl Conditions {
    pub fn of(headers: &HeaderMap) -> Self {
        let read = |name: HeaderName| {
            let value = headers.get(name)?;
            // A condition that cannot be read must not pass for none.
            Some(value.to_str().map_or(Tags::Revisions(vec![]), Tags::parse))
        };
        Self {
            if_match: read(header::IF_MATCH),
            if_none_match: read(header::IF_NONE_MATCH),
        }
    }
}

/// The `ETag` of a record.
pub fn etag(revision: u64) -> String {
    format!("\"r{revision}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(Tags::parse(&etag(12)), Tags::Revisions(vec![12]));
        assert!(Tags::parse("W/\"r3\", \"r4\"").matches(4));
        assert!(Tags::parse(" * ").matches(9));
        for foreign in ["r3", "\"3\"", "", "\"r3", "\"abc\""] {
            assert!(!Tags::parse(foreign).matches(3), "{foreign}");
        }
    }

    #[test]
    fn an_unreadable_condition_matches_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(Conditions::of(&headers), Conditions::default());
        let value = hyper::header::HeaderValue::from_bytes(b"\"r\xff\"").unwrap();
        headers.insert(header::IF_MATCH, value);
        let tags = Conditions::of(&headers).if_match.unwrap();
        assert!(!tags.matches(1));
    }
}
