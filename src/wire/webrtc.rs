//! Offer and answer of a receiver of one video stream over WebRTC (RFC 8829, RFC 8866; RFC 9725 section
//! 4.2 for what WHIP and WHEP take of it).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::parameters::ParameterSets;
use crate::model::Codec;

/// Answers are shorter; browsers send about 8 KiB.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Addresses of the other side that are tried.
const CANDIDATES_MAX: usize = 16;
/// Encodings of one answer that are read.
const FORMATS_MAX: usize = 32;
/// ICE user fragments and passwords are at most this long (RFC 8839 section 5.4).
const ICE_CHARS_MAX: usize = 256;

/// What we can receive, most wanted first: payload type, name, parameters. Cameras say all kinds of
/// H.264 profiles, and bridges pass them on without a look.
const FORMATS: &[(u8, &str, &str)] = &[
    (
        96,
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (
        97,
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    ),
    (
        98,
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    ),
    (
        99,
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640029",
    ),
    (
        100,
        "H265",
        "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
    ),
    (101, "VP8", ""),
    (102, "VP9", "profile-id=0"),
    (103, "AV1", "level-idx=13;profile=0;tier=0"),
];

/// Our side of a session.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    pub session_id: u64,
    /// ICE user fragment and password (RFC 8445 section 5.3).
    pub user: &'a str,
    pub password: &'a str,
    /// SHA-256 of our certificate.
    pub fingerprint: &'a [u8],
    /// Where we listen, by UDP.
    pub address: SocketAddr,
    /// Of the candidate (RFC 8445 section 5.1.2).
    pub priority: u32,
}

impl Offer<'_> {
    /// The session description.
    pub fn text(&self) -> String {
        let Self {
            session_id,
            user,
            password,
            address,
            priority,
            ..
        } = self;
        let session_id = session_id >> 1; // RFC 8829 section 5.2.1: the highest bit is zero
        let kinds: Vec<String> = FORMATS.iter().map(|f| f.0.to_string()).collect();
        let fingerprint: Vec<String> = self
            .fingerprint
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let (kinds, fingerprint) = (kinds.join(" "), fingerprint.join(":"));
        let (ip, port) = (address.ip(), address.port());
        let mut text = format!(
            "v=0\r\no=- {session_id} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS *\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {kinds}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=ice-ufrag:{user}\r\na=ice-pwd:{password}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n"
        );
        for (kind, name, format) in FORMATS {
            let _ = write!(text, "a=rtpmap:{kind} {name}/90000\r\n");
            if !format.is_empty() {
                let _ = write!(text, "a=fmtp:{kind} {format}\r\n");
            }
            let _ = write!(
                text,
                "a=rtcp-fb:{kind} nack\r\na=rtcp-fb:{kind} nack pli\r\n"
            );
        }
        let _ = write!(
            text,
            "a=candidate:1 1 udp {priority} {ip} {port} typ host\r\na=end-of-candidates\r\n"
        );
        text
    }
}

/// One encoding that the other side may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub payload_type: u8,
    pub codec: Codec,
    /// Those of the description; cameras send them in the stream too.
    pub sets: ParameterSets,
}

/// An address of the other side (RFC 8839 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub foundation: String,
    pub priority: u32,
    pub address: SocketAddr,
}

/// What the other side answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub user: String,
    pub password: String,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// It begins the DTLS handshake.
    pub is_dtls_client: bool,
    /// In its order; never empty.
    pub formats: Vec<Format>,
    /// Addresses that are reached by UDP, at most 16.
    pub candidates: Vec<Candidate>,
    /// How many others there were: over TCP, with a name instead of an address.
    pub other_candidates: usize,
}

