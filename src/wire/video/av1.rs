//! Where frames of AV1 begin, and what they say (RTP payload format for AV1, section 4; AV1 bitstream
//! specification sections 5.3 to 5.9).

use super::vpx::Piece;
use crate::wire::bits::Bits;

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// One payload; `None` where it makes no sense. A key frame counts with its sequence header only.
pub(super) fn av1(payload: &[u8]) -> Option<Piece> {
    let (&aggregation, mut rest) = payload.split_first()?;
    let continues = aggregation & 0x80 != 0;
    let count = usize::from(aggregation >> 4 & 3);
    let mut piece = Piece::default();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        // With a count, the last element goes to the end; without one, each has its length.
        let (element, after) = match number == count {
            true => (rest, &[][..]),
            false => {
                let (length, after) = leb128(rest)?;
                after.split_at_checked(length)?
            }
        };
        rest = after;
        if !(continues && number == 1) {
            read(element, &mut piece)?;
        }
    }
    Some(piece)
}

/// Reads one open bitstream unit as far as it goes.
fn read(unit: &[u8], piece: &mut Piece) -> Option<()> {
    let (&header, mut body) = unit.split_first()?;
    if header & 0x04 != 0 {
        let (&extension, after) = body.split_first()?;
        body = after;
        if extension >> 3 & 3 != 0 {
            return Some(()); // a higher spatial layer of the same picture
        }
    }
    if header & 0x02 != 0 {
        body = leb128(body)?.1;
    }
    match header >> 3 & 0x0f {
        SEQUENCE_HEADER => piece.size = Some(size(body)?),
        FRAME_HEADER | FRAME => {
            let mut bits = Bits::new(body);
            let shows_existing = bits.flag()?;
            let is_key = !shows_existing && bits.number(2)? == 0;
            piece.begins = true;
            piece.is_key |= is_key && piece.size.is_some();
        }
        _ => {}
    }
    Some(())
}

/// Little endian, seven bits in a byte (AV1 section 4.10.5), at most four bytes.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// Largest width and height by a sequence header (AV1 section 5.5).
fn size(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(body);
    bits.number(3)?; // profile
    bits.bit()?; // still picture
    let is_reduced = bits.flag()?;
    match is_reduced {
        true => drop(bits.number(5)?),
        false => operating_points(&mut bits)?,
    }
    let width_bits = bits.number(4)? + 1;
    let height_bits = bits.number(4)? + 1;
    Some((bits.number(width_bits)? + 1, bits.number(height_bits)? + 1))
}

fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.number(32)?; // units in a tick
        bits.number(32)?; // time scale
        if bits.flag()? {
            bits.exp_golomb()?; // ticks in a picture: written as in H.264
        }
        if bits.flag()? {
            delay_bits = Some(bits.number(5)? + 1);
            bits.number(32)?; // units in a decoding tick
            bits.number(10)?; // lengths of two more fields
        }
    }
    let has_display_delay = bits.flag()?;
    let points = bits.number(5)? + 1;
    for _ in 0..points {
        bits.number(12)?; // layers
        let level = bits.number(5)?;
        if level > 7 {
            bits.bit()?; // tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.number(delay_bits)?;
            bits.number(delay_bits)?;
            bits.bit()?;
        }
        if has_display_delay && bits.flag()? {
            bits.number(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libaom writes it for 640 x 480.
    const SEQUENCE: [u8; 14] = [
        0x08, 0x20, 0x00, 0x00, 0x24, 0xc4, 0xff, 0xdf, 0x36, 0xbe, 0x48, 0x08, 0x68, 0x01,
    ];
    /// A frame: key, shown.
    const KEY: [u8; 3] = [0x30, 0x10, 0];
    const INTER: [u8; 3] = [0x30, 0x30, 0];

    fn with_length(unit: &[u8]) -> Vec<u8> {
        [&[unit.len() as u8][..], unit].concat()
    }

    #[test]
    fn key_frames_come_with_their_sequence() {
        let lengths = [&[0x08][..], &with_length(&SEQUENCE), &with_length(&KEY)].concat();
        let counted = [&[0x28][..], &with_length(&SEQUENCE), &KEY].concat();
        for payload in [lengths, counted] {
            let piece = av1(&payload).unwrap();
            assert!(piece.begins && piece.is_key);
            assert_eq!(piece.size, Some((640, 480)));
        }
        let alone = av1(&[&[0x10][..], &KEY].concat()).unwrap();
        assert_eq!((alone.begins, alone.is_key), (true, false));
        let inter = av1(&[&[0x20][..], &with_length(&SEQUENCE), &INTER].concat()).unwrap();
        assert_eq!((inter.begins, inter.is_key), (true, false));
    }

    #[test]
    fn what_continues_begins_nothing() {
        let rest = av1(&[&[0x90][..], &KEY].concat()).unwrap();
        assert_eq!(rest, Piece::default());
        assert_eq!(av1(&[0x00, 0x7f, 1]), None);
        assert_eq!(av1(&[0x10]), Some(Piece::default()));
    }

    proptest::proptest! {
        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = av1(&bytes);
            let _ = av1(&[&[0x10, 0x08][..], &bytes].concat());
        }
    }
}
