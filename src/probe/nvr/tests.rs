use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::model::{AuthUse, Credentials};
use crate::probe::http::tests::fake::{Fake, Step, answer, digest_is_right, is_authorized};
use crate::probe::rtsp::tests::fake as rtsp;
use crate::probe::{Attempt, run};
use crate::wire::maker::{dahua, isapi, reolink};

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n";

/// A recorder that wants `admin` / `s3cret` by digest and answers these paths.
async fn recorder(answers: Vec<(&'static str, String)>) -> Fake {
    Fake::start(move |head| match is_authorized(head) {
        false => answer("401 Unauthorized", DIGEST, b""),
        true if !digest_is_right(head) => answer("401 Unauthorized", DIGEST, b""),
        true => reply(head, &answers),
    })
    .await
}

fn reply(head: &str, answers: &[(&'static str, String)]) -> Vec<Step> {
    let path = head.split(' ').nth(1).unwrap();
    match answers.iter().find(|(of, _)| *of == path) {
        Some((_, body)) => answer("200 OK", "", body.as_bytes()),
        None => answer("404 Not Found", "", b"<html>"),
    }
}

fn target(fake: &Fake, query: &str, depth: Depth) -> Target {
    let url = format!("nvr://{}/?{query}", fake.address);
    Target {
        url: StreamUrl::parse(&url).unwrap().url,
        depth,
        ..fake.target("/")
    }
}

fn hikvision(rtsp_port: u16) -> Vec<(&'static str, String)> {
    use isapi::tests::{PROTOCOLS_XML, PROXIED_XML, STATUS_XML};
    vec![
        (isapi::PROXIED, PROXIED_XML.to_owned()),
        (isapi::PROXIED_STATUS, STATUS_XML.to_owned()),
        (
            isapi::PROTOCOLS,
            PROTOCOLS_XML.replace("10554", &rtsp_port.to_string()),
        ),
    ]
}

fn states(attempt: &Attempt) -> Vec<(u32, ChannelState)> {
    let facts = attempt.recorder.as_deref().unwrap();
    facts.channels.iter().map(|c| (c.number, c.state)).collect()
}

const ONE_OF_EACH: [(u32, ChannelState); 3] = [
    (1, ChannelState::Online),
    (2, ChannelState::Offline),
    (3, ChannelState::Empty),
];

/// Channel 1 plays for those who log in by digest; other paths are not there.
fn streams() -> rtsp::Fake {
    rtsp::Fake::start(|request| {
        let is_in = request.contains("Authorization: Digest username=\"admin\"");
        let is_here = request.contains("/Streaming/Channels/101");
        match request.split(' ').next() {
            _ if !is_in => rtsp::Reply::text(
                "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"n\"\r\n\r\n",
            ),
            Some("DESCRIBE") if !is_here => rtsp::Reply::text("RTSP/1.0 404 Not Found\r\n\r\n"),
            Some("DESCRIBE") => rtsp::describe_ok(),
            Some("SETUP") => rtsp::setup_ok(),
            Some("PLAY") => rtsp::play_ok(rtsp::rtp_idr(1)),
            _ => rtsp::ok(),
        }
    })
}

#[tokio::test]
async fn isapi_lists_with_one_login_on_one_connection() {
    let device = recorder(hikvision(554)).await;
    let attempt = run(&target(&device, "api=isapi", Depth::Answer)).await;
    let outcome = attempt.result.as_ref().unwrap();
    assert_eq!(outcome.connection_type, ConnectionType::Nvr);
    assert_eq!(outcome.evidence, Evidence::Answer);
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(states(&attempt), ONE_OF_EACH);
    assert_eq!(device.connections(), 1);
    // The first one without a login, all others with it.
    assert_eq!(device.requests().len(), device.logins() + 1);
}

#[tokio::test]
async fn a_channels_stream_is_proven_over_rtsp() {
    let stream = streams();
    let device = recorder(hikvision(stream.address.port())).await;
    for query in ["api=isapi&channel=1", "api=isapi"] {
        let attempt = run(&target(&device, query, Depth::Frame)).await;
        let outcome = attempt.result.unwrap();
        assert_eq!(outcome.evidence, Evidence::KeyFrame, "{query}");
        assert_eq!(outcome.connection_type, ConnectionType::Nvr);
        assert!(outcome.first_frame_ms.is_some());
    }
}

#[tokio::test]
async fn a_dead_channel_is_not_a_dead_recorder() {
    let stream = streams();
    let device = recorder(hikvision(stream.address.port())).await;
    let of = |query: &'static str| {
        let target = target(&device, query, Depth::Frame);
        async move { run(&target).await.result }
    };
    let dead = of("api=isapi&channel=2").await.unwrap_err();
    assert_eq!(
        (dead.code, dead.stage),
        (ErrorCode::NoFrame, Stage::FirstPacket)
    );
    assert!(dead.message.contains("channel 2"), "{dead}");
    for query in ["api=isapi&channel=3", "api=isapi&channel=9"] {
        assert_eq!(of(query).await.unwrap_err().code, ErrorCode::NotFound);
    }
    // Its stream is gone, and no channel was named: the recorder answers all the same.
    let gone = rtsp::Fake::start(|_| rtsp::Reply::text("RTSP/1.0 404 Not Found\r\n\r\n"));
    let device = recorder(hikvision(gone.address.port())).await;
    let attempt = run(&target(&device, "api=isapi", Depth::Frame)).await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::Answer);
}

#[tokio::test]
async fn dahua_lists() {
    use dahua::tests::{REMOTE_TEXT, STATES_TEXT, TITLES_TEXT};
    let device = recorder(vec![
        (dahua::TITLES, TITLES_TEXT.to_owned()),
        (dahua::REMOTE_DEVICES, REMOTE_TEXT.to_owned()),
        (dahua::STATES, STATES_TEXT.to_owned()),
        (dahua::RTSP, "table.RTSP.Port=1554\r\n".to_owned()),
    ])
    .await;
    let attempt = run(&target(&device, "api=dahua_cgi", Depth::Answer)).await;
    attempt.result.as_ref().unwrap();
    assert_eq!(states(&attempt), ONE_OF_EACH);
    assert_eq!(attempt.recorder.unwrap().rtsp_port, Some(1554));
}

#[tokio::test]
async fn reolink_logs_in_lists_and_logs_out() {
    let open = Arc::new(AtomicU32::new(0));
    let sessions = open.clone();
    let device = Fake::start(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        let body = match path {
            "/cgi-bin/api.cgi?cmd=Login" if request.contains(r#""password":"s3cret""#) => {
                sessions.fetch_add(1, Ordering::SeqCst);
                r#"[{"cmd":"Login","code":0,"value":{"Token":{"leaseTime":3600,"name":"t0k"}}}]"#
            }
            "/cgi-bin/api.cgi?cmd=Login" => {
                r#"[{"cmd":"Login","code":1,"error":{"rspCode":-7,"detail":"login failed"}}]"#
            }
            "/cgi-bin/api.cgi?cmd=GetChannelstatus&token=t0k" => reolink::tests::CHANNELS_JSON,
            "/cgi-bin/api.cgi?cmd=GetNetPort&token=t0k" => {
                r#"[{"cmd":"GetNetPort","code":0,"value":{"NetPort":{"rtspEnable":1,"rtspPort":8554}}}]"#
            }
            "/cgi-bin/api.cgi?cmd=Logout&token=t0k" => {
                sessions.fetch_sub(1, Ordering::SeqCst);
                r#"[{"cmd":"Logout","code":0,"value":{"rspCode":200}}]"#
            }
            _ => r#"[{"cmd":"x","code":1,"error":{"rspCode":-6,"detail":"please login first"}}]"#,
        };
        answer("200 OK", "Content-Type: application/json\r\n", body.as_bytes())
    })
    .await;
    let mut clear = target(&device, "api=reolink", Depth::Answer);
    let held = run(&clear).await;
    assert!(
        held.needs_cleartext_login,
        "the password would travel in clear"
    );
    assert_eq!(device.requests().len(), 0);

    clear.cleartext_login = true;
    let attempt = run(&clear).await;
    attempt.result.as_ref().unwrap();
    assert_eq!(states(&attempt), ONE_OF_EACH);
    assert_eq!(attempt.recorder.unwrap().rtsp_port, Some(8554));
    assert_eq!(
        open.load(Ordering::SeqCst),
        0,
        "every session was given back"
    );

    clear.login = Some(Credentials::new("admin", "wrong"));
    let refused = run(&clear).await;
    assert_eq!(refused.auth, AuthUse::Refused);
    assert_eq!(refused.result.unwrap_err().code, ErrorCode::AuthFailed);
}

