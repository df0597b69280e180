use proptest::prelude::*;

use super::write::write_control as control;
use super::*;
use crate::wire::amf::{self, Value};
use crate::wire::flv::{AUDIO, HEAD_BYTES_MAX, VIDEO};

type Read = (u8, u32, u32, Vec<u8>);

/// Reads a stream that arrives in pieces of this length.
fn read(stream: &[u8], piece: usize) -> Result<Vec<Read>, RtmpError> {
    let mut reader = ChunkReader::default();
    let mut messages = Vec::new();
    for mut piece in stream.chunks(piece) {
        while !piece.is_empty() {
            let space = reader.space();
            assert!(!space.is_empty());
            let count = space.len().min(piece.len());
            space[..count].copy_from_slice(&piece[..count]);
            reader.filled(count);
            piece = &piece[count..];
            while let Some(message) = reader.poll()? {
                let head = reader.head(&message).to_vec();
                messages.push((message.kind, message.timestamp_ms, message.length, head));
            }
        }
    }
    Ok(messages)
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    let mut out = Vec::new();
    control(&mut out, SET_CHUNK_SIZE, None, &[size]);
    out
}

/// A header of type 0 for chunk stream 4.
fn header(timestamp: u32, length: u32, kind: u8) -> Vec<u8> {
    let [_, t0, t1, t2] = timestamp.min(EXTENDED).to_be_bytes();
    let [_, l0, l1, l2] = length.to_be_bytes();
    let mut out = vec![4, t0, t1, t2, l0, l1, l2, kind, 1, 0, 0, 0];
    if timestamp >= EXTENDED {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    out
}

#[test]
fn headers_of_all_four_types() {
    let mut stream = header(1000, 3, VIDEO);
    stream.extend_from_slice(b"abc");
    // A delta of 40 and another length; the same delta again; all as before, twice.
    stream.extend_from_slice(&[0x44, 0, 0, 40, 0, 0, 2, VIDEO, b'd', b'e']);
    stream.extend_from_slice(&[0x84, 0, 0, 20, b'f', b'g']);
    stream.extend_from_slice(&[0xc4, b'h', b'i', 0xc4, b'j', b'k']);
    let want = [
        (1000, "abc"),
        (1040, "de"),
        (1060, "fg"),
        (1080, "hi"),
        (1100, "jk"),
    ];
    for piece in [1, 3, stream.len()] {
        let got = read(&stream, piece).unwrap();
        let got: Vec<(u32, &str)> = got
            .iter()
            .map(|(_, t, _, head)| (*t, std::str::from_utf8(head).unwrap()))
            .collect();
        assert_eq!(got, want, "{piece}");
    }
}

#[test]
fn chunk_streams_interleave_and_may_have_long_numbers() {
    let mut stream = set_chunk_size(4);
    stream.extend_from_slice(&header(0, 6, VIDEO));
    stream.extend_from_slice(b"vide");
    // Chunk stream 64 + 6, and 64 + 1 + 256 * 2, in the middle of the picture.
    stream.extend_from_slice(&[0, 6, 0, 0, 9, 0, 0, 1, 20, 0, 0, 0, 0, b'a']);
    stream.extend_from_slice(&[1, 1, 2, 0, 0, 9, 0, 0, 1, 18, 0, 0, 0, 0, b'b']);
    stream.extend_from_slice(b"\xc4o!");
    let got = read(&stream, 5).unwrap();
    let got: Vec<(u8, &[u8])> = got.iter().map(|(k, _, _, h)| (*k, h.as_slice())).collect();
    assert_eq!(got, [(20, &b"a"[..]), (18, b"b"), (VIDEO, b"video!")]);
}

#[test]
fn late_timestamps_repeat_in_continuations_or_do_not() {
    let late = 0x0200_0000u32;
    for repeats in [true, false] {
        let mut stream = set_chunk_size(4);
        stream.extend_from_slice(&header(late, 10, VIDEO));
        for (i, part) in [&b"abcd"[..], b"efgh", b"ij"].iter().enumerate() {
            if i > 0 {
                stream.push(0xc4);
                if repeats {
                    stream.extend_from_slice(&late.to_be_bytes());
                }
            }
            stream.extend_from_slice(part);
        }
        // Something behind it, as in a stream that goes on.
        stream.extend_from_slice(&header(1, 4, VIDEO));
        stream.extend_from_slice(b"next");
        for piece in [1, 100] {
            let got = read(&stream, piece).unwrap();
            assert_eq!(
                got[0],
                (VIDEO, late, 10, b"abcdefghij".to_vec()),
                "{repeats}"
            );
            assert_eq!(got[1].3, b"next");
        }
    }
}

#[test]
fn a_message_that_claims_much_costs_its_head_only() {
    let mut stream = set_chunk_size(0x00ff_ffff);
    stream.extend_from_slice(&header(0, 0xff_ffff, VIDEO));
    stream.extend(std::iter::repeat_n(7, 0xff_ffff));
    stream.extend_from_slice(&header(0, 50_000, AUDIO));
    stream.extend(std::iter::repeat_n(7, 50_000));
    let got = read(&stream, 30_000).unwrap();
    assert_eq!((got[0].2, got[0].3.len()), (0xff_ffff, HEAD_BYTES_MAX));
    assert_eq!((got[1].2, got[1].3.len()), (50_000, 0));
}

#[test]
fn aborted_messages_are_thrown_away() {
    let mut stream = set_chunk_size(4);
    stream.extend_from_slice(&header(0, 6, VIDEO));
    stream.extend_from_slice(b"lost");
    control(&mut stream, ABORT, None, &[4]);
    stream.extend_from_slice(b"\xc4take\xc4n!");
    let got = read(&stream, 1).unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].3, b"taken!");
}

