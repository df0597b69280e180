use super::*;

fn read(text: &str) -> Result<Playlist, PlaylistError> {
    let mut reader = PlaylistReader::new();
    reader.feed(text.as_bytes())?;
    reader.finish()
}

fn media(text: &str) -> MediaPlaylist {
    match read(text).unwrap() {
        Playlist::Media(media) => media,
        other => panic!("{other:?}"),
    }
}

const LIVE: &str = "#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:5
#EXT-X-MEDIA-SEQUENCE:41
#EXTINF:4.960,
cam-41.ts
#EXTINF:5.000,title, with a comma
cam-42.ts
#EXT-X-DISCONTINUITY
#EXTINF:2.04,
cam-43.ts
#EXTINF:5,
cam-44.ts?token=a=b
";

#[test]
fn a_live_playlist_shows_its_newest_segments() {
    let media = media(LIVE);
    assert_eq!((media.target_duration_ms, media.next_sequence), (5000, 45));
    assert!(!media.is_ended);
    let uris: Vec<&str> = media.newest.iter().map(|s| s.uri.as_str()).collect();
    assert_eq!(uris, ["cam-42.ts", "cam-43.ts", "cam-44.ts?token=a=b"]);
    let told: Vec<(u32, bool)> = media
        .newest
        .iter()
        .map(|s| (s.duration_ms, s.discontinuity))
        .collect();
    assert_eq!(told, [(5000, false), (2040, true), (5000, false)]);
}

#[test]
fn carriage_returns_byte_order_marks_and_blank_lines() {
    let untidy = format!(
        "\u{feff}{}\r\n#EXT-X-ENDLIST",
        LIVE.replace('\n', "\r\n\r\n")
    );
    let read = media(&untidy);
    assert!(read.is_ended);
    assert_eq!(read.newest, media(LIVE).newest);
}

#[test]
fn variants_with_quoted_commas() {
    let text = "#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"audio.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"
audio.m3u8
#EXT-X-STREAM-INF:CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=640x360,AVERAGE-BANDWIDTH=1,BANDWIDTH=500000,FRAME-RATE=12.500
low/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=4000000,RESOLUTION=1920x1080,CODECS=\"mp4a.40.2,hvc1.1.6.L120.90\"
# a comment between
high/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9000000,URI=\"iframes.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=300000
unknown.m3u8
";
    let Playlist::Multivariant(variants) = read(text).unwrap() else {
        panic!("no multivariant playlist");
    };
    assert_eq!(variants.len(), 4);
    let best = choose_variant(&variants, false).unwrap();
    assert_eq!(
        (best.uri.as_str(), best.codec, best.size),
        ("high/index.m3u8", Some(Codec::H265), Some((1920, 1080)))
    );
    let lean = choose_variant(&variants, true).unwrap();
    assert_eq!((lean.uri.as_str(), lean.codec), ("unknown.m3u8", None));
    let low = &variants[1];
    assert_eq!((low.codec, low.fps), (Some(Codec::H264), Some(12.5)));
    assert_eq!(choose_variant(&variants[..1], false), None);
}

#[test]
fn initialisations_and_byte_ranges() {
    let media = media(
        "#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"720@0\"
#EXTINF:4,
#EXT-X-BYTERANGE:1000@720
all.mp4
#EXTINF:4,
#EXT-X-BYTERANGE:500
all.mp4
#EXT-X-MAP:URI=\"second.mp4\"
#EXTINF:4,
plain.m4s
",
    );
    let range = |offset, length| Some(ByteRange { offset, length });
    let ranges: Vec<_> = media.newest.iter().map(|s| s.range).collect();
    assert_eq!(ranges, [range(720, 1000), range(1720, 500), None]);
    assert_eq!(media.newest[1].range.unwrap().last(), 2219);
    let maps: Vec<_> = media
        .newest
        .iter()
        .map(|s| s.map.clone().unwrap())
        .collect();
    assert_eq!(
        (maps[0].uri.as_str(), maps[0].range),
        ("init.mp4", range(0, 720))
    );
    assert_eq!((maps[2].uri.as_str(), maps[2].range), ("second.mp4", None));
}

#[test]
fn encryption_of_the_newest_segment_counts() {
    let with = |tail: &str| read(&format!("{LIVE}{tail}"));
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"k?METHOD=NONE\",IV=0x1\n#EXTINF:5,\ncam-45.ts\n";
    assert_eq!(
        with(key),
        Err(PlaylistError::Encrypted("AES-128".to_owned()))
    );
    let again_clear = format!("{key}#EXT-X-KEY:METHOD=NONE\n#EXTINF:5,\ncam-46.ts\n");
    assert!(with(&again_clear).is_ok());
    // A key for segments that are still to come.
    assert!(with("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n").is_ok());
    let session = "#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n";
    assert_eq!(
        read(session),
        Err(PlaylistError::Encrypted("SAMPLE-AES".to_owned()))
    );
}

#[test]
fn lost_segments_count_and_are_not_fetched() {
    let media = media(&format!("{LIVE}#EXT-X-GAP\n#EXTINF:5,\nlost.ts\n"));
    assert_eq!(media.next_sequence, 46);
    assert_eq!(media.newest.back().unwrap().uri, "cam-44.ts?token=a=b");
}

#[test]
fn playlists_without_segments_and_no_playlists() {
    let empty = media("#EXTM3U\n#EXT-X-TARGETDURATION:4\n");
    assert!(empty.newest.is_empty());
    for none in [
        "",
        "\n\n",
        "<html></html>",
        "#EXTINF:4,\nx.ts\n",
        "\0\x01\x02",
    ] {
        assert_eq!(read(none), Err(PlaylistError::NoPlaylist), "{none}");
    }
}

#[test]
fn no_line_grows_without_end() {
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    assert_eq!(read(&long), Err(PlaylistError::NoPlaylist));
    let after_head = format!("#EXTM3U\n{long}");
    assert_eq!(read(&after_head), Err(PlaylistError::LineTooLong));
}

#[test]
fn hostile_numbers_are_held() {
    let media = media(
        "#EXTM3U
#EXT-X-TARGETDURATION:1e30
#EXT-X-MEDIA-SEQUENCE:18446744073709551615
#EXTINF:-4,
#EXT-X-BYTERANGE:18446744073709551615@18446744073709551615
a
#EXTINF:NaN,
#EXT-X-BYTERANGE:0
b
",
    );
    assert_eq!(media.target_duration_ms, u32::MAX);
    assert_eq!(media.next_sequence, u64::MAX);
    let durations: Vec<u32> = media.newest.iter().map(|s| s.duration_ms).collect();
    assert_eq!(durations, [0, 0]);
    assert_eq!(media.newest[1].range, None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_and_cuts_change_nothing(
        lines in proptest::collection::vec("(#EXT-X-)?(BYTERANGE|MAP|KEY|STREAM-INF|GAP)?:?[ -~]{0,20}", 0..20),
        cut in 0usize..200,
    ) {
        let text = format!("#EXTM3U\n{}", lines.join("\n"));
        let (start, end) = text.as_bytes().split_at(cut.min(text.len()));
        let mut reader = PlaylistReader::new();
        let fed = reader.feed(start).and_then(|()| reader.feed(end));
        let parts = fed.and_then(|()| reader.finish());
        proptest::prop_assert_eq!(parts, read(&text));
    }

    #[test]
    fn no_raw_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let mut reader = PlaylistReader::new();
        if reader.feed(&bytes).is_ok() {
            let _ = reader.finish();
        }
    }
}
