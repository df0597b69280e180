use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in wall time: milliseconds since the Unix epoch, UTC. RFC 3339 with
/// milliseconds in JSON (`2026-11-23T10:00:00.250Z`); the fraction is left out when it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn from_unix_s(seconds: i64) -> Self {
        Self(seconds * 1000)
    }

    pub const fn unix_s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// `self - earlier` in milliseconds, zero when the clock went backwards.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        let delta = self.0.saturating_sub(earlier.0);
        if delta < 0 { 0 } else { delta as u64 }
    }

    /// Parses RFC 3339, or a whole number of seconds since the Unix epoch.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse::<i64>() {
            return Some(Self::from_unix_s(seconds));
        }
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|t| Self(t.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => fmt::Display::fmt(&t, f),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let t = Timestamp(1_763_892_000_250);
        assert_eq!(t.to_string(), "2025-11-23T10:00:00.25Z");
        assert_eq!(Timestamp::parse(&t.to_string()), Some(t));
        assert_eq!(
            Timestamp::from_unix_s(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
        assert_eq!(Timestamp::parse("60"), Some(Timestamp(60_000)));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