#[tokio::test]
async fn another_makers_device_is_told_apart() {
    let device = recorder(vec![]).await;
    for api in ["isapi", "dahua_cgi"] {
        let target = target(&device, &format!("api={api}"), Depth::Answer);
        let error = run(&target).await.result.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
    let mut reolink = target(&device, "api=reolink", Depth::Answer);
    reolink.cleartext_login = true;
    let error = run(&reolink).await.result.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    let sent = device.requests().concat();
    assert!(!sent.contains("s3cret"), "no password for another maker");
    let unsaid = run(&target(&device, "channel=1", Depth::Answer)).await;
    assert!(unsaid.result.unwrap_err().message.contains("isapi"));
}

#[tokio::test]
async fn a_refused_login_is_sent_once() {
    let device = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let attempt = run(&target(&device, "api=isapi", Depth::Answer)).await;
    assert_eq!(attempt.result.unwrap_err().code, ErrorCode::AuthFailed);
    assert_eq!((attempt.auth, device.logins()), (AuthUse::Refused, 1));
    let mut anonymous = target(&device, "api=isapi", Depth::Answer);
    anonymous.login = None;
    let attempt = run(&anonymous).await;
    assert_eq!(attempt.result.unwrap_err().code, ErrorCode::AuthRequired);
}

/// Answers DVRIP messages, and says what it was asked.
async fn xmeye(ret: u16) -> (std::net::SocketAddr, Arc<std::sync::Mutex<Vec<u16>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<std::sync::Mutex<Vec<u16>>> = Arc::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 20];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize;
            let id = u16::from_le_bytes(head[14..16].try_into().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            seen.lock().unwrap().push(id);
            let text = String::from_utf8(body).unwrap();
            let answer = match id {
                1000 => format!(r#"{{"Ret":{ret},"SessionID":"0x0000001F","ChannelNum":3}}"#),
                1048 => r#"{"Name":"ChannelTitle","Ret":100,"ChannelTitle":["A","B","C"]}"#.into(),
                _ if text.contains("ChnStatus") => r#"{"Ret":100,"NetWork.ChnStatus":[{"Status":"Connected"},{"Status":"NoLogin"},{"Status":"NoConfig"}]}"#.into(),
                _ => r#"{"Ret":107}"#.into(),
            };
            let mut out = vec![0xff, 1, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            out.extend((id + 1).to_le_bytes());
            out.extend((answer.len() as u32 + 2).to_le_bytes());
            out.extend(answer.as_bytes());
            out.extend(b"\n\0");
            stream.write_all(&out).await.unwrap();
        }
    });
    (address, asked)
}