/// Why an answer leads to no video.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("no session description")]
    NotSdp,
    #[error("a session description without video")]
    NoVideo,
    #[error("a refusal of the video: it has no codec that we can check, or no picture now")]
    Rejected,
    #[error("a session in which it sends nothing (`{0}`)")]
    NotSending(&'static str),
    #[error("no codec that we offered, but {0}")]
    Codec(String),
    #[error("a session description without `{0}`")]
    Missing(&'static str),
}

/// Reads an answer. Lines that make no sense are skipped.
///
/// # Errors
/// [`AnswerError`], which reads well behind "the device answers with".
pub fn parse(body: &[u8]) -> Result<Answer, AnswerError> {
    let mut reader = Reader::default();
    let text = String::from_utf8_lossy(body);
    let mut is_sdp = false;
    for line in text.lines().map(str::trim) {
        if let Some(value) = line.strip_prefix("m=") {
            reader.medium(value);
        } else if let Some(value) = line.strip_prefix("a=") {
            reader.attribute(value);
        } else if line.starts_with("v=") {
            is_sdp = true;
        }
    }
    match is_sdp {
        true => reader.answer(),
        false => Err(AnswerError::NotSdp),
    }
}

/// Which part of a description is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    #[default]
    Session,
    Video,
    Other,
}

/// An attribute of the video, or else of the session.
#[derive(Debug, Default)]
struct Setting<T> {
    session: Option<T>,
    video: Option<T>,
}

impl<T> Setting<T> {
    /// The first one counts.
    fn set(&mut self, part: Part, value: T) {
        match part {
            Part::Session if self.session.is_none() => self.session = Some(value),
            Part::Video if self.video.is_none() => self.video = Some(value),
            _ => {}
        }
    }

    fn get(self) -> Option<T> {
        self.video.or(self.session)
    }
}

