//! What a player sends: commands and control messages, as chunks of the first size.

use super::{CHUNK_BYTES_FIRST, COMMAND, USER_CONTROL};
use crate::wire::amf::{self, Value};

/// Chunk streams by custom: control, commands, and commands about a stream.
const CONTROL_CHUNKS: u8 = 2;
const COMMAND_CHUNKS: u8 = 3;
const STREAM_CHUNKS: u8 = 8;

/// What `connect` tells of the address.
#[derive(Debug, Clone, Copy)]
pub struct ConnectFacts<'a> {
    pub app: &'a str,
    /// `rtmp://host:port/app`
    pub url: &'a str,
}

/// Splits path and query of an RTMP URL into the application and the stream to play, by the rule of
/// FFmpeg, so that an address which plays there is understood the same here: the first segment is
/// the application, with more than two the first two. The query goes to the stream, or to the
/// application where there is no stream.
pub fn app_and_stream(path: &str) -> (String, String) {
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(p, q)| (p, Some(q)));
    let path = path.strip_prefix('/').unwrap_or(path);
    let (app, stream) = match path.split_once('/') {
        None => (path, ""),
        Some((first, rest)) => {
            // `mp4:dir/file` is one name.
            let second = rest
                .find('/')
                .filter(|slash| rest.find(':').is_none_or(|colon| *slash < colon));
            match second {
                Some(slash) => {
                    let at = first.len() + 1 + slash;
                    (
                        path.get(..at).unwrap_or(path),
                        path.get(at + 1..).unwrap_or(""),
                    )
                }
                None => (first, rest),
            }
        }
    };
    let (mut app, mut stream) = (app.to_owned(), stream.to_owned());
    if let Some(query) = query {
        let place = if stream.is_empty() {
            &mut app
        } else {
            &mut stream
        };
        place.push('?');
        place.push_str(query);
    }
    (app, stream)
}

/// `connect` with transaction 1 (section 7.2.1.1), with the codecs of enhanced RTMP.
pub fn write_connect(out: &mut Vec<u8>, facts: ConnectFacts<'_>) {
    /// All of the specification's sounds and pictures.
    const AUDIO_CODECS: f64 = 4095.0;
    const VIDEO_CODECS: f64 = 252.0;
    const CAPABILITIES: f64 = 15.0;
    let codes = ["hvc1", "av01", "vp09", "avc1"].map(Value::text);
    let properties = [
        ("app", Value::text(facts.app)),
        ("flashVer", Value::text("LNX 9,0,124,2")),
        ("tcUrl", Value::text(facts.url)),
        ("fpad", Value::Boolean(false)),
        ("capabilities", Value::Number(CAPABILITIES)),
        ("audioCodecs", Value::Number(AUDIO_CODECS)),
        ("videoCodecs", Value::Number(VIDEO_CODECS)),
        ("videoFunction", Value::Number(1.0)),
        ("fourCcList", Value::Array(codes.into())),
    ];
    let properties = properties.map(|(name, value)| (name.as_bytes(), value));
    write_command(out, 0, "connect", 1.0, &[Value::Object(properties.into())]);
}

/// A command to the connection (`stream` 0) or to a stream.
pub fn write_command(
    out: &mut Vec<u8>,
    stream: u32,
    name: &str,
    transaction: f64,
    arguments: &[Value<'_>],
) {
    let mut body = zeroize::Zeroizing::new(Vec::with_capacity(1024));
    amf::write(&mut body, &Value::text(name));
    amf::write(&mut body, &Value::Number(transaction));
    arguments
        .iter()
        .for_each(|value| amf::write(&mut body, value));
    let chunks = if stream == 0 {
        COMMAND_CHUNKS
    } else {
        STREAM_CHUNKS
    };
    write_message(out, chunks, COMMAND, stream, &body);
}

/// A control message of this type; a user control event begins with its number.
pub fn write_control(out: &mut Vec<u8>, kind: u8, event: Option<u16>, numbers: &[u32]) {
    let mut body = Vec::with_capacity(10);
    if let (USER_CONTROL, Some(event)) = (kind, event) {
        body.extend_from_slice(&event.to_be_bytes());
    }
    for number in numbers {
        body.extend_from_slice(&number.to_be_bytes());
    }
    write_message(out, CONTROL_CHUNKS, kind, 0, &body);
}

/// One message: a header of type 0, then chunks of type 3. Timestamps do not matter here.
fn write_message(out: &mut Vec<u8>, chunks: u8, kind: u8, stream: u32, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [_, l0, l1, l2] = length;
    out.extend_from_slice(&[chunks, 0, 0, 0, l0, l1, l2, kind]);
    out.extend_from_slice(&stream.to_le_bytes());
    for (index, chunk) in body.chunks(CHUNK_BYTES_FIRST).enumerate() {
        if index > 0 {
            out.push(0xc0 | chunks);
        }
        out.extend_from_slice(chunk);
    }
}