/// The DVRIP service at `address`, with the login of `any`.
fn dvrip(any: &Fake, address: std::net::SocketAddr) -> Target {
    let url = format!("nvr://{address}/?api=dvrip");
    Target {
        url: StreamUrl::parse(&url).unwrap().url,
        cleartext_login: true,
        ..target(any, "", Depth::Answer)
    }
}

#[tokio::test]
async fn dvrip_lists() {
    let (address, asked) = xmeye(100).await;
    let any = recorder(vec![]).await;
    let mut wanted = dvrip(&any, address);
    let attempt = run(&wanted).await;
    attempt.result.as_ref().unwrap();
    assert_eq!(states(&attempt), ONE_OF_EACH);
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(*asked.lock().unwrap(), [1000, 1048, 1042, 1042]);

    let (address, asked) = xmeye(203).await;
    wanted.url = dvrip(&any, address).url;
    let attempt = run(&wanted).await;
    assert_eq!(attempt.result.unwrap_err().code, ErrorCode::AuthFailed);
    assert_eq!(attempt.auth, AuthUse::Refused);
    assert_eq!(*asked.lock().unwrap(), [1000]);
    // Another protocol on that port.
    wanted.url = dvrip(&any, any.address).url;
    wanted.limits.answer = std::time::Duration::from_millis(300);
    assert!(run(&wanted).await.result.is_err());
}