#[derive(Debug, Default)]
struct Reader<'a> {
    part: Part,
    has_video: bool,
    is_rejected: bool,
    user: Setting<&'a str>,
    password: Setting<&'a str>,
    fingerprint: Setting<[u8; 32]>,
    is_client: Setting<bool>,
    direction: Setting<&'static str>,
    /// As the `m=` line orders them.
    payload_types: Vec<u8>,
    encodings: Vec<(u8, &'a str)>,
    parameters: Vec<(u8, &'a str)>,
    candidates: Vec<Candidate>,
    other_candidates: usize,
}

impl<'a> Reader<'a> {
    /// `video 9 UDP/TLS/RTP/SAVPF 96 97`.
    fn medium(&mut self, value: &'a str) {
        let mut words = value.split_ascii_whitespace();
        let is_video = words.next() == Some("video");
        self.part = match is_video && !self.has_video {
            true => Part::Video,
            false => Part::Other,
        };
        if self.part == Part::Video {
            self.has_video = true;
            self.is_rejected = words.next() == Some("0");
            let numbers = words.skip(1).filter_map(|w| w.parse().ok());
            self.payload_types = numbers.take(FORMATS_MAX).collect();
        }
    }

    fn attribute(&mut self, value: &'a str) {
        let part = self.part;
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        let value = value.trim();
        match name {
            "ice-ufrag" if is_ice(value) => self.user.set(part, value),
            "ice-pwd" if is_ice(value) => self.password.set(part, value),
            "fingerprint" => {
                if let Some(fingerprint) = fingerprint(value) {
                    self.fingerprint.set(part, fingerprint);
                }
            }
            "setup" => self.is_client.set(part, value != "passive"),
            "recvonly" => self.direction.set(part, "recvonly"),
            "inactive" => self.direction.set(part, "inactive"),
            "sendonly" | "sendrecv" => self.direction.set(part, ""),
            // Of a bundle, any part may hold them.
            "candidate" => self.candidate(value),
            "rtpmap" if part == Part::Video && self.encodings.len() < FORMATS_MAX => {
                self.encodings.extend(numbered(value));
            }
            "fmtp" if part == Part::Video && self.parameters.len() < FORMATS_MAX => {
                self.parameters.extend(numbered(value));
            }
            _ => {}
        }
    }

    fn candidate(&mut self, value: &str) {
        match candidate(value) {
            Some(candidate) if self.candidates.len() < CANDIDATES_MAX => {
                if !self
                    .candidates
                    .iter()
                    .any(|c| c.address == candidate.address)
                {
                    self.candidates.push(candidate);
                }
            }
            _ => self.other_candidates += 1,
        }
    }

    fn answer(self) -> Result<Answer, AnswerError> {
        if !self.has_video {
            return Err(AnswerError::NoVideo);
        }
        if self.is_rejected {
            return Err(AnswerError::Rejected);
        }
        let formats = self.formats();
        let named = self.encodings.first().map(|(_, name)| *name);
        let other = named.map_or_else(String::new, |n| n.chars().take(40).collect());
        if let Some(direction) = self.direction.get().filter(|d| !d.is_empty()) {
            return Err(AnswerError::NotSending(direction));
        }
        if formats.is_empty() {
            return Err(match other.is_empty() {
                true => AnswerError::Missing("a=rtpmap"),
                false => AnswerError::Codec(other),
            });
        }
        let owned = |text: Option<&str>, name| {
            let text = text.ok_or(AnswerError::Missing(name));
            text.map(str::to_owned)
        };
        Ok(Answer {
            user: owned(self.user.get(), "a=ice-ufrag")?,
            password: owned(self.password.get(), "a=ice-pwd")?,
            fingerprint: self
                .fingerprint
                .get()
                .ok_or(AnswerError::Missing("a=fingerprint:sha-256"))?,
            is_dtls_client: self.is_client.get().unwrap_or(true),
            formats,
            candidates: self.candidates,
            other_candidates: self.other_candidates,
        })
    }

    fn formats(&self) -> Vec<Format> {
        let of = |list: &[(u8, &'a str)], kind: u8| {
            let found = list.iter().find(|(k, _)| *k == kind);
            found.map(|(_, value)| *value)
        };
        let read = |payload_type: &u8| {
            let name = of(&self.encodings, *payload_type)?.split('/').next()?;
            let codec = codec(name)?;
            let parameters = of(&self.parameters, *payload_type).unwrap_or_default();
            Some(Format {
                payload_type: *payload_type,
                codec,
                sets: ParameterSets::from_format(codec, parameters),
            })
        };
        self.payload_types.iter().filter_map(read).collect()
    }
}

fn codec(name: &str) -> Option<Codec> {
    const CODECS: [(&str, Codec); 5] = [
        ("H264", Codec::H264),
        ("H265", Codec::H265),
        ("VP8", Codec::Vp8),
        ("VP9", Codec::Vp9),
        ("AV1", Codec::Av1),
    ];
    let found = CODECS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, codec)| *codec)
}

/// The payload type at the start of a value, and the rest.
fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once(' ')?;
    Some((number.parse().ok()?, rest.trim()))
}

fn is_ice(text: &str) -> bool {
    (1..=ICE_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `sha-256 AB:CD:...` (RFC 8122 section 5).
fn fingerprint(value: &str) -> Option<[u8; 32]> {
    let (algorithm, digits) = value.split_once(' ')?;
    if !algorithm.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; 32];
    let mut pairs = digits.trim().split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|p| p.len() == 2)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}

/// `1 1 udp 2113937151 192.0.2.1 50000 typ host`; only UDP, only addresses, only the first component.
fn candidate(value: &str) -> Option<Candidate> {
    let mut words = value.split_ascii_whitespace();
    let foundation = words.next().filter(|f| f.len() <= 32)?;
    let component = words.next()?;
    let transport = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    let is_usable = component == "1" && transport.eq_ignore_ascii_case("udp") && port != 0;
    is_usable.then(|| Candidate {
        foundation: foundation.to_owned(),
        priority,
        address: SocketAddr::new(ip, port),
    })
}

#[cfg(test)]
mod tests;
