use super::*;

fn video(sdp: &str) -> Video<'_> {
    parse(sdp.as_bytes()).unwrap().video.unwrap()
}

#[test]
fn reads_a_usual_camera() {
    let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Media\r\nt=0 0\r\na=control:*\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1;profile-level-id=640032\r\n\
        a=framerate:25.0\r\na=control:trackID=1\r\n\
        m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n";
    let description = parse(sdp.as_bytes()).unwrap();
    assert_eq!(description.control, Some("*"));
    let video = description.video.unwrap();
    assert_eq!((video.codec, video.payload_type), (Codec::H264, 96));
    assert_eq!(video.control, Some("trackID=1"));
    assert_eq!(video.fps, Some(25.0));
    assert_eq!(video.format, "packetization-mode=1;profile-level-id=640032");
}

#[test]
fn line_ends_blanks_and_missing_lines_do_not_matter() {
    let sdp = "v=0 \ns=a\ns=b\nm=application/TP-LINK 0 RTP/AVP smart/1/90000\n\
        m= video\nm=\nm=video 0 RTP/AVP 98 \na=rtpmap: 98  hevc/90000 \na=fmtp:98\na=control: track1 \n";
    let video = video(sdp);
    assert_eq!((video.codec, video.payload_type), (Codec::H265, 98));
    assert_eq!((video.control, video.format), (Some("track1"), ""));
}

#[test]
fn bytes_that_are_no_utf_8_cost_their_line_only() {
    let sdp = b"v=0\ns=\xc9\xe3\xcf\xf1\nm=video 0 RTP/AVP 26\n";
    let video = parse(sdp).unwrap().video.unwrap();
    assert_eq!((video.codec, video.clock_rate_hz), (Codec::Mjpeg, 90_000));
}

#[test]
fn the_first_stream_that_we_verify_counts() {
    let sdp = "v=0\nm=video 0 RTP/AVP 97\na=rtpmap:97 MP4V-ES/90000\n\
        m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:second\n\
        m=video 0 RTP/AVP 26\n";
    assert_eq!(video(sdp).control, Some("second"));
    for (sdp, name) in [
        (
            "v=0\nm=video 0 RTP/AVP 97\na=rtpmap:97 MP4V-ES/90000",
            "MP4V-ES",
        ),
        ("m=video 0 RTP/AVP 32\n", "MPV"),
        ("m=video 0 RTP/AVP 33\n", "MP2T"),
        ("m=video 0 RTP/AVP 96\n", "an unnamed encoding"),
    ] {
        let description = parse(sdp.as_bytes()).unwrap();
        assert_eq!(description.video, None);
        assert_eq!(description.other_video, Some(name));
    }
}

#[test]
fn attributes_of_other_payload_types_are_not_ours() {
    let sdp = "m=video 0 RTP/AVP 96 97\na=rtpmap:97 rtx/90000\na=rtpmap:96 H264/90000\n\
        a=fmtp:97 apt=96\na=fmtp:96 x=1\n";
    assert_eq!(video(sdp).format, "x=1");
    let numberless =
        "m=video 0 RTP/AVP 96\na=fmtp:packetization-mode=1;sprop-parameter-sets=Z0I=,aM4=\n";
    assert_eq!(video(numberless).codec, Codec::H264);
}

#[test]
fn sizes_and_rates_in_every_dialect() {
    let with = |line: &str| {
        let sdp = format!("m=video 0 RTP/AVP 26\n{line}\n");
        let video = parse(sdp.as_bytes()).unwrap().video.unwrap();
        (video.size, video.fps)
    };
    let size = Some((2560, 1440));
    assert_eq!(with("a=x-dimensions:2560,1440"), (size, None));
    assert_eq!(with("a=x-dimensions: 2560, 1440").0, None);
    assert_eq!(with("a=framesize:26 2560-1440"), (size, None));
    assert_eq!(with("a=cliprect:0,0,1440,2560"), (size, None));
    assert_eq!(with("a=x-dimensions:0,0"), (None, None));
    assert_eq!(with("a=framerate:0"), (None, None));
    assert_eq!(with("a=framerate:90000"), (None, None));
    assert_eq!(with("a=x-framerate: 12.49"), (None, Some(12.5)));
}

#[test]
fn garbage_is_no_description() {
    for garbage in [&b""[..], b"<html>", b"\x00\xff\x00", b"hello=1\n"] {
        assert_eq!(parse(garbage), Err(SdpError));
    }
    let nothing = parse(b"v=0\r\n").unwrap();
    assert_eq!((nothing.video, nothing.other_video), (None, None));
}

#[test]
fn controls_join_as_cameras_expect() {
    let url = "rtsp://10.0.0.1:554/cam/realmonitor?channel=1&subtype=0";
    for (base, control, want) in [
        (None, Some("*"), url),
        (None, None, url),
        (
            None,
            Some("trackID=0"),
            "rtsp://10.0.0.1:554/cam/realmonitor?channel=1&subtype=0/trackID=0",
        ),
        (
            Some("rtsp://10.0.0.1:554/live/"),
            Some("/trackID=1"),
            "rtsp://10.0.0.1:554/live/trackID=1",
        ),
        (
            Some("rtsp://10.0.0.1/live"),
            Some("trackID=1"),
            "rtsp://10.0.0.1/live/trackID=1",
        ),
        (
            Some("rtsp://10.0.0.1:554/live/"),
            Some("rtsp://10.0.0.1:554/other/v"),
            "rtsp://10.0.0.1:554/other/v",
        ),
        (
            None,
            Some("rtsp://192.168.7.7:554/other/v"),
            "rtsp://10.0.0.1:554/other/v",
        ),
        (
            Some("rtsp://rtsp://10.0.0.1:554/a/"),
            Some("v"),
            "rtsp://10.0.0.1:554/a/v",
        ),
        (
            Some("10.0.0.1:554/stream0/"),
            Some("v"),
            "rtsp://10.0.0.1:554/stream0/v",
        ),
        (
            Some("/stream0/"),
            Some("v"),
            "rtsp://10.0.0.1:554/stream0/v",
        ),
        (
            Some("rtsp://10.0.0.1:0/a"),
            Some("v"),
            "rtsp://10.0.0.1:554/a/v",
        ),
        (
            Some("rtsp://u:p@10.0.0.1:554/a"),
            Some("v"),
            "rtsp://10.0.0.1:554/a/v",
        ),
        (
            Some("rtsp://fe80::1:554/a"),
            Some("v"),
            "rtsp://10.0.0.1:554/a/v",
        ),
        (
            None,
            Some("track 1"),
            "rtsp://10.0.0.1:554/cam/realmonitor?channel=1&subtype=0/track%201",
        ),
    ] {
        assert_eq!(
            control_url(base, url, control),
            want,
            "{base:?} {control:?}"
        );
    }
    let tls = "rtsps://[fe80::1]:322/s";
    assert_eq!(
        control_url(Some("rtsp://[fe80::1]:554/s/"), tls, Some("v")),
        "rtsps://[fe80::1]:322/s/v"
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_sdp_lines_panic(lines in "([mas]=[a-z:0-9 /=;,-]{0,30}\n){0,8}") {
        let _ = parse(lines.as_bytes());
    }

    #[test]
    fn controls_stay_on_our_host(base in "\\PC{0,40}", control in "\\PC{0,40}") {
        let url = control_url(Some(&base), "rtsp://10.0.0.1:554/x", Some(&control));
        proptest::prop_assert!(url.starts_with("rtsp://10.0.0.1"), "{}", url);
        proptest::prop_assert!(!url.contains(char::is_whitespace));
    }
}
