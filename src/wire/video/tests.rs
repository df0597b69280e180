use super::*;

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// Slices: the first of a picture (`first_mb_in_slice` 0) and one that goes on.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0, 1];
const IDR_NEXT: &[u8] = &[0x65, 0x28, 0x84, 0, 1];
const P: &[u8] = &[0x41, 0x9a, 0x20, 0x11];
const I: &[u8] = &[0x41, 0x88, 0x20, 0x11];
/// SEI with a recovery point behind another message.
const SEI: &[u8] = &[0x06, 0x05, 0x02, 0xaa, 0xbb, 0x06, 0x01, 0xc4, 0x80];

/// Sends packets with rising sequence numbers.
struct Sender {
    watch: VideoWatch,
    sequence: u16,
}

impl Sender {
    fn new(codec: Codec) -> Self {
        Self::with_sets(codec, ParameterSets::new(codec))
    }

    fn with_sets(codec: Codec, sets: ParameterSets) -> Self {
        Self {
            watch: VideoWatch::new(codec, 96, sets),
            sequence: 65_530,
        }
    }

    fn h264_ready() -> Self {
        let mut sets = ParameterSets::new(Codec::H264);
        sets.keep(SPS);
        sets.keep(PPS);
        Self::with_sets(Codec::H264, sets)
    }

    fn send(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> bool {
        let packet = packet(self.sequence, timestamp, marker, payload);
        self.sequence = self.sequence.wrapping_add(1);
        let at = Duration::from_millis(u64::from(timestamp) / 90);
        self.watch.push(&packet, at);
        self.watch.has_key_frame()
    }

    fn lose(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }
}

fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let kind = if marker { 0x80 | 96 } else { 96 };
    let mut packet = vec![0x80, kind];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend(payload);
    packet
}

fn fu_a(flags: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0x7c, flags | kind], body].concat()
}

fn aggregate(header: &[u8], units: &[&[u8]]) -> Vec<u8> {
    let mut out = header.to_vec();
    for unit in units {
        out.extend((unit.len() as u16).to_be_bytes());
        out.extend(*unit);
    }
    out
}

#[test]
fn a_key_frame_ends_with_its_marker() {
    let mut s = Sender::new(Codec::H264);
    assert!(!s.send(100, false, SPS));
    assert!(!s.send(100, false, PPS));
    assert!(!s.send(100, false, IDR));
    assert!(s.send(100, true, IDR_NEXT));
    assert_eq!(s.watch.packets(), 4);
}

#[test]
fn without_markers_the_next_timestamp_ends_a_frame() {
    let mut s = Sender::h264_ready();
    assert!(!s.send(100, false, IDR));
    assert!(s.send(3700, false, P));
}

#[test]
fn a_key_frame_needs_its_parameter_sets() {
    let mut s = Sender::new(Codec::H264);
    assert!(!s.send(100, true, IDR));
    s.send(200, false, &aggregate(&[0x78], &[SPS, PPS]));
    assert!(s.send(200, true, IDR));
}

#[test]
fn a_marker_on_sets_or_sei_ends_nothing() {
    let mut s = Sender::new(Codec::H264);
    for unit in [SPS, PPS, SEI] {
        assert!(!s.send(100, true, unit));
    }
    assert!(s.send(100, true, IDR));
}

#[test]
fn fragments_must_be_whole() {
    let mut s = Sender::h264_ready();
    assert!(!s.send(1, false, &fu_a(0x80, 5, &IDR[1..])));
    assert!(!s.send(1, false, &fu_a(0, 5, b"middle")));
    assert!(s.send(1, true, &fu_a(0x40, 5, b"end")));

    let mut lost_middle = Sender::h264_ready();
    lost_middle.send(1, false, &fu_a(0x80, 5, &IDR[1..]));
    lost_middle.lose();
    assert!(!lost_middle.send(1, true, &fu_a(0x40, 5, b"end")));
    assert_eq!(lost_middle.watch.lost_packets(), 1);

    let mut lost_start = Sender::h264_ready();
    assert!(!lost_start.send(1, true, &fu_a(0x40, 5, b"end")));
    let mut lost_end = Sender::h264_ready();
    lost_end.send(1, false, &fu_a(0x80, 5, &IDR[1..]));
    assert!(!lost_end.send(2, true, P));
    assert!(lost_end.send(3, true, IDR), "the next one counts");
}

#[test]
fn joining_in_the_middle_of_a_frame_proves_nothing() {
    let mut s = Sender::h264_ready();
    assert!(!s.send(1, true, IDR_NEXT));
    assert!(!s.send(2, true, P));
}

#[test]
fn a_recovery_point_with_intra_slices_is_a_key_frame() {
    let mut s = Sender::h264_ready();
    assert!(!s.send(1, true, I), "without a recovery point");
    s.send(2, false, SEI);
    assert!(!s.send(2, true, P), "slices that need others");
    s.send(3, false, SEI);
    assert!(s.send(3, true, I));
}

#[test]
fn annex_b_inside_rtp_is_taken_apart() {
    let stream = [&[0, 0, 0, 1], SPS, &[0, 0, 0, 1], PPS, &[0, 0, 1], IDR].concat();
    let mut s = Sender::new(Codec::H264);
    assert!(s.send(1, true, &stream));

    let mut one_unit = Sender::new(Codec::H264);
    let body = [&SPS[1..], &[0, 0, 0, 1], PPS, &[0, 0, 1], IDR].concat();
    one_unit.send(1, false, &fu_a(0x80, 7, &body));
    assert!(one_unit.send(1, true, &fu_a(0x40, 7, b"rest")));
}

