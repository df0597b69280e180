use super::*;

/// What a stream comes to, owned: (status, body) or (channel, payload).
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Response(u16, Vec<u8>),
    Data(u8, Vec<u8>),
    Error(RtspError),
}

fn drain(decoder: &mut Decoder, seen: &mut Vec<Seen>) -> bool {
    loop {
        match decoder.poll() {
            Ok(None) => return true,
            Ok(Some(Event::Response(m))) => {
                let body = decoder.response(&m).body.to_vec();
                seen.push(Seen::Response(m.status, body));
            }
            Ok(Some(Event::Data { channel, payload })) => {
                let payload = decoder.bytes(payload).to_vec();
                seen.push(Seen::Data(channel, payload));
            }
            Err(error) => {
                seen.push(Seen::Error(error));
                return false;
            }
        }
    }
}

/// Feeds the stream in pieces of these lengths, over and over.
fn decode(stream: &[u8], pieces: &[usize]) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = stream;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty());
        let wanted = (*pieces.next().unwrap()).max(1);
        let count = wanted.min(rest.len()).min(space.len());
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count);
        rest = &rest[count..];
        if !drain(&mut decoder, &mut seen) {
            return seen;
        }
    }
    if let Some(Event::Response(m)) = decoder.finish() {
        seen.push(Seen::Response(m.status, decoder.response(&m).body.to_vec()));
    }
    assert!(decoder.buffer.len() <= BUFFER_BYTES_MAX);
    seen
}

fn decode_whole(stream: &[u8]) -> Vec<Seen> {
    decode(stream, &[usize::MAX])
}

