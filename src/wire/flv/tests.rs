use std::time::Duration;

use proptest::prelude::*;

use super::fixtures::{
    HEVC_IDR, IDR, P_SLICE, avc_header, avc_record, bytes, file, hevc_record, tag,
};
use super::*;
use crate::model::Codec;
use crate::wire::amf::{self, Value};

fn watch(tags: &[Vec<u8>]) -> FlvWatch {
    let mut watch = FlvWatch::default();
    for (i, body) in tags.iter().enumerate() {
        let at = Duration::from_millis(40 * i as u64);
        watch.push(VIDEO, 40 * i as u32, body, body.len() as u32, at);
    }
    watch
}

#[test]
fn classic_h264() {
    let avc = |start: u8, unit: &[u8]| tag(&[start, 1, 0, 0, 0], unit);
    let before = watch(&[avc_header(), avc(0x27, P_SLICE)]);
    assert!(!before.has_key_frame());
    assert_eq!(before.tags(), 2);
    let seen = watch(&[avc_header(), avc(0x27, P_SLICE), avc(0x17, IDR)]);
    assert!(seen.has_key_frame());
    let facts = seen.facts();
    assert_eq!(facts.codec, Some(Codec::H264));
    assert_eq!(facts.resolution().as_deref(), Some("1920x1080"));
    assert_eq!(facts.fps, Some(25.0));
}

#[test]
fn a_key_frame_is_one_by_its_slices_and_whole() {
    let avc = |unit: &[u8]| tag(&[0x17, 1, 0, 0, 0], unit);
    for (body, what) in [
        (avc(P_SLICE), "a frame that only calls itself key"),
        (avc(&IDR[..6]), "cut off"),
        (
            avc(&[0xff, 0xff, 0xff, 0xff, 0x65]),
            "a length beyond the tag",
        ),
        (avc(&[]), "empty"),
        (vec![0x17], "no packet type"),
        (tag(&[0x57, 1, 0, 0, 0], IDR), "a command frame"),
        (tag(&[0x17, 2, 0, 0, 0], IDR), "the end of a sequence"),
    ] {
        assert!(!watch(&[avc_header(), body]).has_key_frame(), "{what}");
    }
    assert!(!watch(&[avc(IDR)]).has_key_frame(), "no parameter sets");
}

#[test]
fn a_large_key_frame_is_known_by_its_beginning() {
    let mut body = tag(&[0x17, 1, 0, 0, 0], &[0, 0x10, 0, 0, 0x65, 0x88]);
    body.resize(HEAD_BYTES_MAX, 7);
    let mut seen = watch(&[avc_header()]);
    seen.push(VIDEO, 40, &body, 0x10_0000 + 9, Duration::ZERO);
    assert!(seen.has_key_frame());
}

#[test]
fn parameter_sets_in_band_and_start_codes_in_place_of_lengths() {
    let sequence = bytes("6742c028da01e0089f97011000000300100000030320f1832a");
    let picture = [0x68, 0xce, 0x3c, 0x80];
    let units = [&sequence[..], &picture, &[0x65, 0x88, 0x84]];
    let lengths: Vec<u8> = units
        .iter()
        .flat_map(|u| [&[0, 0, 0, u.len() as u8], *u].concat())
        .collect();
    let codes: Vec<u8> = units
        .iter()
        .flat_map(|u| [&[0, 0, 0, 1], *u].concat())
        .collect();
    for data in [lengths, codes] {
        let seen = watch(&[tag(&[0x17, 1, 0, 0, 0], &data)]);
        assert!(seen.has_key_frame(), "{data:?}");
        assert_eq!(seen.facts().width, Some(1920));
    }
}

#[test]
fn h265_classic_and_enhanced() {
    let record = hevc_record();
    let enhanced = |kind: u8, data: &[u8]| tag(&[0x90 | kind, b'h', b'v', b'c', b'1'], data);
    let with_time = [&[0, 0, 40], HEVC_IDR].concat();
    let mod_ex = [&[0x97, 2, 0, 0, 1, 0x03][..], b"hvc1", HEVC_IDR].concat();
    for (header, frame) in [
        (
            tag(&[0x1c, 0, 0, 0, 0], &record),
            tag(&[0x1c, 1, 0, 0, 0], HEVC_IDR),
        ),
        (enhanced(0, &record), enhanced(1, &with_time)),
        (enhanced(0, &record), enhanced(3, HEVC_IDR)),
        (enhanced(0, &record), mod_ex),
    ] {
        assert!(!watch(std::slice::from_ref(&header)).has_key_frame());
        let seen = watch(&[header, frame.clone()]);
        assert!(seen.has_key_frame(), "{frame:?}");
        let facts = seen.facts();
        assert_eq!(facts.codec, Some(Codec::H265));
        assert_eq!(facts.resolution().as_deref(), Some("1920x1080"));
    }
}

#[test]
fn h264_and_av1_by_their_fourcc() {
    let header = tag(b"\x90avc1", &avc_record());
    let frame = tag(b"\x91avc1\0\0\0", IDR);
    assert!(watch(&[header, frame]).has_key_frame());
    let seen = watch(&[tag(b"\x90av01", &[0x81, 0, 0, 0]), tag(b"\xa1av01", &[1])]);
    assert_eq!(seen.facts().codec, Some(Codec::Av1));
    assert!(!seen.has_key_frame());
    assert!(watch(&[tag(b"\x91av01", &[1])]).has_key_frame());
}

