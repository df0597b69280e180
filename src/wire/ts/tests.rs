use super::fixtures::{VIDEO_PID, Writer, h264, slice, write_h264};
use super::*;

fn watch(bytes: &[u8]) -> Result<TsWatch, TsError> {
    let mut watch = TsWatch::new();
    watch.feed(bytes)?;
    watch.finish();
    Ok(watch)
}

fn seen(watch: &TsWatch) -> (Option<Codec>, bool, Option<f64>) {
    (
        watch.codec(),
        watch.has_key_frame(),
        watch.rate().fps(CLOCK_HZ),
    )
}

#[test]
fn a_key_frame_is_whole_when_the_next_picture_begins() {
    let stream = h264(10, 20_000);
    let mut watch = TsWatch::new();
    let mut whole_at = None;
    for (n, packet) in stream.chunks(PACKET_BYTES).enumerate() {
        watch.feed(packet).unwrap();
        if watch.has_key_frame() {
            whole_at.get_or_insert(n);
        }
    }
    // Two tables, 20 kB in packets of 184 bytes, and the first packet of the next picture.
    assert_eq!(whole_at, Some(2 + 20_067_usize.div_ceil(184)));
    let size = watch.sets().unwrap().read().unwrap();
    assert_eq!((size.width, size.height), (2560, 1440));
    assert_eq!(watch.timestamp(), Some(900_000 + 9 * 3600));
    assert_eq!(seen(&watch), (Some(Codec::H264), true, Some(25.0)));
}

#[test]
fn the_end_of_the_stream_ends_its_last_picture() {
    let stream = h264(1, 500);
    assert!(watch(&stream).unwrap().has_key_frame());
    let mut cut_off = TsWatch::new();
    cut_off.feed(&stream).unwrap();
    assert!(!cut_off.has_key_frame());
}

#[test]
fn packets_with_time_codes_and_with_parity() {
    for around in [(4, 0), (0, 16)] {
        let mut writer = Writer {
            around,
            ..Writer::default()
        };
        writer.tables(&[0x1b]);
        write_h264(&mut writer, 10, 3000);
        let watch = watch(&writer.bytes).unwrap();
        assert_eq!(seen(&watch), (Some(Codec::H264), true, Some(25.0)));
    }
}

#[test]
fn a_stream_that_begins_in_the_middle_of_a_packet() {
    let stream = h264(10, 3000);
    let late = [&[0x47; 90][..], &stream].concat();
    assert!(watch(&late).unwrap().has_key_frame());
}

#[test]
fn a_lost_packet_breaks_one_picture_only() {
    let mut writer = Writer::default();
    writer.tables(&[0x1b]);
    write_h264(&mut writer, 1, 3000);
    let from = writer.bytes.len() - 3 * PACKET_BYTES;
    writer.bytes.drain(from..from + PACKET_BYTES);
    writer.picture(910_000, &[&slice(false, 300)]);
    assert!(!watch(&writer.bytes).unwrap().has_key_frame());
    write_h264(&mut writer, 2, 3000);
    assert!(watch(&writer.bytes).unwrap().has_key_frame());
    writer.lose_packet(VIDEO_PID);
    assert!(watch(&writer.bytes).unwrap().has_key_frame());
}

#[test]
fn a_packet_that_comes_twice_counts_once() {
    let stream = h264(10, 3000);
    let mut twice = vec![];
    for packet in stream.chunks(PACKET_BYTES) {
        let starts = packet[1] & 0x40 != 0;
        twice.extend(packet);
        if !starts {
            twice.extend(packet);
        }
    }
    assert!(watch(&twice).unwrap().has_key_frame());
}

#[test]
fn pieces_of_a_picture_with_one_timestamp_belong_together() {
    let mut writer = Writer::default();
    writer.tables(&[0x1b]);
    write_h264(&mut writer, 1, 3000);
    // The rest of the same picture in a PES packet of its own.
    let mut rest = slice(true, 3000);
    rest[1] = 0x28;
    writer.picture(900_000, &[&rest]);
    writer.picture(903_600, &[&slice(false, 300)]);
    writer.picture(907_200, &[&slice(false, 300)]);
    let watch = watch(&writer.bytes).unwrap();
    assert_eq!(seen(&watch), (Some(Codec::H264), true, Some(25.0)));
}

#[test]
fn what_is_no_video_that_we_know_is_named() {
    let with = |kinds: &[u8]| {
        let mut writer = Writer::default();
        writer.tables(kinds);
        writer.picture(0, &[&slice(true, 500)]);
        watch(&writer.bytes).unwrap_err()
    };
    assert_eq!(with(&[0x0f]), TsError::NoVideo);
    assert_eq!(with(&[0x02, 0x0f]), TsError::OtherVideo(0x02));
    assert_eq!(watch(&[0x3c; 2000]).unwrap_err(), TsError::NoPackets);
    let mut scrambled = h264(3, 500);
    for packet in scrambled.chunks_mut(PACKET_BYTES).skip(2) {
        packet[3] |= 0x80;
    }
    assert_eq!(watch(&scrambled).unwrap_err(), TsError::Scrambled);
}

proptest::proptest! {
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(0usize..6000, 0..6)) {
        let stream = h264(6, 2000);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort_unstable();
        let mut watch = TsWatch::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([stream.len()]) {
            watch.feed(&stream[from..cut]).unwrap();
            from = cut;
        }
        watch.finish();
        proptest::prop_assert_eq!(seen(&watch), (Some(Codec::H264), true, Some(25.0)));
    }

    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec((0usize..6000, proptest::prelude::any::<u8>()), 0..40),
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..700),
    ) {
        let mut stream = h264(6, 2000);
        for (at, byte) in bytes {
            let at = at % stream.len();
            stream[at] = byte;
        }
        stream.extend(noise);
        let _ = watch(&stream);
    }
}
