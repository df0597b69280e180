//! Transport streams made by hand.

use super::{PACKET_BYTES, SYNC};

pub(crate) const PMT_PID: u16 = 0x1000;
pub(crate) const VIDEO_PID: u16 = 0x100;
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x32, 0xac, 0xd9, 0x40, 0x28, 0x00, 0xb5, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00,
    0x01, 0x00, 0x00, 0x03, 0x00, 0x1e, 0x0f, 0x18, 0x31, 0x96,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// Writes packets with rising continuity counters.
#[derive(Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
    pub counters: std::collections::BTreeMap<u16, u8>,
    /// Bytes before and behind each packet.
    pub around: (usize, usize),
}

impl Writer {
    /// One payload over as many packets as it takes.
    pub fn payload(&mut self, pid: u16, mut payload: &[u8]) {
        let mut starts = true;
        while starts || !payload.is_empty() {
            let room = PACKET_BYTES - 4;
            let (now, rest) = payload.split_at(payload.len().min(room));
            let counter = self.counters.entry(pid).or_default();
            let padding = room - now.len();
            let [high, low] = (pid | if starts { 0x4000 } else { 0 }).to_be_bytes();
            self.bytes.extend(vec![0; self.around.0]);
            let control = if padding > 0 { 0x30 } else { 0x10 };
            self.bytes.extend([SYNC, high, low, control | *counter]);
            if padding > 0 {
                self.bytes.push((padding - 1) as u8);
                if padding > 1 {
                    self.bytes.push(0);
                    self.bytes.extend(vec![0xff; padding - 2]);
                }
            }
            self.bytes.extend(now);
            self.bytes.extend(vec![0; self.around.1]);
            *counter = (*counter + 1) & 0x0f;
            payload = rest;
            starts = false;
        }
    }

    pub fn lose_packet(&mut self, pid: u16) {
        *self.counters.entry(pid).or_default() += 1;
    }

    /// PAT and PMT with streams of these types; the first has [`VIDEO_PID`].
    pub fn tables(&mut self, kinds: &[u8]) {
        let [p0, p1] = (PMT_PID | 0xe000).to_be_bytes();
        self.payload(0, &section(0, &[0, 0, 0xe0, 0x10, 0, 1, p0, p1]));
        let mut streams = vec![0xe1, 0, 0xf0, 0];
        for (n, kind) in kinds.iter().enumerate() {
            let [s0, s1] = ((VIDEO_PID + n as u16) | 0xe000).to_be_bytes();
            streams.extend([*kind, s0, s1, 0xf0, 3, 0x0a, 1, 0]);
        }
        self.payload(PMT_PID, &section(2, &streams));
    }

    /// One picture with its decoding time.
    pub fn picture(&mut self, dts: u64, units: &[&[u8]]) {
        let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
        pes.extend(stamp(3, dts + 7200));
        pes.extend(stamp(1, dts));
        for unit in units {
            pes.extend([0, 0, 0, 1]);
            pes.extend(*unit);
        }
        self.payload(VIDEO_PID, &pes);
    }
}

fn section(table: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0, table];
    let length = 0xb000 | (5 + content.len() + 4) as u16;
    out.extend(length.to_be_bytes());
    out.extend([0, 1, 0xc1, 0, 0]);
    out.extend(content);
    out.extend([0; 4]);
    out
}

fn stamp(prefix: u8, at: u64) -> [u8; 5] {
    let bits = |shift: u32, mask: u64| (at >> shift & mask) as u8;
    [
        prefix << 4 | bits(30, 7) << 1 | 1,
        bits(22, 0xff),
        bits(15, 0x7f) << 1 | 1,
        bits(7, 0xff),
        bits(0, 0x7f) << 1 | 1,
    ]
}

/// A slice of `bytes` bytes: the first of a key frame, or of another picture.
pub(crate) fn slice(is_key: bool, bytes: usize) -> Vec<u8> {
    let mut unit = match is_key {
        true => vec![0x65, 0x88, 0x84],
        false => vec![0x41, 0x9a, 0x20],
    };
    unit.resize(bytes, 0x55);
    unit
}

/// H.264 of 2560x1440: a key frame of `key_bytes`, then other pictures, 25 a second.
pub(crate) fn h264(pictures: usize, key_bytes: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.tables(&[0x1b, 0x0f]);
    write_h264(&mut writer, pictures, key_bytes);
    writer.bytes
}

pub(crate) fn write_h264(writer: &mut Writer, pictures: usize, key_bytes: usize) {
    for n in 0..pictures {
        let dts = 900_000 + n as u64 * 3600;
        match n {
            0 => writer.picture(dts, &[&[9, 0x10], SPS, PPS, &slice(true, key_bytes)]),
            _ => writer.picture(dts, &[&[9, 0x30], &slice(false, 400)]),
        }
    }
}
