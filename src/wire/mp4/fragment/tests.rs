use super::*;
use crate::wire::mp4::fixtures::{STEP, TICKS_PER_S, fragment, initialisation, mp4_box};

fn initialised() -> FragmentWatch {
    let mut watch = FragmentWatch::new();
    watch.feed(&initialisation()).unwrap();
    watch.begin_segment();
    watch
}

#[test]
fn a_segment_behind_its_initialisation() {
    let mut watch = initialised();
    assert_eq!(
        (watch.codec(), watch.size()),
        (Some(Codec::H264), Some((1920, 1080)))
    );
    let segment = fragment(7 * STEP, 50);
    let media_at = segment.len() - segment.windows(4).rev().position(|w| w == b"mdat").unwrap();
    // 900 bytes of the key frame and the length before it.
    watch.feed(&segment[..media_at + 903]).unwrap();
    assert!(!watch.has_key_frame());
    watch
        .feed(&segment[media_at + 903..media_at + 904])
        .unwrap();
    assert!(watch.has_key_frame());
    let (rate, ticks_per_s) = watch.rate();
    assert_eq!(ticks_per_s, TICKS_PER_S);
    assert_eq!(rate.fps(ticks_per_s), Some(25.0));
    assert!(watch.sets().unwrap().is_complete());
}

#[test]
fn a_segment_with_its_own_initialisation() {
    let mut watch = FragmentWatch::new();
    watch
        .feed(&[initialisation(), fragment(0, 3)].concat())
        .unwrap();
    assert!(watch.has_key_frame());
}

#[test]
fn what_is_no_segment_is_named() {
    let mut watch = FragmentWatch::new();
    assert_eq!(
        watch.feed(&fragment(0, 3)),
        Err(FragmentError::NoInitialisation)
    );
    assert_eq!(
        FragmentWatch::new().feed(&[0, 0, 0, 20, 1, 2, 3, 4]),
        Err(FragmentError::NoBoxes)
    );
    let long = [&(INDEX_BYTES_MAX as u32 + 1).to_be_bytes()[..], b"moof"].concat();
    assert_eq!(initialised().feed(&long), Err(FragmentError::TooLong));
    let no_video = mp4_box(b"moov", &[]);
    assert_eq!(
        FragmentWatch::new().feed(&no_video),
        Err(FragmentError::Movie(Mp4Error::NoVideo))
    );
}

proptest::proptest! {
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(0usize..4000, 0..6)) {
        let segment = fragment(0, 5);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(segment.len())).collect();
        cuts.sort_unstable();
        let mut watch = initialised();
        let mut from = 0;
        for cut in cuts.into_iter().chain([segment.len()]) {
            watch.feed(&segment[from..cut]).unwrap();
            from = cut;
        }
        proptest::prop_assert!(watch.has_key_frame());
    }

    #[test]
    fn no_bytes_panic(
        changes in proptest::collection::vec((0usize..4000, proptest::sample::select(vec![0u8, 1, 2, 0x7f, 0x80, 0xff])), 1..12),
    ) {
        let mut segment = [initialisation(), fragment(0, 5), fragment(5 * STEP, 5)].concat();
        for (at, byte) in changes {
            let at = at % segment.len();
            segment[at] = byte;
        }
        let _ = FragmentWatch::new().feed(&segment);
    }
}
