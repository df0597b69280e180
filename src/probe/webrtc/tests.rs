use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::model::{AuthUse, Credentials, ErrorCode, Evidence, Stage, StreamRole, StreamUrl};
use crate::policy::networks::AllowedNetworks;
use crate::probe::{Attempt, Depth, Limits, OnvifAccess, Target, Trust, run};

const FINGERPRINT: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

/// A WHEP server that answers each request by `respond` (method and path, whole request), and tells
/// which requests came.
struct Fake {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Fake {
    fn start(respond: impl Fn(&str, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(10)))
                    .unwrap();
                while let Some(request) = read_request(&mut stream) {
                    let line = request.lines().next().unwrap_or_default().to_owned();
                    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
                    let answer = respond(&line, &request);
                    if tell.send(request).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn target(&self, depth: Depth) -> Target {
        let url = StreamUrl::parse(&format!("whep+http://{}/whep/cam", self.address));
        Target {
            url: url.unwrap().url,
            role: StreamRole::Main,
            login: None,
            cleartext_login: false,
            onvif: OnvifAccess::default(),
            depth,
            limits: Limits {
                answer: Duration::from_millis(700),
                first_packet: Duration::from_millis(700),
                frame: Duration::from_millis(700),
                ..Limits::default()
            },
            trust: Trust::FirstUse,
            networks: Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap()),
            gate: None,
        }
    }

