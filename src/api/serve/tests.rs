//! The way of a request over a real socket, with deeds that need no site.

mod framing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::listen::{self, Limits};

/// What the deeds of the fake do and count.
#[derive(Default)]
struct Deeds {
    /// `GET /api/health/status` waits for it.
    go: Notify,
    begun: Notify,
    dropped: AtomicU32,
}

/// Counts the deeds that were cut off.
struct Guard(Arc<Deeds>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
            self.0.begun.notify_one();
        }
    }
}

async fn fake(deeds: Arc<Deeds>, call: Call) -> Result<Response, Problem> {
    match call.request {
        Request::HealthStatus => {
            let mut guard = Guard(Arc::clone(&deeds), false);
            deeds.begun.notify_one();
            deeds.go.notified().await;
            guard.1 = true;
            super::super::json(&json!({"late": true}))
        }
        // More than every socket buffer holds.
        Request::HealthCameras => Ok(super::super::content("text/plain", vec![b'x'; 32 << 20])),
        Request::Healthz => Ok(system::healthz()),
        _ => super::super::json(&call.body),
    }
}

/// A running server.
struct Server {
    address: SocketAddr,
    deeds: Arc<Deeds>,
    stop: CancellationToken,
    ended: mpsc::Receiver<()>,
}

async fn start(settings: ServerSettings, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, deeds) = (CancellationToken::new(), Arc::new(Deeds::default()));
    let gate = Arc::new(Gate::new(settings));
    let scope_of = |token: &str| match token {
        "read" => Some(Scope::Read),
        "operate" => Some(Scope::Operate),
        "admin" => Some(Scope::Admin),
        _ => None,
    };
    let answer = {
        let deeds = Arc::clone(&deeds);
        move |peer, request| {
            let (gate, deeds) = (Arc::clone(&gate), Arc::clone(&deeds));
            async move { front(&gate, peer, request, scope_of, |call| fake(deeds, call)).await }
        }
    };
    let (done, ended) = mpsc::channel(1);
    let running = listen::run(listener, None, limits, stop.clone(), answer);
    tokio::spawn(async move {
        running.await;
        let _ = done.send(()).await;
    });
    Server {
        address,
        deeds,
        stop,
        ended,
    }
}