#[test]
fn what_breaks_a_stream() {
    assert_eq!(read(&[0xc4, 1, 2], 3), Err(RtmpError::Chunk));
    for size in [0, 0x8000_0000] {
        let error = RtmpError::ChunkSize(size);
        assert_eq!(read(&set_chunk_size(size), 1), Err(error));
    }
    let many: Vec<u8> = (3..40u8)
        .flat_map(|id| [id, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0])
        .collect();
    assert_eq!(read(&many, 7), Err(RtmpError::TooManyStreams));
}

#[test]
fn the_handshake_is_taken_from_the_front() {
    let mut reader = ChunkReader::default();
    let space = reader.space();
    space[0] = VERSION;
    space[1..4].copy_from_slice(b"abc");
    reader.filled(4);
    assert_eq!(reader.take(1), Some(&[VERSION][..]));
    assert_eq!(reader.take(4), None);
    assert_eq!(reader.take(3), Some(&b"abc"[..]));
}

#[test]
fn what_we_write_can_be_read() {
    let mut out = Vec::new();
    let facts = ConnectFacts {
        app: "live",
        url: "rtmp://10.0.0.9/live",
    };
    write_connect(&mut out, facts);
    let name = "x".repeat(500);
    write_command(&mut out, 1, "play", 0.0, &[Value::Null, Value::text(&name)]);
    control(&mut out, USER_CONTROL, Some(PING_RESPONSE), &[9]);
    let got = read(&out, 64).unwrap();
    let connect = amf::read_all(&got[0].3);
    assert_eq!(connect[2].get("app"), Some(&Value::text("live")));
    assert_eq!(connect[2].get("tcUrl"), Some(&Value::text(facts.url)));
    let play = amf::read_all(&got[1].3);
    assert_eq!(play[3], Value::text(&name));
    assert_eq!(got[2].3, [0, 7, 0, 0, 0, 9]);
}

#[test]
fn applications_and_streams() {
    for (path, app, stream) in [
        ("/live/cam1", "live", "cam1"),
        ("/live/cam1?token=x/y", "live", "cam1?token=x/y"),
        (
            "/bcs/channel0_main.bcs?channel=0&user=a",
            "bcs",
            "channel0_main.bcs?channel=0&user=a",
        ),
        ("/mystream", "mystream", ""),
        ("/mystream?user=a", "mystream?user=a", ""),
        ("/live/room/1", "live/room", "1"),
        ("/live/room/1/x", "live/room", "1/x"),
        ("/vod/mp4:dir/file", "vod", "mp4:dir/file"),
        ("/", "", ""),
        ("", "", ""),
    ] {
        let want = (app.to_owned(), stream.to_owned());
        assert_eq!(app_and_stream(path), want, "{path}");
    }
}