    /// First lines of the requests so far.
    fn lines(&self) -> Vec<String> {
        let requests = self.requests.try_iter();
        requests
            .map(|r| r.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn read_request(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let head = String::from_utf8(request.clone()).unwrap();
    let length = head
        .lines()
        .find_map(|l| {
            l.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.extend(body);
    String::from_utf8(request).ok()
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn created(sdp: &str) -> String {
    let headers = "Content-Type: application/sdp\r\nLocation: /session/7\r\nETag: \"x\"\r\nLink: <stun:stun.invalid>; rel=\"ice-server\"\r\n";
    http("201 Created", headers, sdp)
}

/// An answer that names this address for media.
fn answer(candidate: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\na=setup:active\r\n\
         a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\na=fingerprint:sha-256 {FINGERPRINT}\r\na=rtpmap:96 H264/90000\r\n\
         {candidate}"
    )
}

fn at(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\n")
}

/// Answers every offer so, and every DELETE with success.
fn whep(answer: String) -> Fake {
    Fake::start(move |line, _| match line.starts_with("POST") {
        true => answer.clone(),
        false => http("200 OK", "", ""),
    })
}

fn failure(attempt: &Attempt) -> (ErrorCode, Stage, String) {
    let error = attempt.result.as_ref().unwrap_err();
    (error.code, error.stage, error.message.clone())
}

#[tokio::test]
async fn an_answer_describes_and_is_given_back_at_once() {
    let fake = whep(created(&answer("")));
    let attempt = run(&fake.target(Depth::Answer)).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Description);
    assert_eq!(outcome.media.codec, Some(crate::model::Codec::H264));
    assert_eq!(
        outcome.url.to_string(),
        fake.target(Depth::Answer).url.to_string()
    );
    assert_eq!(
        fake.lines(),
        ["POST /whep/cam HTTP/1.1", "DELETE /session/7 HTTP/1.1"]
    );
    let connect = run(&fake.target(Depth::Connect)).await.result.unwrap();
    assert_eq!(connect.evidence, Evidence::Answer);
    assert!(fake.lines().is_empty());
}

/// As go2rtc answers, and Frigate in front of it.
#[tokio::test]
async fn without_a_location_there_is_nothing_to_delete() {
    let fake = whep(http(
        "201 Created",
        "Content-Type: application/sdp\r\n",
        &answer(""),
    ));
    let mut target = fake.target(Depth::Answer);
    target.url.path = "/api/webrtc?src=cam".to_owned();
    assert!(run(&target).await.result.is_ok());
    assert_eq!(fake.lines(), ["POST /api/webrtc?src=cam HTTP/1.1"]);
}

#[tokio::test]
async fn statuses_have_their_codes() {
    for (status, code, word) in [
        ("404 Not Found", ErrorCode::NotFound, "404"),
        ("403 Forbidden", ErrorCode::AuthRequired, "403"),
        (
            "405 Method Not Allowed",
            ErrorCode::Protocol,
            "no WHEP address",
        ),
        (
            "406 Not Acceptable",
            ErrorCode::Protocol,
            "make the offer itself",
        ),
        ("409 Conflict", ErrorCode::Busy, "no picture"),
        ("429 Too Many Requests", ErrorCode::RateLimited, "pause"),
        ("503 Service Unavailable", ErrorCode::Busy, "busy"),
        ("500 Oops", ErrorCode::Protocol, "error of its own"),
    ] {
        let fake = whep(http(status, "", ""));
        let attempt = run(&fake.target(Depth::Frame)).await;
        let (got, stage, text) = failure(&attempt);
        assert_eq!((got, stage), (code, Stage::Describe), "{text}");
        assert!(text.contains(word), "{text}");
        assert_eq!(fake.lines().len(), 1, "no session, nothing to delete");
    }
}

#[tokio::test]
async fn a_token_is_sent_once_and_only_where_it_may_be_seen() {
    let start = || {
        Fake::start(
            |line, request| match request.contains("Authorization: Bearer t0ken") {
                true if line.starts_with("POST") => created(&answer("")),
                true => http("200 OK", "", ""),
                false => http("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", ""),
            },
        )
    };
    let with = |fake: &Fake, password: &str, cleartext_login| Target {
        login: Some(Credentials::new("", password)),
        cleartext_login,
        ..fake.target(Depth::Answer)
    };
    let fake = start();
    let none = run(&fake.target(Depth::Answer)).await;
    assert_eq!(failure(&none).0, ErrorCode::AuthRequired);
    let kept_back = run(&with(&fake, "t0ken", false)).await;
    assert_eq!(failure(&kept_back).0, ErrorCode::AuthRequired);
    assert!(kept_back.needs_cleartext_login);
    fake.lines();

    let accepted = run(&with(&fake, "t0ken", true)).await;
    assert_eq!(accepted.auth, AuthUse::Accepted);
    assert!(accepted.result.is_ok());
    assert_eq!(
        fake.lines(),
        [
            "POST /whep/cam HTTP/1.1",
            "POST /whep/cam HTTP/1.1",
            "DELETE /session/7 HTTP/1.1"
        ]
    );
    let refused = run(&with(&fake, "wr0ng", true)).await;
    assert_eq!(failure(&refused).0, ErrorCode::AuthFailed);
    assert_eq!(refused.auth, AuthUse::Refused);
    assert_eq!(fake.lines().len(), 2);
}

/// RFC 9725 section 4.5: the same request again, at the other place.
#[tokio::test]
async fn an_offer_follows_a_redirect() {
    let fake = Fake::start(|line, _| match line {
        "POST /whep/cam" => http("307 Temporary Redirect", "Location: /other/cam\r\n", ""),
        "POST /other/cam" => created(&answer("")).replace("/session/7", "7"),
        _ => http("200 OK", "", ""),
    });
    let outcome = run(&fake.target(Depth::Answer)).await.result.unwrap();
    assert_eq!(
        outcome.url.to_string(),
        format!("whep+http://{}/other/cam", fake.address)
    );
    assert_eq!(fake.lines().last().unwrap(), "DELETE /other/7 HTTP/1.1");
}

#[tokio::test]
async fn digest_is_answered_for_each_method() {
    let fake = Fake::start(|line, request| {
        let method = line.split(' ').next().unwrap();
        let is_ours =
            request.contains("Authorization: Digest") && request.contains("username=\"admin\"");
        match (method, is_ours) {
            ("POST", true) => created(&answer("")),
            (_, true) => http("204 No Content", "", ""),
            _ => http(
                "401 No",
                "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n",
                "",
            ),
        }
    });
    let target = Target {
        login: Some(Credentials::new("admin", "s3cret")),
        ..fake.target(Depth::Answer)
    };
    assert!(run(&target).await.result.is_ok());
    let requests: Vec<String> = fake.requests.try_iter().collect();
    let last = requests.last().unwrap();
    assert!(last.starts_with("DELETE /session/7"), "{last}");
    assert!(last.contains("uri=\"/session/7\""), "{last}");
}

#[tokio::test]
async fn answers_that_lead_nowhere_are_named_and_deleted() {
    let cases = [
        (
            "<html>".to_owned(),
            Stage::Describe,
            ErrorCode::Protocol,
            "no session description",
        ),
        (
            answer("").replace("H264/", "X-LIVE/"),
            Stage::Describe,
            ErrorCode::UnsupportedCodec,
            "X-LIVE",
        ),
        (
            answer("").replace("sendonly", "inactive"),
            Stage::Describe,
            ErrorCode::Protocol,
            "sends nothing",
        ),
        (
            answer(""),
            Stage::Start,
            ErrorCode::Unreachable,
            "no address for media",
        ),
        (
            answer("a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype passive\r\n"),
            Stage::Start,
            ErrorCode::Unreachable,
            "over TCP",
        ),
        (
            answer("a=candidate:1 1 udp 1 ::1 9 typ host\r\n"),
            Stage::Start,
            ErrorCode::Unreachable,
            "another family",
        ),
        (
            answer("a=candidate:1 1 udp 1 198.51.100.7 9 typ host\r\n"),
            Stage::Start,
            ErrorCode::Internal,
            "allowed_networks",
        ),
    ];
    for (sdp, stage, code, word) in cases {
        let fake = whep(created(&sdp));
        let attempt = run(&fake.target(Depth::Frame)).await;
        let (got, at, text) = failure(&attempt);
        assert_eq!((got, at), (code, stage), "{text}");
        assert!(text.contains(word), "{text}");
        assert_eq!(fake.lines().last().unwrap(), "DELETE /session/7 HTTP/1.1");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let endless = created(&answer(
        "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host\r\n"
            .repeat(2000)
            .as_str(),
    ));
    let fake = whep(endless);
    let (code, stage, text) = failure(&run(&fake.target(Depth::Answer)).await);
    assert_eq!((code, stage), (ErrorCode::Protocol, Stage::Describe));
    assert!(text.contains("too long"), "{text}");
    assert_eq!(fake.lines().last().unwrap(), "DELETE /session/7 HTTP/1.1");
}

#[tokio::test]
async fn nobody_behind_the_address_for_media() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fake = whep(created(&answer(&at(silent.local_addr().unwrap()))));
    let (code, stage, text) = failure(&run(&fake.target(Depth::Frame)).await);
    assert_eq!((code, stage), (ErrorCode::Timeout, Stage::Start), "{text}");
    assert!(
        text.contains("ICE") && text.contains("127.0.0.1:"),
        "{text}"
    );
    let mut check = [0; 100];
    silent
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let (length, _) = silent.recv_from(&mut check).unwrap();
    assert_eq!(check[..2], [0, 1], "a binding request");
    assert!(length > 60);
    assert_eq!(fake.lines().last().unwrap(), "DELETE /session/7 HTTP/1.1");
}

#[tokio::test]
async fn a_probe_that_is_dropped_deletes_its_session() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fake = whep(created(&answer(&at(silent.local_addr().unwrap()))));
    let target = Target {
        limits: Limits::default(),
        ..fake.target(Depth::Frame)
    };
    let probe = tokio::spawn(async move { run(&target).await.duration_ms });
    // ICE has begun.
    let first = tokio::task::spawn_blocking(move || silent.recv_from(&mut [0; 100]));
    first.await.unwrap().unwrap();
    probe.abort();
    let deleted = tokio::task::spawn_blocking(move || {
        let mut requests = fake.requests.iter();
        requests.any(|r| r.starts_with("DELETE /session/7"))
    });
    assert!(deleted.await.unwrap());
}

mod media;