impl Server {
    /// Sends `head` (lines without the blank one) and `body`, reads to the end of the connection.
    async fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = self.send(head, body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let close = "Connection: close\r\n";
        let host = if head.contains("Host:") {
            ""
        } else {
            "Host: localhost\r\n"
        };
        let text = format!("{head}\r\n{host}{close}{length}\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

async fn default_server() -> Server {
    start(ServerSettings::default(), Limits::default()).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn alive_without_a_token() {
    let server = default_server().await;
    for path in ["/healthz", "/healthz/"] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(status(&answer), "200");
        for line in [
            "content-length: 15",
            "cache-control: no-store",
            "content-type: application/json",
        ] {
            assert!(answer.contains(line), "{line}\n{answer}");
        }
        assert!(answer.ends_with(r#"{"status":"ok"}"#));
    }
    let head = server.ask("HEAD /healthz HTTP/1.1", "").await;
    assert!(
        head.contains("content-length: 15") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn errors_of_the_way_in() {
    let server = default_server().await;
    let admin = "Authorization: Bearer admin";
    let json_type = "Content-Type: application/json";
    for (head, body, want, part) in [
        ("GET /nothing HTTP/1.1".into(), "", "404", "unknown_path"),
        (
            "POST /healthz HTTP/1.1".into(),
            "",
            "405",
            "allow: GET, HEAD\r\n",
        ),
        (
            "GET /api/cameras HTTP/1.1".into(),
            "",
            "401",
            "www-authenticate: Bearer\r\n",
        ),
        (
            "GET /api/cameras HTTP/1.1\r\nAuthorization: Bearer x".into(),
            "",
            "401",
            "invalid_token",
        ),
        ("GET /metrics HTTP/1.1".into(), "", "401", "unauthorized"),
        (
            "POST /api/cameras HTTP/1.1\r\nAuthorization: Bearer operate".into(),
            "",
            "403",
            "scope_too_small",
        ),
        (
            format!("GET /api/cameras?helth=x HTTP/1.1\r\n{admin}"),
            "",
            "422",
            "did you mean `health`?",
        ),
        (
            format!("GET /api/cameras/x HTTP/1.1\r\n{admin}"),
            "",
            "404",
            "unknown_camera",
        ),
        (
            format!("POST /api/cameras HTTP/1.1\r\n{admin}\r\nContent-Type: text/plain"),
            "{}",
            "415",
            "application/json",
        ),
        (
            format!("POST /api/cameras HTTP/1.1\r\n{admin}\r\n{json_type}"),
            "{\n\"a\":}",
            "400",
            "line 2 column 5",
        ),
        (
            format!("POST /api/health/cameras/1/reconnect HTTP/1.1\r\n{admin}\r\n{json_type}"),
            "{\"x\":1}",
            "422",
            "is not known",
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: evil.example".into(),
            "",
            "421",
            "host_not_allowed",
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example".into(),
            "",
            "403",
            "origin_not_allowed",
        ),
    ] {
        let answer = server.ask(&head, body).await;
        assert_eq!(status(&answer), want, "{head}\n{answer}");
        assert!(answer.contains(part), "{head}: no {part} in\n{answer}");
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{answer}"
        );
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_reaches_its_deed() {
    let server = default_server().await;
    let head = "POST /api/cameras HTTP/1.1\r\nAuthorization: Bearer admin";
    assert!(
        server
            .ask(head, r#"{"a":[1]}"#)
            .await
            .ends_with(r#"{"a":[1]}"#)
    );
    assert!(server.ask(head, "").await.ends_with("\r\n\r\n{}"));
    let start = "POST /api/health/cameras/1/check-now HTTP/1.1\r\nAuthorization: Bearer operate";
    assert_eq!(status(&server.ask(start, "").await), "200");
}

#[tokio::test]
async fn long_bodies_are_refused_unread() {
    let settings = ServerSettings {
        body_bytes_max: 100,
        ..ServerSettings::default()
    };
    let server = start(settings, Limits::default()).await;
    let head = "POST /api/cameras HTTP/1.1\r\nAuthorization: Bearer admin";
    // Announced and never sent: the answer comes all the same.
    let announced = server
        .ask(&format!("{head}\r\nContent-Length: 5000000"), "")
        .await;
    assert_eq!(status(&announced), "413");
    let chunked = format!(
        "{head}\r\nTransfer-Encoding: chunked\r\nHost: localhost\r\n\r\n65\r\n{}\r\n0\r\n\r\n",
        "x".repeat(101)
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Nobody without a token makes us read a body.
    let early = server
        .ask("POST /api/cameras HTTP/1.1\r\nContent-Length: 5000000", "")
        .await;
    assert_eq!(status(&early), "401");
}

#[tokio::test]
async fn loopback_scope_and_public_metrics() {
    let settings = ServerSettings {
        loopback_scope: Some(Scope::Read),
        metrics_public: true,
        ..ServerSettings::default()
    };
    let server = start(settings, Limits::default()).await;
    let code = async |head: &str| status(&server.ask(head, "").await).to_owned();
    assert_eq!(code("GET /api/cameras HTTP/1.1").await, "200");
    assert_eq!(
        code("GET /api/cameras HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1").await,
        "401"
    );
    assert_eq!(code("POST /api/cameras HTTP/1.1").await, "403");
    assert_eq!(code("GET /metrics HTTP/1.1\r\nVia: 1.1 proxy").await, "200");
}

#[tokio::test]
async fn slow_and_endless_headers_end_the_connection() {
    let limits = Limits {
        header_read: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = start(ServerSettings::default(), limits).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
    // A kept-alive connection that asks nothing more ends too.
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = idle.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));

    let server = default_server().await;
    let endless = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(20_000)
    );
    assert_eq!(status(&server.ask(&endless, "").await), "431");
    let many = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost{}",
        "\r\nX: y".repeat(200)
    );
    assert_eq!(status(&server.ask(&many, "").await), "431");
}

#[tokio::test]
async fn a_caller_that_reads_nothing_is_dropped() {
    let limits = Limits {
        connections_max: 1,
        write_stall: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = start(ServerSettings::default(), limits).await;
    let head = "GET /api/health/cameras HTTP/1.1\r\nAuthorization: Bearer read";
    let _unread = server.send(head, "").await;
    // Its slot is the only one: this answer comes once it is free again.
    assert_eq!(
        status(&server.ask("GET /healthz HTTP/1.1", "").await),
        "200"
    );
}

const SLOW: &str = "GET /api/health/status HTTP/1.1\r\nAuthorization: Bearer read";

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_request() {
    let server = default_server().await;
    let stream = server.send(SLOW, "").await;
    server.deeds.begun.notified().await;
    drop(stream);
    server.deeds.begun.notified().await;
    assert_eq!(server.deeds.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn stopping_lets_running_requests_end() {
    let mut server = default_server().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut running = server.send(SLOW, "").await;
    server.deeds.begun.notified().await;
    server.stop.cancel();
    // The idle one is let go at once.
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    server.deeds.go.notify_one();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(r#"{"late":true}"#), "{answer}");
    server.ended.recv().await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let limits = Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut server = start(ServerSettings::default(), limits).await;
    let _running = server.send(SLOW, "").await;
    server.deeds.begun.notified().await;
    server.stop.cancel();
    server.ended.recv().await.unwrap();
    assert_eq!(server.deeds.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_has_a_deadline() {
    let gate = Gate::new(ServerSettings::default());
    let request = hyper::Request::get("http://localhost/api/health/status")
        .header("authorization", "Bearer read")
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    tokio::time::pause();
    let peer = "127.0.0.1:1".parse().unwrap();
    let never = |_| std::future::pending();
    let response = front(&gate, peer, request, |_| Some(Scope::Read), never).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}
