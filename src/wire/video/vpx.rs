//! Where frames of VP8 and VP9 begin, and what their headers say (RFC 7741, RFC 9628; RFC 6386 section
//! 9.1, VP9 bitstream specification section 6.2).

use crate::wire::bits::Bits;

/// What one packet shows of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Piece {
    /// The frame begins here.
    pub begins: bool,
    pub is_key: bool,
    /// Width and height, pixels, where the header is here.
    pub size: Option<(u32, u32)>,
}

/// One payload of VP8; `None` where it makes no sense.
pub(super) fn vp8(payload: &[u8]) -> Option<Piece> {
    let (&descriptor, mut rest) = payload.split_first()?;
    if descriptor & 0x80 != 0 {
        let (&extended, after) = rest.split_first()?;
        rest = after;
        if extended & 0x80 != 0 {
            rest = picture_id(rest)?;
        }
        if extended & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extended & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    // Start of the first partition.
    let begins = descriptor & 0x17 == 0x10;
    let is_key = begins && rest.first()? & 1 == 0;
    let size = match rest {
        [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] if is_key => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        _ if is_key => return None,
        _ => None,
    };
    Some(Piece {
        begins,
        is_key,
        size,
    })
}

/// Seven or fifteen bits.
fn picture_id(rest: &[u8]) -> Option<&[u8]> {
    let bytes = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
    rest.get(bytes..)
}

/// One payload of VP9; `None` where it makes no sense.
pub(super) fn vp9(payload: &[u8]) -> Option<Piece> {
    let (&descriptor, mut rest) = payload.split_first()?;
    let has = |bit: u8| descriptor & bit != 0;
    let (is_predicted, is_flexible) = (has(0x40), has(0x10));
    if has(0x80) {
        rest = picture_id(rest)?;
    }
    let mut layer = 0;
    if has(0x20) {
        layer = rest.first()? >> 1 & 7;
        rest = rest.get(if is_flexible { 1 } else { 2 }..)?;
    }
    if is_flexible && is_predicted {
        let further = rest.iter().take(3).take_while(|b| **b & 1 != 0).count();
        rest = rest.get(further.min(2) + 1..)?;
    }
    if has(0x02) {
        rest = scalability(rest)?;
    }
    // Higher layers are parts of the same picture.
    if !has(0x08) || layer != 0 {
        return Some(Piece::default());
    }
    let size = match is_predicted {
        true => None,
        false => Some(vp9_key_size(rest)?),
    };
    Some(Piece {
        begins: true,
        is_key: size.is_some(),
        size,
    })
}

/// The scalability structure (RFC 9628 section 4.2.1).
fn scalability(rest: &[u8]) -> Option<&[u8]> {
    let (&head, mut rest) = rest.split_first()?;
    if head & 0x10 != 0 {
        let layers = usize::from(head >> 5) + 1;
        rest = rest.get(4 * layers..)?;
    }
    if head & 0x08 != 0 {
        let (&pictures, mut after) = rest.split_first()?;
        for _ in 0..pictures {
            let references = usize::from(after.first()? >> 2 & 3);
            after = after.get(1 + references..)?;
        }
        rest = after;
    }
    Some(rest)
}

/// Size by the uncompressed header of a key frame; `None` for other frames.
fn vp9_key_size(frame: &[u8]) -> Option<(u32, u32)> {
    const SYNC: u32 = 0x49_8342;
    const COLOUR_SPACE_RGB: u32 = 7;
    let mut bits = Bits::new(frame);
    if bits.number(2)? != 2 {
        return None;
    }
    let profile = bits.bit()? | bits.bit()? << 1;
    if profile == 3 {
        bits.bit()?;
    }
    let shows_existing = bits.flag()?;
    let is_inter = bits.flag()?;
    let _shown_and_resilient = bits.number(2)?;
    if shows_existing || is_inter || bits.number(24)? != SYNC {
        return None;
    }
    if profile >= 2 {
        bits.bit()?; // 10 or 12 bits
    }
    let is_odd = profile & 1 == 1;
    let more = match bits.number(3)? {
        COLOUR_SPACE_RGB => u32::from(is_odd),
        _ if is_odd => 4,
        _ => 1,
    };
    bits.number(more)?;
    Some((bits.number(16)? + 1, bits.number(16)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_key_frames_show_their_size() {
        // 320 x 240, behind a picture id of 15 bits.
        let header = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1];
        let key = Piece {
            begins: true,
            is_key: true,
            size: Some((320, 240)),
        };
        let plain = [&[0x10][..], &header].concat();
        assert_eq!(vp8(&plain), Some(key));
        let extended = [&[0x90, 0xf0, 0x81, 2, 3, 4][..], &header].concat();
        assert_eq!(vp8(&extended), Some(key));
        let inter = vp8(&[0x10, 0x11, 0, 0]).unwrap();
        assert_eq!((inter.begins, inter.is_key), (true, false));
        assert_eq!(vp8(&[0x00, 9, 9]), Some(Piece::default()));
        // Not the first partition.
        assert_eq!(vp8(&[0x11, 0]), Some(Piece::default()));
        assert_eq!(vp8(&[0x10, 0x10, 0, 0, 1, 2, 3]), None);
        assert_eq!(vp8(&[0x90, 0x80]), None);
    }

    /// Profile 0, 8 bits, 1280 x 720: 10 0 0, 0 0 1 0, sync, 001 0, 16 + 16 bits.
    const VP9_KEY: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0];

    #[test]
    fn vp9_key_frames_show_their_size() {
        let key = Piece {
            begins: true,
            is_key: true,
            size: Some((1280, 720)),
        };
        let plain = [&[0x08][..], &VP9_KEY].concat();
        assert_eq!(vp9(&plain), Some(key));
        // Picture id, layers, scalability structure with one size and one picture of one reference.
        let full = [
            &[0xaa, 0x80, 1, 0, 7, 0x18, 5, 0, 2, 0xd0, 1, 0x04, 1][..],
            &VP9_KEY,
        ]
        .concat();
        assert_eq!(vp9(&full), Some(key));
        // As libvpx writes it for 4:4:4.
        let odd = [
            0x08, 0xa2, 0x49, 0x83, 0x42, 0xe0, 0x4f, 0xf0, 0x2c, 0xf6, 0x04,
        ];
        assert_eq!(vp9(&odd), Some(key));
        let inter = vp9(&[0x48, 0x86, 0]).unwrap();
        assert_eq!((inter.begins, inter.is_key), (true, false));
        assert_eq!(vp9(&[0x00, 1]), Some(Piece::default()));
        assert_eq!(vp9(&[0x08, 0x00]), None);
    }

    #[test]
    fn the_second_layer_begins_no_picture() {
        let layer = [&[0x28, 0x02, 0][..], &VP9_KEY].concat();
        assert_eq!(vp9(&layer), Some(Piece::default()));
    }

    proptest::proptest! {
        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let _ = vp8(&bytes);
            let _ = vp9(&bytes);
        }
    }
}