#[test]
fn other_codecs_are_named() {
    assert_eq!(
        watch(&[vec![0x12, 0]]).other_codec().as_deref(),
        Some("Sorenson H.263")
    );
    assert_eq!(
        watch(&[tag(b"\x90vvc1", &[1])]).other_codec().as_deref(),
        Some("vvc1")
    );
    assert_eq!(
        watch(&[tag(b"\x90\x1b[2J", &[1])]).other_codec().as_deref(),
        Some("\\x1b[2J")
    );
    assert_eq!(watch(&[avc_header()]).other_codec(), None);
}

#[test]
fn a_codec_may_change() {
    let hevc = tag(&[0x1c, 0, 0, 0, 0], &hevc_record());
    let seen = watch(&[avc_header(), hevc, tag(&[0x1c, 1, 0, 0, 0], HEVC_IDR)]);
    assert_eq!(seen.facts().codec, Some(Codec::H265));
    assert!(seen.has_key_frame());
}

#[test]
fn metadata_says_what_the_stream_does_not() {
    let mut body = Vec::new();
    amf::write(&mut body, &Value::text("onMetaData"));
    let number = |name: &'static str, n: f64| (name.as_bytes(), Value::Number(n));
    let properties = vec![
        number("width", 640.0),
        number("height", 0.0),
        number("videoframerate", 14.99),
    ];
    amf::write(&mut body, &Value::Object(properties));
    let mut seen = FlvWatch::default();
    seen.push(SCRIPT, 0, &body, body.len() as u32, Duration::ZERO);
    let facts = seen.facts();
    assert_eq!(
        (facts.width, facts.height, facts.fps),
        (Some(640), None, Some(15.0))
    );
    let header = avc_header();
    seen.push(VIDEO, 0, &header, header.len() as u32, Duration::ZERO);
    assert_eq!(
        (seen.facts().width, seen.facts().fps),
        (Some(1920), Some(25.0))
    );
}

#[test]
fn the_frame_rate_is_measured() {
    let mut seen = watch(&[avc_header()]);
    let body = tag(&[0x27, 1, 0, 0, 0], P_SLICE);
    for i in 0..60u32 {
        let at = Duration::from_millis(u64::from(i) * 50);
        seen.push(VIDEO, i * 50, &body, body.len() as u32, at);
    }
    assert!(seen.is_rate_full());
    assert_eq!(seen.measured_fps(), Some(20.0));
}

fn read(file: &[u8], piece: usize) -> Result<Vec<(Tag, Vec<u8>)>, FlvError> {
    let mut reader = FlvReader::default();
    let mut tags = Vec::new();
    for mut input in file.chunks(piece) {
        while let Some(tag) = reader.next(&mut input)? {
            tags.push((tag, reader.head().to_vec()));
        }
        assert!(input.is_empty());
    }
    Ok(tags)
}

#[test]
fn tags_come_out_whole_however_they_arrive() {
    let long = vec![9; HEAD_BYTES_MAX + 5000];
    let file = file(&[
        (SCRIPT, 0, b"meta"),
        (AUDIO, 10, b"sound"),
        (VIDEO, 0x0102_0304, &long),
        (VIDEO, 20, b""),
        (VIDEO, 30, b"x"),
    ]);
    for piece in [1, 2, 7, 1000, file.len()] {
        let tags = read(&file, piece).unwrap();
        let kinds: Vec<u8> = tags.iter().map(|(t, _)| t.kind).collect();
        assert_eq!(kinds, [SCRIPT, AUDIO, VIDEO, VIDEO, VIDEO], "{piece}");
        let (large, head) = &tags[2];
        assert_eq!(
            (large.timestamp_ms, large.length as usize),
            (0x0102_0304, long.len())
        );
        assert_eq!(head.len(), HEAD_BYTES_MAX);
        assert_eq!((&tags[0].1[..], &tags[1].1[..]), (&b"meta"[..], &b""[..]));
        assert_eq!(tags[4].1, b"x");
    }
}

#[test]
fn headers_that_are_longer_or_none() {
    let mut longer = b"FLV\x01\0\0\0\0\x0c\x07\x07\x07".to_vec();
    longer.extend_from_slice(&file(&[(VIDEO, 5, b"x")])[9..]);
    assert_eq!(read(&longer, 3).unwrap().len(), 1);
    for (bytes, error) in [
        (&b"<html><body>"[..], FlvError::NotFlv),
        (b"FLV\x01\x05\0\0\0\x08....", FlvError::NotFlv),
        (b"FLV\x01\x05\xff\xff\xff\xff....", FlvError::NotFlv),
        (
            b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0",
            FlvError::Tag,
        ),
    ] {
        assert_eq!(read(bytes, bytes.len()), Err(error), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_file_panics(body in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..40) {
        let _ = read(&body, piece);
        let _ = read(&[b"FLV\x01\x05\0\0\0\x09", body.as_slice()].concat(), piece);
    }

    #[test]
    fn no_tag_panics(kind in 8u8..20, start in any::<[u8; 6]>(), body in prop::collection::vec(any::<u8>(), 0..100), more in 0u32..9) {
        let mut seen = watch(&[avc_header()]);
        for body in [body.clone(), tag(&start, &body), tag(b"\x90hvc1", &body), tag(b"\x97", &body)] {
            seen.push(kind, 0, &body, body.len() as u32 + more, Duration::ZERO);
            seen.push(VIDEO, 0, &body, body.len() as u32 + more, Duration::ZERO);
        }
        seen.facts();
    }

    #[test]
    fn tags_survive_any_cut(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6), piece in 1usize..60) {
        let tags: Vec<(u8, u32, &[u8])> = bodies.iter().map(|b| (VIDEO, 7, b.as_slice())).collect();
        let got: Vec<Vec<u8>> = read(&file(&tags), piece).unwrap().into_iter().map(|(_, head)| head).collect();
        prop_assert_eq!(got, bodies);
    }
}