fn status(name: &str, level: &str, code: &str, description: &str) -> Vec<u8> {
    let mut body = Vec::new();
    amf::write(&mut body, &Value::text(name));
    amf::write(&mut body, &Value::Number(0.0));
    amf::write(&mut body, &Value::Null);
    let texts = [
        ("level", level),
        ("code", code),
        ("description", description),
    ];
    let object = texts.map(|(name, text)| (name.as_bytes(), Value::text(text)));
    amf::write(&mut body, &Value::Object(object.to_vec()));
    body
}

#[test]
fn refusals_by_code_and_by_words() {
    let adobe = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    for (name, level, code, description, want) in [
        (
            "onStatus",
            "error",
            "NetStream.Play.StreamNotFound",
            "",
            Some(Refusal::NotFound),
        ),
        (
            "onStatus",
            "status",
            "NetStream.Play.StreamNotFound",
            "",
            Some(Refusal::NotFound),
        ),
        (
            "onStatus",
            "error",
            "NetStream.Play.Failed",
            "Authentication error",
            Some(Refusal::Login),
        ),
        (
            "onStatus",
            "error",
            "NetStream.Play.Failed",
            "no such stream",
            Some(Refusal::NotFound),
        ),
        (
            "onStatus",
            "error",
            "NetStream.Play.Failed",
            "",
            Some(Refusal::Other),
        ),
        (
            "_error",
            "error",
            "NetConnection.Connect.Rejected",
            adobe,
            Some(Refusal::Challenge),
        ),
        (
            "_error",
            "",
            "NetConnection.Connect.Rejected",
            "?reason=authfailed&authmod=llnw",
            Some(Refusal::Login),
        ),
        (
            "_error",
            "",
            "NetConnection.Connect.Rejected",
            "Too many clients",
            Some(Refusal::Busy),
        ),
        ("_error", "", "", "", Some(Refusal::Other)),
        ("onStatus", "status", "NetStream.Play.Start", "", None),
        ("onStatus", "status", "NetStream.Play.Reset", "", None),
        (
            "_result",
            "status",
            "NetConnection.Connect.Success",
            "Connection succeeded.",
            None,
        ),
    ] {
        let body = status(name, level, code, description);
        let status = Command::parse(COMMAND, &body).unwrap().status();
        let got = status.is_refusal().then(|| status.refusal());
        assert_eq!(got, want, "{name} {code} {description}");
    }
}

#[test]
fn ends_and_amf3_commands() {
    let body = status("onStatus", "status", "NetStream.Play.UnpublishNotify", "");
    let amf3 = [&[0][..], &body].concat();
    let command = Command::parse(COMMAND_AMF3, &amf3).unwrap();
    assert!(command.status().ends_stream() && !command.status().is_refusal());
    assert_eq!(Command::parse(VIDEO, &body), None);
    assert_eq!(Command::parse(COMMAND, &[5]), None);
}

proptest! {
    #[test]
    fn no_stream_panics(stream in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
        let _ = read(&stream, piece);
        let _ = read(&[set_chunk_size(3), header(0, 9, 20), stream].concat(), piece);
    }

    #[test]
    fn messages_survive_any_cut(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..6), piece in 1usize..90) {
        let mut stream = Vec::new();
        for body in &bodies {
            write_command(&mut stream, 1, "x", 0.0, &[Value::Text(body)]);
        }
        let got = read(&stream, piece).unwrap();
        prop_assert_eq!(got.len(), bodies.len());
        for ((kind, _, _, head), body) in got.iter().zip(&bodies) {
            prop_assert_eq!(*kind, COMMAND);
            let values = amf::read_all(head);
            prop_assert_eq!(&values[2], &Value::Text(body));
        }
    }

    #[test]
    fn no_command_panics(kind in 14u8..22, body in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Some(command) = Command::parse(kind, &body) {
            command.status().refusal();
            command.stream();
        }
    }

    #[test]
    fn no_path_panics(path in "[/:?a]{0,12}") {
        app_and_stream(&path);
    }
}
