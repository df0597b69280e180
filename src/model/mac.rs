//! Hardware addresses.

use std::fmt;

/// An Ethernet address (EUI-48), printed as `44:19:b6:01:02:03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// One host's own address: neither a group's nor none at all.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: every line of a scan has some, and format strings cost ten times as much.
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (place, byte) in text.chunks_mut(3).zip(self.0) {
            if let [high, low, ..] = place {
                *high = DIGITS[usize::from(byte >> 4)];
                *low = DIGITS[usize::from(byte & 0xf)];
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_nothing_are_no_hosts() {
        let camera = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
        assert_eq!(camera.to_string(), "44:19:b6:01:02:03");
        assert!(camera.is_unicast());
        assert!(!Mac::BROADCAST.is_unicast() && !Mac([0; 6]).is_unicast());
        assert!(!Mac([1, 0, 0x5e, 0, 0, 1]).is_unicast());
    }
}
