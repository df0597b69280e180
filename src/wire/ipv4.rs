//! UDP in IPv4 in Ethernet (RFC 768, RFC 791), as a packet socket sees it: answers that the IP layer
//! throws away, put together where they come in fragments.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::Mac;

/// EtherType of IPv4.
pub const ETHERTYPE: u16 = 0x0800;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Bits of the fragment field that hold the offset, in units of eight bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

const MORE_FRAGMENTS: u16 = 0x2000;
const ETHERNET_BYTES: usize = 14;
const UDP_BYTES: usize = 8;
/// Datagrams in pieces that are held at the same time; the oldest goes first.
const OPEN_MAX: usize = 16;
/// No answer of a device is larger.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// A real sender cuts a datagram of that size into a dozen.
const PIECES_MAX: usize = 48;

/// One datagram of UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Hardware address of the sender, or of the router before it.
    pub mac: Mac,
    pub from: SocketAddrV4,
    pub to_port: u16,
    pub payload: Vec<u8>,
}

/// A frame's part of a datagram.
struct Piece<'f> {
    mac: Mac,
    key: Key,
    offset: usize,
    is_last: bool,
    bytes: &'f [u8],
}

/// What makes fragments one datagram (RFC 791 section 3.2; the protocol is UDP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    from: Ipv4Addr,
    to: Ipv4Addr,
    id: u16,
}

#[derive(Debug)]
struct Open {
    key: Key,
    mac: Mac,
    pieces: Vec<(usize, Vec<u8>)>,
    /// Known once the last piece is there.
    total: Option<usize>,
}

/// Reads frames; holds at most [`OPEN_MAX`] datagrams of [`DATAGRAM_BYTES_MAX`] bytes that are not whole.
#[derive(Debug, Default)]
pub struct Reader {
    open: Vec<Open>,
}

impl Reader {
    /// The datagram that this frame is, or makes whole. Checksums are not looked at: a packet socket
    /// sees those that the network card still has to fill in.
    pub fn read(&mut self, frame: &[u8]) -> Option<Datagram> {
        let piece = piece(frame)?;
        if piece.offset == 0 && piece.is_last {
            return udp(piece.mac, piece.key.from, piece.bytes);
        }
        let end = piece.offset + piece.bytes.len();
        if end > DATAGRAM_BYTES_MAX || piece.bytes.is_empty() {
            return None;
        }
        let index = self.slot(&piece);
        let open = self.open.get_mut(index)?;
        if piece.is_last {
            open.total = Some(end);
        }
        if open.pieces.len() < PIECES_MAX && !open.pieces.iter().any(|(at, _)| *at == piece.offset)
        {
            open.pieces.push((piece.offset, piece.bytes.to_vec()));
        }
        let whole = joined(open)?;
        let done = self.open.remove(index);
        udp(done.mac, done.key.from, &whole)
    }

    fn slot(&mut self, piece: &Piece<'_>) -> usize {
        if let Some(index) = self.open.iter().position(|open| open.key == piece.key) {
            return index;
        }
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(Open {
            key: piece.key,
            mac: piece.mac,
            pieces: Vec::new(),
            total: None,
        });
        self.open.len() - 1
    }
}

/// The pieces one after the other, when none is missing. Overlaps are forgeries and never whole.
fn joined(open: &mut Open) -> Option<Vec<u8>> {
    let total = open.total?;
    open.pieces.sort_by_key(|(at, _)| *at);
    let mut whole = Vec::with_capacity(total);
    for (at, bytes) in &open.pieces {
        if *at != whole.len() {
            return None;
        }
        whole.extend_from_slice(bytes);
    }
    (whole.len() == total).then_some(whole)
}

fn piece(frame: &[u8]) -> Option<Piece<'_>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_BYTES)?;
    if ethernet.get(12..14)? != ETHERTYPE.to_be_bytes() {
        return None;
    }
    let mac = Mac(ethernet.get(6..12)?.try_into().ok()?);
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let length = usize::from(word(packet, 2)?);
    if first >> 4 != 4 || header < 20 || length < header || *packet.get(9)? != UDP {
        return None;
    }
    let fragment = word(packet, 6)?;
    let ip = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some(Piece {
        mac,
        key: Key {
            from: ip(12)?,
            to: ip(16)?,
            id: word(packet, 4)?,
        },
        offset: usize::from(fragment & OFFSET_MASK) * 8,
        is_last: fragment & MORE_FRAGMENTS == 0,
        bytes: packet.get(header..length)?,
    })
}