#[test]
fn h265_single_aggregated_and_fragmented() {
    let (vps, sps, pps) = ([0x40, 1, 1], [0x42, 1, 1], [0x44, 1, 0xc1]);
    let idr = [19 << 1, 1, 0x80, 7];
    let mut single = Sender::new(Codec::H265);
    for set in [&vps[..], &sps] {
        single.send(1, false, set);
    }
    assert!(!single.send(1, true, &idr), "no PPS yet");
    single.send(2, false, &pps);
    assert!(single.send(2, true, &[21 << 1, 1, 0x80, 7]), "CRA");

    let mut s = Sender::new(Codec::H265);
    s.send(1, false, &aggregate(&[48 << 1, 1], &[&vps, &sps, &pps]));
    s.send(1, true, &[2, 1, 0x80, 7]);
    assert!(!s.send(2, false, &[49 << 1, 1, 0x80 | 19, 0x80, 7]));
    assert!(!s.send(2, false, &[49 << 1, 1, 19, 7, 7]));
    assert!(s.send(2, true, &[49 << 1, 1, 0x40 | 19, 7]));
}

fn jpeg(offset: u32, quality: u8, size: (u8, u8), data: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = offset.to_be_bytes();
    let mut out = vec![0, a, b, c, 1, quality, size.0, size.1];
    if quality >= 128 && offset == 0 {
        out.extend([0, 0, 0, 4, 1, 2, 3, 4]);
    }
    out.extend(data);
    out
}

#[test]
fn jpeg_frames_have_all_their_bytes() {
    let mut s = Sender::new(Codec::Mjpeg);
    assert!(!s.send(1, false, &jpeg(0, 255, (80, 45), b"abcd")));
    assert!(s.send(1, true, &jpeg(4, 255, (80, 45), b"ef")));
    assert_eq!(s.watch.frame_size(), Some((640, 360)));

    let mut hole = Sender::new(Codec::Mjpeg);
    hole.send(1, false, &jpeg(0, 50, (80, 45), b"abcd"));
    assert!(!hole.send(1, true, &jpeg(6, 50, (80, 45), b"ef")));
}

#[test]
fn large_jpeg_has_its_size_in_the_extension() {
    let mut s = Sender::new(Codec::Mjpeg);
    assert!(s.send(1, true, &jpeg(0, 50, (0, 0), b"abcd")));
    assert_eq!(s.watch.frame_size(), None);
    let header = [
        0xff, 0xff, 0xff, 0xdb, 0, 3, 9, 0xff, 0xc0, 0, 11, 8, 0x05, 0xa0, 0x0a, 0x00, 0,
    ];
    let extended = Packet {
        marker: true,
        payload_type: 26,
        sequence: 0,
        timestamp: 0,
        extension: Some((JPEG_HEADER_EXTENSION, &header)),
        payload: &[],
    };
    assert_eq!(jpeg_header_size(&extended), Some((2560, 1440)));
}

#[test]
fn other_payload_types_and_no_rtp_are_not_counted() {
    let mut s = Sender::h264_ready();
    let mut other = packet(1, 1, true, IDR);
    other[1] = 0x80 | 97;
    s.watch.push(&other, Duration::ZERO);
    s.watch.push(b"short", Duration::ZERO);
    assert_eq!(s.watch.packets(), 0);
}

#[test]
fn every_picture_is_counted_once() {
    let mut s = Sender::h264_ready();
    for i in 0..100 {
        s.send(i * 3600, false, SEI);
        s.send(i * 3600, true, P);
        s.send(i * 3600, true, &[0x41, 0x2a, 0x20]);
    }
    assert_eq!(s.watch.rate.fps(90_000), Some(25.0));
    assert!(!s.watch.has_key_frame());
}

#[cfg(feature = "webrtc")]
#[test]
fn frames_of_vp8_end_with_their_marker() {
    const KEY: &[u8] = &[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    let mut s = Sender::new(Codec::Vp8);
    assert!(!s.send(1, false, KEY));
    assert!(s.send(1, true, &[0x00, 1, 2, 3]));
    assert_eq!(s.watch.frame_size(), Some((320, 240)));

    let mut torn = Sender::new(Codec::Vp8);
    torn.send(1, false, KEY);
    torn.lose();
    assert!(!torn.send(1, true, &[0x00, 1, 2, 3]));
    assert!(!torn.send(2, true, &[0x10, 0x11, 0, 0]));
    assert!(torn.send(3, true, KEY));
}

proptest::proptest! {
    #[test]
    fn no_packets_panic(
        codec in 0..6,
        packets in proptest::collection::vec(
            (proptest::prelude::any::<(u16, u8, bool)>(), proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)),
            0..20,
        ),
    ) {
        let codec = [Codec::H264, Codec::H265, Codec::Mjpeg, Codec::Vp8, Codec::Vp9, Codec::Av1][codec as usize];
        let mut watch = VideoWatch::new(codec, 96, ParameterSets::new(codec));
        for ((sequence, timestamp, marker), payload) in packets {
            let packet = packet(sequence, timestamp.into(), marker, &payload);
            watch.push(&packet, Duration::from_millis(u64::from(sequence)));
        }
    }
}
