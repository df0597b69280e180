use super::*;

const FINGERPRINT: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

/// As Pion answers, which go2rtc and MediaMTX are built on: everything in the media part.
fn pion(change: impl Fn(&str) -> String) -> Vec<u8> {
    let text = format!(
        "v=0\r\no=- 3 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {FINGERPRINT}\r\na=group:BUNDLE 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 99 96\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:0\r\na=ice-ufrag:uFrG\r\n\
         a=ice-pwd:passpasspasspasspasspass\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\n\
         a=rtpmap:99 h264/90000\r\na=fmtp:99 packetization-mode=1;sprop-parameter-sets=Z0LAKNoB4AiflwEQAAADABAAAAMDIPGDKg==,aM48gA==\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.9 8555 typ host\r\na=candidate:1 2 udp 2130706431 192.0.2.9 8555 typ host\r\n\
         a=candidate:2 1 tcp 1671430143 192.0.2.9 8555 typ host tcptype passive\r\n\
         a=candidate:3 1 UDP 2130706431 2001:db8::9 8555 typ host\r\na=candidate:4 1 udp 1 f00.local 9 typ host\r\na=sendonly\r\n"
    );
    change(&text).into_bytes()
}

#[test]
fn an_answer_as_pion_writes_it() {
    let answer = parse(&pion(str::to_owned)).unwrap();
    assert_eq!(answer.user, "uFrG");
    assert_eq!(answer.password, "passpasspasspasspasspass");
    assert_eq!(answer.fingerprint[..3], [0, 0x11, 0x22]);
    assert!(answer.is_dtls_client);
    let kinds: Vec<u8> = answer.formats.iter().map(|f| f.payload_type).collect();
    assert_eq!(kinds, [99, 96]);
    let size = answer.formats[0].sets.read().unwrap();
    assert_eq!((size.width, size.height), (1920, 1080));
    let addresses: Vec<String> = answer
        .candidates
        .iter()
        .map(|c| c.address.to_string())
        .collect();
    assert_eq!(addresses, ["192.0.2.9:8555", "[2001:db8::9]:8555"]);
    assert_eq!(answer.other_candidates, 3);
}

#[test]
fn what_leads_to_no_video_is_named() {
    let replaced = |from: &str, to: &str| parse(&pion(|text| text.replace(from, to))).unwrap_err();
    assert_eq!(parse(b"<html>"), Err(AnswerError::NotSdp));
    assert_eq!(replaced("m=video", "m=audio"), AnswerError::NoVideo);
    assert_eq!(replaced("m=video 9", "m=video 0"), AnswerError::Rejected);
    assert_eq!(
        replaced("a=sendonly", "a=inactive"),
        AnswerError::NotSending("inactive")
    );
    assert_eq!(
        parse(&pion(|t| t
            .replace(" H264/", " X/")
            .replace(" h264/", " Y/"))),
        Err(AnswerError::Codec("X/90000".to_owned()))
    );
    assert_eq!(
        replaced("a=ice-pwd", "a=x"),
        AnswerError::Missing("a=ice-pwd")
    );
    assert_eq!(
        replaced("sha-256", "sha-1"),
        AnswerError::Missing("a=fingerprint:sha-256")
    );
}

#[test]
fn the_passive_side_waits_for_our_handshake() {
    let passive = parse(&pion(|t| t.replace("setup:active", "setup:passive"))).unwrap();
    assert!(!passive.is_dtls_client);
}

#[test]
fn our_offer_is_one_that_we_could_answer() {
    let fingerprint = [0xab; 32];
    let offer = Offer {
        session_id: u64::MAX,
        user: "abcd",
        password: "0123456789abcdef012345",
        fingerprint: &fingerprint,
        address: "[2001:db8::1]:5000".parse().unwrap(),
        priority: 7,
    };
    let text = offer.text();
    assert!(text.lines().all(|l| l.get(1..2) == Some("=")), "{text}");
    assert!(text.contains("a=candidate:1 1 udp 7 2001:db8::1 5000 typ host\r\n"));
    // Turned round, it is what we read.
    let read = parse(text.replace("recvonly", "sendonly").as_bytes()).unwrap();
    assert_eq!(
        (read.user.as_str(), read.fingerprint),
        ("abcd", fingerprint)
    );
    assert_eq!(read.candidates[0].address, offer.address);
    let codecs: Vec<Codec> = read.formats.iter().map(|f| f.codec).collect();
    for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        assert!(codecs.contains(&codec), "{codec:?}");
    }
}

#[test]
fn lists_are_bounded() {
    let many: String = (0..500)
        .map(|i| {
            format!(
                "a=candidate:{i} 1 udp 1 192.0.2.1 {} typ host\r\n",
                1000 + i
            )
        })
        .collect();
    let answer = parse(&pion(|t| format!("{t}{many}"))).unwrap();
    assert_eq!(answer.candidates.len(), CANDIDATES_MAX);
}

proptest::proptest! {
    #[test]
    fn no_answer_panics(lines in proptest::collection::vec("(v=0|m=video [0-9]{1,3} X( [0-9]{1,4}){0,3}|a=(candidate|rtpmap|fmtp|fingerprint|ice-ufrag|setup):[ -~]{0,60}|[ -~é]{0,20})", 0..20)) {
        let _ = parse(lines.join("\r\n").as_bytes());
    }

    #[test]
    fn no_changed_byte_panics(at in 0usize..900, byte in proptest::prelude::any::<u8>()) {
        let mut text = pion(str::to_owned);
        let at = at % text.len();
        text[at] = byte;
        let _ = parse(&text);
    }
}
