use super::*;

fn parse(text: &str) -> ParsedUrl {
    StreamUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn takes_the_login_out() {
    let p = parse("rtsp://admin:password123@192.168.1.100:554/Streaming/Channels/101");
    assert_eq!(
        p.url.to_string(),
        "rtsp://192.168.1.100:554/Streaming/Channels/101"
    );
    assert_eq!(
        p.credentials(),
        Some(Credentials::new("admin", "password123"))
    );
    assert_eq!(
        p.url.masked(Some("admin"), true),
        "rtsp://admin:***@192.168.1.100:554/Streaming/Channels/101"
    );
    assert_eq!(p.url.connection_type(), ConnectionType::Rtsp);
}

#[test]
fn web_addresses_say_what_they_hold() {
    use ConnectionType::{Hls, HttpMjpeg, Https, Rtmp};
    for (text, want) in [
        ("http://h/live/cam1.flv", Rtmp),
        (
            "https://h/flv?port=1935&app=bcs&stream=channel0_main.bcs",
            Rtmp,
        ),
        ("rtmps://h/live/cam1", Rtmp),
        ("http://h/flvx", HttpMjpeg),
        ("https://h/video?x=.flv", Https),
        ("http://h/live/cam1.M3U8?token=1", Hls),
    ] {
        assert_eq!(parse(text).url.connection_type(), want, "{text}");
    }
}

#[test]
fn special_characters_work_raw_and_encoded() {
    let login = Credentials::new("admin", "p@ss:w/rd?#%");
    let raw = parse("rtsp://admin:p@ss:w/rd?#%@10.0.0.1/live");
    assert_eq!(raw.credentials().as_ref(), Some(&login));
    let encoded = raw.url.with_login(Some(&login));
    assert_eq!(
        *encoded,
        "rtsp://admin:p%40ss%3Aw%2Frd%3F%23%25@10.0.0.1:554/live"
    );
    assert_eq!(parse(&encoded), raw);
}

#[test]
fn finds_secrets_in_queries_and_paths() {
    let p =
        parse("http://10.0.0.9:88/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr=admin&pwd=s%20cret");
    assert_eq!(
        p.url.to_string(),
        "http://10.0.0.9:88/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr={user}&pwd={pass}"
    );
    assert_eq!(p.credentials(), Some(Credentials::new("admin", "s cret")));
    assert_eq!(
        *p.url.wire_path(p.credentials().as_ref()),
        "/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr=admin&pwd=s%20cret"
    );

    let xm = parse("rtsp://10.0.0.9/user=admin_password=a_b_channel=1_stream=0.sdp?real_stream");
    assert_eq!(
        xm.url.path,
        "/user={user}_password={pass}_channel=1_stream=0.sdp?real_stream"
    );
    assert_eq!(xm.credentials(), Some(Credentials::new("admin", "a_b")));
    let login = Credentials::new("admin", "s3cret");
    let hashed = parse("rtsp://10.0.0.9/user={user}_password={hash}_channel=1_stream=0.sdp").url;
    assert_eq!(parse(&hashed.with_login(Some(&login))).url, hashed);
    let empty = parse("rtsp://10.0.0.9/user=admin&password=&channel=1&stream=0.sdp");
    assert_eq!(
        empty.url.path,
        "/user={user}&password=&channel=1&stream=0.sdp"
    );
    assert!(!xm.url.masked(Some("admin"), true).contains("a_b"));
}

#[test]
fn a_masked_url_says_so() {
    let p = parse("rtsp://admin:***@10.0.0.1:554/x?pwd=***");
    assert_eq!(
        (p.password, p.url.path.as_str()),
        (PasswordPart::Masked, "/x?pwd={pass}")
    );
    assert_eq!(
        StreamUrl::parse("rtsp://a:one@h/x?pwd=two"),
        Err(UrlError::TwoPasswords)
    );
}

#[test]
fn ipv6_with_and_without_zone() {
    let p = parse("rtsp://[FE80::1%25eth0]:8554/s");
    assert_eq!((p.url.host.as_str(), p.url.port), ("fe80::1%eth0", 8554));
    assert_eq!(p.url.authority(), "[fe80::1]:8554");
    assert_eq!(p.url.to_string(), "rtsp://[fe80::1%eth0]:8554/s");
    assert_eq!(parse(&p.url.to_string()).url, p.url);
}

#[test]
fn ports_are_shown_where_the_contract_says() {
    assert_eq!(parse("rtsp://h/x").url.to_string(), "rtsp://h:554/x");
    assert_eq!(parse("http://h:80/x").url.to_string(), "http://h/x");
    assert_eq!(parse("https://h:8443").url.to_string(), "https://h:8443/");
    assert_eq!(
        parse("usb:usb-046d_C920-video-index0").url.to_string(),
        "usb:usb-046d_C920-video-index0"
    );
    assert_eq!(parse("file:/srv/clips/a.mp4").url.path, "/srv/clips/a.mp4");
}

#[test]
fn errors_name_the_thing_and_never_the_password() {
    for (text, want) in [
        (
            "rtsp://admin:s3cret@10.0.0.1:99999/x",
            "`99999` is not a port (1 to 65535)",
        ),
        ("gopher://x/", "`gopher` is not a URL scheme"),
        ("192.168.1.10:554/x", "a URL starts with its scheme"),
        ("rtsp://admin:s3cret@/x", "the URL names no host"),
        ("rtsp://a b/", "a URL holds no blanks"),
        ("rtsp://[::1/x", "is not a host name"),
    ] {
        let error = StreamUrl::parse(text).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn hides_a_login_given_apart() {
    let mut url = parse("http://h/live/s3cret/av?x=s3cret&y=1").url;
    url.hide_login(&Credentials::new("u", "s3cret"));
    assert_eq!(url.path, "/live/{pass}/av?x={pass}&y=1");
}

#[test]
fn xiongmai_hash_of_the_empty_password() {
    assert_eq!(sofia_hash(""), "tlJwpbo6");
}

proptest::proptest! {
    #[test]
    fn any_login_survives_a_round_trip(user in "[^\\s\\p{C}]{1,12}", pass in "[^\\s\\p{C}]{1,16}") {
        proptest::prop_assume!(pass != "***");
        let url = parse("rtsp://10.0.0.1:554/live?x=1").url;
        let login = Credentials::new(user, pass);
        let again = parse(&url.with_login(Some(&login)));
        proptest::prop_assert_eq!(again.credentials(), Some(login));
        proptest::prop_assert_eq!(again.url, url);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,64}") {
        let _ = StreamUrl::parse(&text);
        let _ = StreamUrl::parse(&format!("rtsp://{text}"));
    }
}