/// Ways in which a recorder's answer to everything behind the login goes wrong.
fn broken(how: &'static str) -> impl Fn(&str) -> Vec<Step> + Send + Sync + 'static {
    use crate::probe::http::tests::fake::send;
    move |head| {
        let wants_login = !head.contains("api.cgi") && !digest_is_right(head);
        if wants_login {
            return answer("401 Unauthorized", DIGEST, b"");
        }
        let ok = |length: &str| {
            send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ))
        };
        match how {
            "dies" => vec![ok("5000"), send("<a><b>[{\"cmd\""), Step::Close],
            "stops" => vec![ok("5000"), send("<a><b>[{\"cmd\""), Step::Hang],
            "claims" => vec![ok("18446744073709551615"), send("<a>"), Step::Close],
            "never ends" => vec![
                send("HTTP/1.1 200 OK\r\n\r\n"),
                Step::Repeat(vec![b'['; 65_536], std::time::Duration::ZERO),
            ],
            "is deep" => answer("200 OK", "", "[".repeat(100_000).as_bytes()),
            "is nested" => answer("200 OK", "", "<a>".repeat(20_000).as_bytes()),
            _ => answer("200 OK", "", &[0xff, 0, 0x80]),
        }
    }
}

#[tokio::test]
async fn answers_that_break_off_or_never_end() {
    for how in [
        "dies",
        "stops",
        "claims",
        "never ends",
        "is deep",
        "is nested",
        "is noise",
    ] {
        let device = Fake::start(broken(how)).await;
        for api in ["isapi", "dahua_cgi", "reolink"] {
            let mut wanted = target(&device, &format!("api={api}"), Depth::Answer);
            wanted.cleartext_login = true;
            wanted.limits.answer = std::time::Duration::from_millis(400);
            let begun = std::time::Instant::now();
            let attempt = run(&wanted).await;
            let took = begun.elapsed();
            let error = attempt.result.unwrap_err();
            // Dahua's answers are lines: noise is an answer without channels.
            let is_known = match (how, api) {
                ("stops", _) => error.code == ErrorCode::Timeout,
                ("dies", _) => error.code == ErrorCode::Reset,
                ("claims", _) => matches!(error.code, ErrorCode::Reset | ErrorCode::Protocol),
                ("never ends" | "is deep" | "is nested" | "is noise", _) => {
                    matches!(
                        error.code,
                        ErrorCode::Protocol | ErrorCode::NotFound | ErrorCode::Timeout
                    )
                }
                _ => false,
            };
            assert!(is_known, "{how}, {api}: {error:?}");
            assert!(
                !error.message.is_empty() && !error.message.contains("s3cret"),
                "{error}"
            );
            assert!(took < wanted.limits.total, "{how}, {api}: {took:?}");
        }
    }
}

#[tokio::test]
async fn a_dvrip_recorder_that_lies_about_lengths_or_dies() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let head = |length: u32| {
        let mut out = vec![0xff, 1, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe9, 3];
        out.extend(length.to_le_bytes());
        out
    };
    let whole = [&head(40)[..], b"{\"Ret\":100,"].concat();
    for (says, codes) in [
        (head(u32::MAX), vec![ErrorCode::NotFound]),
        (head(0), vec![ErrorCode::Protocol]),
        (whole, vec![ErrorCode::Reset, ErrorCode::Protocol]),
        (
            vec![0xff, 1, 0],
            vec![ErrorCode::Reset, ErrorCode::Protocol],
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n......".to_vec(),
            vec![ErrorCode::NotFound],
        ),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let spoken = says.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut login = [0; 20];
            stream.read_exact(&mut login).await.unwrap();
            stream.write_all(&spoken).await.unwrap();
            let _ = stream.shutdown().await;
        });
        let any = recorder(vec![]).await;
        let error = run(&dvrip(&any, address)).await.result.unwrap_err();
        assert!(codes.contains(&error.code), "{says:?}: {error:?}");
    }
}
