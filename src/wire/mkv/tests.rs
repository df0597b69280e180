use super::*;
use crate::wire::mp4::fixtures::{avcc, samples};
use crate::wire::sample::SampleWatch;

fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = id
        .to_be_bytes()
        .into_iter()
        .skip_while(|b| *b == 0)
        .collect();
    out.extend((1_u64 << 56 | content.len() as u64).to_be_bytes());
    out.extend(content);
    out
}

/// The same without a known end.
fn open(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = id
        .to_be_bytes()
        .into_iter()
        .skip_while(|b| *b == 0)
        .collect();
    out.push(0xff);
    out.extend(content);
    out
}

fn number(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

fn tracks_of(entries: &[Vec<u8>]) -> Vec<u8> {
    element(TRACKS, &entries.concat())
}

fn entry(kind: u64, name: &str, more: &[u8]) -> Vec<u8> {
    let parts = [
        number(TRACK_NUMBER, kind),
        number(TRACK_TYPE, kind),
        element(CODEC_ID, name.as_bytes()),
        more.to_vec(),
    ];
    element(TRACK_ENTRY, &parts.concat())
}

fn h264() -> Vec<u8> {
    let size = [number(PIXEL_WIDTH, 1920), number(PIXEL_HEIGHT, 1080)].concat();
    let more = [
        element(CODEC_PRIVATE, &avcc()),
        number(DEFAULT_DURATION, 40_000_000),
        element(VIDEO, &size),
    ];
    entry(1, "V_MPEG4/ISO/AVC", &more.concat())
}

/// Four seconds of 25 pictures a second, a key frame in each; every other cluster in groups.
fn clusters(close: fn(u32, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let samples = samples(100, 25);
    let cluster = |(n, pictures): (usize, &[Vec<u8>])| {
        let mut content = number(CLUSTER_TIMESTAMP, n as u64 * 1000);
        for (i, picture) in pictures.iter().enumerate() {
            let [t0, t1] = (i as i16 * 40).to_be_bytes();
            let is_key = i == 0;
            let flags = if is_key { 0x80 } else { 0 };
            let block = |flags| [&[0x81, t0, t1, flags], picture.as_slice()].concat();
            // Sound between the pictures.
            content.extend(element(SIMPLE_BLOCK, &[0x82, t0, t1, 0x80, 1, 2, 3]));
            if n % 2 == 0 {
                content.extend(element(SIMPLE_BLOCK, &block(flags)));
                continue;
            }
            let mut group = element(BLOCK, &block(0));
            if !is_key {
                group.extend(element(REFERENCE_BLOCK, &[0xd8]));
            }
            content.extend(element(BLOCK_GROUP, &group));
        }
        close(CLUSTER, &content)
    };
    samples.chunks(25).enumerate().map(cluster).collect()
}

fn file(segment: &[u8], close: fn(u32, &[u8]) -> Vec<u8>) -> Vec<u8> {
    [
        element(EBML, &[0x42, 0x82, 0x81, b'x']),
        close(SEGMENT, segment),
    ]
    .concat()
}

fn closed() -> Vec<u8> {
    let info = element(INFO, &element(DURATION, &4000_f32.to_be_bytes()));
    let head = [info, tracks_of(&[entry(2, "A_OPUS", &[]), h264()])].concat();
    let seek = |cues: u64| {
        let entry = [number(SEEK_ID, CUES.into()), number(SEEK_POSITION, cues)].concat();
        element(SEEK_HEAD, &element(SEEK, &entry))
    };
    let clusters = clusters(element);
    let front = seek(0).len() + head.len();
    let mut at = front;
    let mut cues = vec![];
    for (n, cluster) in clusters.iter().enumerate() {
        let place = [
            number(CUE_TRACK, 1),
            number(CUE_CLUSTER_POSITION, at as u64),
        ]
        .concat();
        let point = [
            number(CUE_TIME, n as u64 * 1000),
            element(CUE_TRACK_POSITIONS, &place),
        ];
        cues.extend(element(CUE_POINT, &point.concat()));
        at += cluster.len();
    }
    let all = [
        seek(at as u64),
        head,
        clusters.concat(),
        element(CUES, &cues),
    ];
    file(&all.concat(), element)
}

/// As a recorder leaves it that lost its power: no end, no index, no duration.
fn live() -> Vec<u8> {
    let all = [tracks_of(&[h264()]), clusters(open).concat()];
    file(&all.concat(), open)
}

fn is_key(track: &Track, file: &[u8], sample: Sample) -> bool {
    let mut watch = SampleWatch::new(track.format.clone());
    watch.feed(&file[sample.at as usize..][..sample.bytes as usize]);
    watch.end(true);
    watch.has_key_frame()
}

#[test]
fn recordings_with_and_without_an_index() {
    for (file, duration_ms) in [(closed(), 4000), (live(), 3000)] {
        let track = Track::read(&mut file.as_slice()).unwrap();
        assert_eq!(track.format.codec, Codec::H264);
        assert_eq!(
            (track.width, track.height, track.fps),
            (1920, 1080, Some(25.0))
        );
        assert_eq!(track.duration(&mut file.as_slice()), Some(duration_ms));
        let mut places = vec![];
        for position_ms in [0, 999, 1000, 2500, 3999, 99_999] {
            let found = track.key_sample(&mut file.as_slice(), position_ms);
            assert!(
                is_key(&track, &file, found.sample.unwrap()),
                "{position_ms}"
            );
            assert_eq!(found.fps(), Some(25.0));
            places.push(found.sample.unwrap().at);
        }
        assert_eq!(places[0], places[1]);
        assert!(places[1] < places[2] && places[2] < places[3] && places[3] < places[4]);
        assert_eq!(places[4], places[5]);
    }
}

/// One key frame at the start, and clusters of a second behind it, as recorders of H.265 write.
#[test]
fn a_key_frame_may_stand_many_clusters_before_the_position() {
    for (close, count) in [
        (element as fn(u32, &[u8]) -> Vec<u8>, 3),
        (open, 3),
        (element, 40),
    ] {
        let pictures = samples(count * 5, count * 5);
        let cluster = |(n, pictures): (usize, &[Vec<u8>])| {
            let mut content = number(CLUSTER_TIMESTAMP, n as u64 * 1000);
            for (i, picture) in pictures.iter().enumerate() {
                let [t0, t1] = (i as i16 * 200).to_be_bytes();
                let flags = if n + i == 0 { 0x80 } else { 0 };
                let block = [&[0x81, t0, t1, flags], picture.as_slice()].concat();
                content.extend(element(SIMPLE_BLOCK, &block));
            }
            close(CLUSTER, &content)
        };
        let clusters: Vec<Vec<u8>> = pictures.chunks(5).enumerate().map(cluster).collect();
        let segment = [tracks_of(&[h264()]), clusters.concat()].concat();
        let file = file(&segment, close);
        let track = Track::read(&mut file.as_slice()).unwrap();
        for position_ms in (0..count as u64 * 1000 + 500).step_by(100) {
            let found = track.key_sample(&mut file.as_slice(), position_ms);
            let sample = found.sample.unwrap_or_else(|| panic!("{position_ms}"));
            assert!(is_key(&track, &file, sample), "{position_ms}");
            assert_eq!(found.fps(), Some(5.0));
        }
    }
}

#[test]
fn a_recording_that_was_cut_off_is_read_as_far_as_it_goes() {
    let mut file = closed();
    file.truncate(file.len() / 2);
    let track = Track::read(&mut file.as_slice()).unwrap();
    let found = track.key_sample(&mut file.as_slice(), 0);
    assert!(is_key(&track, &file, found.sample.unwrap()));
}

#[test]
fn what_cannot_be_watched_is_named() {
    let with = |segment: &[u8]| Track::read(&mut file(segment, element).as_slice()).unwrap_err();
    assert_eq!(with(&[]), MkvError::NoTracks);
    assert_eq!(
        with(&tracks_of(&[entry(2, "A_OPUS", &[])])),
        MkvError::NoVideo
    );
    for (name, more) in [
        ("V_QUICKTIME", vec![]),
        ("V_MPEG4/ISO/AVC", element(CONTENT_ENCODINGS, &[])),
    ] {
        let tracks = tracks_of(&[entry(1, name, &more)]);
        assert_eq!(with(&tracks), MkvError::OtherVideo(name.to_owned()));
    }
    let none = Track::read(&mut &b"RIFF"[..]);
    assert_eq!(none, Err(MkvError::NoTracks));
}

proptest::proptest! {
    #[test]
    fn hostile_numbers_panic_nowhere(
        changes in proptest::collection::vec((0usize..9000, proptest::prelude::any::<u8>()), 1..12),
        position_ms in proptest::prelude::any::<u64>(),
        is_live in proptest::prelude::any::<bool>(),
    ) {
        let mut file = if is_live { live() } else { closed() };
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Ok(track) = Track::read(&mut file.as_slice()) {
            track.duration(&mut file.as_slice());
            track.key_sample(&mut file.as_slice(), position_ms);
        }
    }
}