fn udp(mac: Mac, from: Ipv4Addr, bytes: &[u8]) -> Option<Datagram> {
    let length = usize::from(word(bytes, 4)?);
    Some(Datagram {
        mac,
        from: SocketAddrV4::new(from, word(bytes, 0)?),
        to_port: word(bytes, 2)?,
        payload: bytes.get(UDP_BYTES..length)?.to_vec(),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMERA: Mac = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
    const FACTORY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 64);

    fn frame(id: u16, fragment: u16, part: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1];
        frame.extend(CAMERA.0);
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend([0x45, 0]);
        frame.extend((20 + part.len() as u16).to_be_bytes());
        frame.extend(id.to_be_bytes());
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, UDP, 0, 0]);
        frame.extend(FACTORY.octets());
        frame.extend([10, 77, 0, 1]);
        frame.extend(part);
        frame
    }

    fn segment(to_port: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = 3702_u16.to_be_bytes().to_vec();
        bytes.extend(to_port.to_be_bytes());
        bytes.extend((8 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        bytes
    }

    /// A datagram of a camera with its factory address, in one frame.
    pub fn datagram(to_port: u16, payload: &[u8]) -> Vec<u8> {
        frame(1, 0, &segment(to_port, payload))
    }

    /// The same in pieces of 1,480 bytes.
    pub fn fragments(to_port: u16, payload: &[u8]) -> Vec<Vec<u8>> {
        let all = segment(to_port, payload);
        let cut = |(n, part): (usize, &[u8])| {
            let more = if (n + 1) * 1480 < all.len() {
                MORE_FRAGMENTS
            } else {
                0
            };
            frame(7, (n * 185) as u16 | more, part)
        };
        all.chunks(1480).enumerate().map(cut).collect()
    }

    #[test]
    fn one_frame_is_one_datagram() {
        let mut padded = datagram(37810, b"answer");
        padded.extend([0; 10]);
        let seen = Reader::default().read(&padded).unwrap();
        assert_eq!(seen.mac, CAMERA);
        assert_eq!(seen.from, SocketAddrV4::new(FACTORY, 3702));
        assert_eq!((seen.to_port, &seen.payload[..]), (37810, &b"answer"[..]));
    }

    #[test]
    fn fragments_make_one_datagram_in_any_order() {
        let payload: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
        let mut parts = fragments(37810, &payload);
        for _ in 0..parts.len() {
            parts.rotate_left(1);
            let mut reader = Reader::default();
            let mut whole = Vec::new();
            for part in &parts {
                whole.extend(reader.read(part));
                whole.extend(reader.read(part));
            }
            assert_eq!(whole.len(), 1);
            assert_eq!(whole[0].payload, payload);
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut reader = Reader::default();
        for id in 0..1000 {
            assert_eq!(reader.read(&frame(id, MORE_FRAGMENTS, &[1; 1480])), None);
        }
        assert_eq!(reader.open.len(), OPEN_MAX);
        let mut reader = Reader::default();
        for n in 0..1000 {
            assert_eq!(reader.read(&frame(1, MORE_FRAGMENTS | n, &[1; 8])), None);
        }
        assert_eq!(reader.open[0].pieces.len(), PIECES_MAX);
        assert_eq!(reader.read(&frame(1, OFFSET_MASK, &[1; 8])), None);
    }

    #[test]
    fn wrong_lengths_are_nothing() {
        let good = datagram(37810, b"answer");
        for (at, value) in [
            (12, 9),
            (14, 0x65),
            (14, 0x41),
            (17, 10),
            (23, 6),
            (39, 200),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Reader::default().read(&bad), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(frames in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..80), 0..8,
        )) {
            let mut reader = Reader::default();
            for frame in frames {
                let _ = reader.read(&frame);
            }
        }

        #[test]
        fn no_headers_panic(
            fragment in any::<u16>(), part in proptest::collection::vec(any::<u8>(), 0..64),
            cut in 0_usize..100,
        ) {
            let frame = frame(3, fragment, &part);
            let _ = Reader::default().read(&frame[..cut.min(frame.len())]);
        }
    }
}
