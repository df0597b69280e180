//! Requests that are framed oddly: one question has one answer, and none is smuggled behind another.

use super::*;

const ADMIN: &str = "Host: localhost\r\nAuthorization: Bearer admin\r\n";
const POST: &str = "POST /api/cameras HTTP/1.1\r\n";

/// Sends bytes as they are and reads until the server closes, or says nothing more.
async fn raw(server: &Server, text: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let quiet = Duration::from_millis(100);
    let ended = loop {
        let mut part = [0; 4096];
        match tokio::time::timeout(quiet, stream.read(&mut part)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(n)) => answer.extend_from_slice(&part[..n]),
            Err(_) => break false,
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.match_indices("HTTP/1.1 ");
    lines
        .filter_map(|(i, _)| answers.get(i + 9..i + 12))
        .collect()
}

#[tokio::test]
async fn bodies_of_every_framing_are_read_to_their_end() {
    let server = default_server().await;
    let next = format!("GET /healthz HTTP/1.1\r\n{ADMIN}\r\n");
    for body in [
        "Content-Length: 7\r\n\r\n{\"a\":1}",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\nTrailer: x\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
    ] {
        let (answers, _) = raw(&server, &format!("{POST}{ADMIN}{body}{next}")).await;
        let statuses: Vec<_> = statuses(&answers)
            .into_iter()
            .filter(|s| *s != "100")
            .collect();
        assert_eq!(statuses, ["200", "200"], "{body}\n{answers}");
        assert!(answers.contains("{\"a\":1}"), "{answers}");
    }
    // A body that nobody reads is no request either.
    let unread =
        format!("GET /healthz HTTP/1.1\r\n{ADMIN}Content-Length: 9\r\n\r\nGET / HTT{next}");
    let (answers, _) = raw(&server, &unread).await;
    assert_eq!(statuses(&answers), ["200", "200"], "{answers}");
}

#[tokio::test]
async fn contradictions_end_the_connection() {
    let server = default_server().await;
    for (body, want) in [
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"),
        ("Content-Length: -1\r\n\r\n", "400"),
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "200",
        ),
        ("Transfer-Encoding: gzip\r\n\r\n{}", "400"),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", "400"),
        ("Content-Length: 999999999\r\n\r\n", "413"),
        ("X : 1\r\n\r\n", "400"),
        ("X: a\r\n b\r\n\r\n", "400"),
    ] {
        let text = format!("{POST}{ADMIN}{body}GET /healthz HTTP/1.1\r\n{ADMIN}\r\n");
        let (answers, ended) = raw(&server, &text).await;
        assert_eq!(
            (statuses(&answers), ended),
            (vec![want], true),
            "{body}\n{answers}"
        );
    }
}

#[tokio::test]
async fn who_may_not_ask_is_not_asked_for_the_body() {
    let server = default_server().await;
    let text =
        format!("{POST}Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n");
    let (answers, _) = raw(&server, &text).await;
    assert_eq!(statuses(&answers), ["401"], "{answers}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = default_server().await;
    let paths = ["/healthz", "/nothing", "/healthz", "/api/cameras"];
    let text: String = paths
        .map(|p| format!("GET {p} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .concat();
    let (answers, _) = raw(&server, &text).await;
    assert_eq!(
        statuses(&answers),
        ["200", "404", "200", "401"],
        "{answers}"
    );
}

#[tokio::test]
async fn paths_are_not_walked_and_methods_are_named() {
    let server = default_server().await;
    let ask = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\n{ADMIN}\r\n");
    for path in [
        "/api/cameras%2F1",
        "/api/../healthz",
        "/api/%2e%2e/healthz",
        "//healthz",
        "/api/cameras/..",
        "/api/cameras/%00",
        "/api/cameras;x=1",
        "*",
    ] {
        let (answer, _) = raw(&server, &ask("GET", path)).await;
        assert_eq!(status(&answer), "404", "{path}\n{answer}");
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"] {
        let (answer, _) = raw(&server, &ask(method, "/api/cameras")).await;
        assert_eq!(status(&answer), "405", "{method}\n{answer}");
        assert!(
            answer.contains("\r\nallow: GET, HEAD, POST\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn new_settings_hold_for_the_next_request() {
    let gate = Gate::new(ServerSettings::default());
    let request = hyper::Request::get("/healthz").header("host", "cams.example.org");
    let (head, ()) = request.body(()).unwrap().into_parts();
    let peer = "192.0.2.7:1".parse().unwrap();
    let status = || {
        gate.admit(peer, &head, |_| None)
            .err()
            .map(|p| p.status.as_u16())
    };
    assert_eq!(status(), Some(421));
    gate.apply(ServerSettings {
        allowed_hosts: vec!["cams.example.org".to_owned()],
        ..ServerSettings::default()
    });
    assert_eq!(status(), None);
}
