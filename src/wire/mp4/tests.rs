use super::fixtures::{STEP, entry, fragment, initialisation, movie, mp4_box, samples, track};
use super::*;
use crate::wire::sample::SampleWatch;

fn read(mut file: &[u8]) -> Result<Track, Mp4Error> {
    let all = Span {
        at: 0,
        bytes: file.len() as u64,
    };
    Track::read(&mut file, all)
}

fn is_key(track: &Track, file: &[u8], sample: Sample) -> bool {
    let mut watch = SampleWatch::new(track.format.clone());
    watch.feed(&file[sample.at as usize..][..sample.bytes as usize]);
    watch.end(true);
    watch.has_key_frame()
}

#[test]
fn the_index_may_stand_in_front_or_behind() {
    for index_first in [true, false] {
        let file = movie(100, 25, 7, index_first);
        let track = read(&file).unwrap();
        assert_eq!(track.format.codec, Codec::H264);
        assert_eq!((track.width, track.height), (1920, 1080));
        assert!(track.format.sets.is_complete());
        let measured = track.measure(&mut file.as_slice());
        assert_eq!(measured, (Some(4000), Some(25.0)));
    }
}

#[test]
fn the_key_frame_that_is_shown_at_a_position() {
    let file = movie(100, 25, 7, true);
    let track = read(&file).unwrap();
    let sizes: Vec<usize> = samples(100, 25).iter().map(Vec::len).collect();
    let media_at = file.len() - sizes.iter().sum::<usize>();
    for (position_ms, number) in [(0, 0), (999, 0), (1000, 25), (3999, 75), (99_999, 75)] {
        let sample = track.key_sample(&mut file.as_slice(), position_ms).unwrap();
        let at = media_at + sizes[..number].iter().sum::<usize>();
        assert_eq!((sample.at, sample.bytes), (at as u64, sizes[number] as u32));
        assert!(is_key(&track, &file, sample));
    }
}

#[test]
fn fragments_of_a_recording() {
    let mut file = initialisation();
    for n in 0..4 {
        file.extend(fragment(n * 25 * STEP, 25));
    }
    let track = read(&file).unwrap();
    assert_eq!(
        track.measure(&mut file.as_slice()),
        (Some(4000), Some(25.0))
    );
    let mut seen = vec![];
    for position_ms in [0, 1500, 3999, 9000] {
        let sample = track.key_sample(&mut file.as_slice(), position_ms).unwrap();
        assert!(is_key(&track, &file, sample));
        seen.push(sample.at);
    }
    assert!(seen[0] < seen[1] && seen[1] < seen[2] && seen[2] == seen[3]);
    // Cut off in the middle of the last fragment: what came before still counts.
    file.truncate(file.len() - 3000);
    assert_eq!(track.measure(&mut file.as_slice()).0, Some(3000));
}

#[test]
fn what_cannot_be_watched_is_named() {
    let whole = movie(10, 5, 5, false);
    assert_eq!(read(&whole[..whole.len() - 1]), Err(Mp4Error::NoMovie));
    let with = |tracks: Vec<u8>| read(&mp4_box(b"moov", &tracks));
    let sound = track(b"soun", &mp4_box(b"mp4a", &[0; 28]), 0, &[]);
    assert_eq!(with(sound), Err(Mp4Error::NoVideo));
    let encrypted = track(b"vide", &entry(b"encv", &[]), 0, &[]);
    assert_eq!(
        with(encrypted),
        Err(Mp4Error::OtherVideo("encv".to_owned()))
    );
    let picture = track(b"vide", &entry(b"jpeg", &[]), 0, &[]);
    assert_eq!(with(picture).unwrap().format.codec, Codec::Mjpeg);
}

#[test]
fn boxes_of_every_length_form() {
    let long = [&[0, 0, 0, 1], &b"mdat"[..], &24_u64.to_be_bytes(), &[0; 8]].concat();
    let found = Box::read(&mut long.as_slice(), 0, 24).unwrap();
    assert_eq!((found.body.at, found.body.bytes), (16, 8));
    let open = [&[0, 0, 0, 0], &b"mdat"[..], &[0; 8]].concat();
    let found = Box::read(&mut open.as_slice(), 0, 16).unwrap();
    assert_eq!((found.body.at, found.body.bytes), (8, 8));
    for short in [[0, 0, 0, 7], [0, 0, 0, 17]] {
        let broken = [&short, &b"mdat"[..], &[0; 8]].concat();
        assert_eq!(Box::read(&mut broken.as_slice(), 0, 16), None);
    }
}

proptest::proptest! {
    #[test]
    fn hostile_numbers_panic_nowhere(
        changes in proptest::collection::vec((0usize..4000, proptest::sample::select(vec![0u8, 1, 2, 0x7f, 0x80, 0xff])), 1..12),
        position_ms in proptest::prelude::any::<u64>(),
        is_fragmented in proptest::prelude::any::<bool>(),
    ) {
        let mut file = match is_fragmented {
            true => [initialisation(), fragment(0, 9), fragment(STEP, 9)].concat(),
            false => movie(20, 5, 3, true),
        };
        for (at, byte) in changes {
            let at = at % file.len().min(2500);
            file[at] = byte;
        }
        if let Ok(track) = read(&file) {
            track.measure(&mut file.as_slice());
            track.key_sample(&mut file.as_slice(), position_ms);
        }
    }
}