fn response(text: &str) -> (Decoder, Message) {
    let mut decoder = Decoder::default();
    decoder.space()[..text.len()].copy_from_slice(text.as_bytes());
    decoder.filled(text.len());
    match decoder.poll() {
        Ok(Some(Event::Response(message))) => (decoder, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_a_plain_answer() {
    let (decoder, message) = response(
        "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
    );
    let response = decoder.response(&message);
    assert_eq!((response.status, response.is_http), (200, false));
    assert_eq!(response.body, b"v=0\r\n");
    assert_eq!(response.header("cseq"), Some("2"));
}

#[test]
fn headers_match_in_any_case_and_repeat() {
    let (decoder, message) = response(
        "RTSP/2.0 401 Unauthorized\nwww-authenticate: Digest realm=\"a\", nonce=\"1\"\nWWW-AUTHENTICATE :  Basic realm=\"a\"  \n\n",
    );
    let response = decoder.response(&message);
    let challenges: Vec<_> = response.headers("WWW-Authenticate").collect();
    assert_eq!(
        challenges,
        [r#"Digest realm="a", nonce="1""#, r#"Basic realm="a""#]
    );
}

#[test]
fn session_and_channel_are_taken_out_of_their_parameters() {
    let (decoder, message) = response(
        "RTSP/1.0 200 OK\r\nSession: 1A2B ;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3;ssrc= 1234\r\n\r\n",
    );
    let response = decoder.response(&message);
    assert_eq!(response.session(), Some("1A2B"));
    assert_eq!(response.interleaved_channel(), Some(2));
}

#[test]
fn frames_and_answers_mix() {
    let stream = b"$\x00\x00\x02ab\r\nRTSP/1.0 200 OK\r\n\r\n$\x01\x00\x00$\x00\x00\x01c";
    assert_eq!(
        decode_whole(stream),
        [
            Seen::Data(0, b"ab".to_vec()),
            Seen::Response(200, vec![]),
            Seen::Data(1, vec![]),
            Seen::Data(0, b"c".to_vec()),
        ]
    );
}

#[test]
fn a_short_body_is_given_out_when_the_peer_falls_silent() {
    let short = b"RTSP/1.0 200 OK\r\nContent-Length: 500\r\n\r\nv=0\r\n";
    assert_eq!(
        decode_whole(short),
        [Seen::Response(200, b"v=0\r\n".to_vec())]
    );
    let without_length = b"RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
    assert_eq!(
        decode_whole(without_length),
        [Seen::Response(200, b"v=0\r\n".to_vec())]
    );
}

#[test]
fn requests_of_the_server_are_skipped() {
    let stream =
        b"SET_PARAMETER rtsp://h/x RTSP/1.0\r\nContent-Length: 2\r\n\r\nhiRTSP/1.0 200 OK\r\n\r\n";
    assert_eq!(decode_whole(stream), [Seen::Response(200, vec![])]);
}

#[test]
fn a_web_server_is_known_by_its_status_line() {
    let (decoder, message) = response("HTTP/1.1 400 Bad Request\r\nContent-Length: 90000\r\n\r\n");
    let response = decoder.response(&message);
    assert_eq!((response.status, response.is_http), (400, true));
}

#[test]
fn another_protocol_is_refused_at_once() {
    for banner in [
        &b"SSH-2.0-dropbear\r\n"[..],
        b"\x16\x03\x01",
        b"220 ftp\r\n",
    ] {
        assert_eq!(
            decode_whole(banner),
            [Seen::Error(RtspError::NotRtsp)],
            "{banner:?}"
        );
    }
    assert_eq!(
        decode_whole(b"RTSP/1.0 fine\r\n\r\n"),
        [Seen::Error(RtspError::StatusLine)]
    );
}

#[test]
fn sync_comes_back_after_lost_bytes() {
    let mut stream = b"RTSP/1.0 200 OK\r\n\r\n".to_vec();
    stream.extend_from_slice(b"x$\x00lost R bytes");
    let rtp = b"\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07";
    stream.extend_from_slice(b"$\x00\x00\x0c");
    stream.extend_from_slice(rtp);
    assert_eq!(
        decode_whole(&stream),
        [Seen::Response(200, vec![]), Seen::Data(0, rtp.to_vec())]
    );
}

#[test]
fn every_length_has_its_bound() {
    let endless = |line: &str| {
        let mut stream = b"RTSP/1.0 200 OK\r\n".to_vec();
        stream.extend(
            line.bytes()
                .cycle()
                .take((MESSAGE_BYTES_MAX / line.len() + 2) * line.len()),
        );
        decode(&stream, &[1000])
    };
    assert_eq!(endless("X-Fill: x\r\n"), [Seen::Error(RtspError::TooLong)]);
    assert_eq!(endless("x"), [Seen::Error(RtspError::TooLong)]);

    let many = format!(
        "RTSP/1.0 200 OK\r\n{}\r\n",
        "A: b\r\n".repeat(HEADERS_MAX + 1)
    );
    assert_eq!(
        decode_whole(many.as_bytes()),
        [Seen::Error(RtspError::TooManyHeaders)]
    );
    let most = format!("RTSP/1.0 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX));
    assert_eq!(decode_whole(most.as_bytes()), [Seen::Response(200, vec![])]);

    let huge = b"RTSP/1.0 200 OK\r\nContent-Length: 70000\r\n\r\n";
    assert_eq!(decode_whole(huge), [Seen::Error(RtspError::TooLong)]);
    let mut open = b"RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n".to_vec();
    open.resize(MESSAGE_BYTES_MAX + 1, b'a');
    assert_eq!(decode_whole(&open), [Seen::Error(RtspError::TooLong)]);

    let mut garbage = b"RTSP/1.0 200 OK\r\n\r\n".to_vec();
    garbage.resize(garbage.len() + GARBAGE_BYTES_MAX + 1, b'z');
    assert_eq!(
        decode(&garbage, &[4096]).last(),
        Some(&Seen::Error(RtspError::Garbage))
    );
}

#[test]
fn the_longest_frame_passes() {
    let mut stream = b"$\x00\xff\xff".to_vec();
    stream.resize(stream.len() + 0xffff, 7);
    assert_eq!(decode(&stream, &[1400]), [Seen::Data(0, vec![7; 0xffff])]);
}

#[test]
fn a_request_has_its_headers_in_order() {
    let mut out = Vec::new();
    let headers = [("User-Agent", "t"), ("Accept", "application/sdp")];
    write_request(&mut out, "DESCRIBE", "rtsp://h:554/x", 2, headers);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "DESCRIBE rtsp://h:554/x RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: t\r\nAccept: application/sdp\r\n\r\n"
    );
}

fn part() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    prop_oneof![
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(c, p)| {
            let mut out = vec![b'$', c, 0, p.len() as u8];
            out.extend(p);
            out
        }),
        (100u16..600, 0usize..20).prop_map(|(status, length)| {
            let body = "v".repeat(length);
            format!("RTSP/1.0 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
        }),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(b"ANNOUNCE rtsp://h RTSP/1.0\n\n".to_vec()),
        Just(b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0\n".to_vec()),
    ]
}

proptest::proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        parts in proptest::collection::vec(part(), 1..8),
        pieces in proptest::collection::vec(1usize..30, 1..6),
    ) {
        let stream = parts.concat();
        proptest::prop_assert_eq!(decode(&stream, &pieces), decode_whole(&stream));
    }

    #[test]
    fn no_bytes_panic(stream in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        decode_whole(&stream);
    }
}
