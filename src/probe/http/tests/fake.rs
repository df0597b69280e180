//! A scripted camera on 127.0.0.1 or another loopback address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::model::{Credentials, StreamRole, StreamUrl};
use crate::policy::networks::AllowedNetworks;
use crate::probe::{Depth, Limits, OnvifAccess, Target, Trust};

/// What the camera does next on a connection.
pub(in crate::probe) enum Step {
    Send(Vec<u8>),
    /// The same bytes again and again, with a pause between.
    Repeat(Vec<u8>, Duration),
    Close,
    /// Says nothing more and keeps the connection.
    Hang,
}

pub(in crate::probe) fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// An answer of fixed length.
pub(in crate::probe) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Step> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n");
    vec![send(head), send(body)]
}

pub(in crate::probe) struct Fake {
    pub address: SocketAddr,
    /// Heads of all requests, in order.
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

type Script = Arc<dyn Fn(&str) -> Vec<Step> + Send + Sync>;

impl Fake {
    pub(in crate::probe) async fn start(
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1", None, script).await
    }

    /// Inside TLS, with a self-signed certificate that ends with the start of this year.
    pub(in crate::probe) async fn start_tls(
        until_year: i32,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test camera");
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self::start_at(
            "127.0.0.1",
            Some(TlsAcceptor::from(Arc::new(config))),
            script,
        )
        .await
    }

    pub(in crate::probe) async fn start_at(
        host: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(vec![]));
        let connections = Arc::new(Mutex::new(0));
        let script: Script = Arc::new(script);
        let mut tasks = JoinSet::new();
        let (heads, count) = (requests.clone(), connections.clone());
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (script, heads, tls) = (script.clone(), heads.clone(), tls.clone());
                serving.spawn(async move {
                    match tls {
                        None => serve(stream, script, heads).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, script, heads).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            requests,
            connections,
            _tasks: tasks,
        }
    }

    pub(in crate::probe) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(in crate::probe) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// How many requests carried a login in their headers.
    pub(in crate::probe) fn logins(&self) -> usize {
        let requests = self.requests();
        requests.iter().filter(|r| is_authorized(r)).count()
    }

    /// A probe of `path` with the login `admin` / `s3cret`, over plain HTTP.
    pub(in crate::probe) fn target(&self, path: &str) -> Target {
        let url = format!("http://{}{path}", self.address);
        Target {
            url: StreamUrl::parse(&url).unwrap().url,
            role: StreamRole::Main,
            login: Some(Credentials::new("admin", "s3cret")),
            cleartext_login: false,
            onvif: OnvifAccess::default(),
            depth: Depth::Frame,
            limits: Limits::default(),
            trust: Trust::FirstUse,
            networks: Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap()),
            gate: None,
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    heads: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        heads.lock().unwrap().push(head.clone());
        for step in script(&head) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Repeat(bytes, pause) => {
                    while stream.write_all(&bytes).await.is_ok() {
                        let _ = stream.flush().await;
                        tokio::time::sleep(pause).await;
                    }
                    return;
                }
                Step::Close => {
                    let _ = stream.shutdown().await;
                    return;
                }
                Step::Hang => std::future::pending().await,
            }
            let _ = stream.flush().await;
        }
    }
}

pub(in crate::probe) fn is_authorized(head: &str) -> bool {
    head.contains("\r\nAuthorization: ")
}

/// Checks an answer to `Digest realm="cam", nonce="n1"` for `admin` / `s3cret` (RFC 2069).
pub(in crate::probe) fn digest_is_right(head: &str) -> bool {
    let uri = head.split(' ').nth(1).unwrap();
    let hex = |text: String| -> String {
        let digest = Md5::digest(text.as_bytes());
        digest.iter().map(|b| format!("{b:02x}")).collect()
    };
    let ha1 = hex("admin:cam:s3cret".to_owned());
    let ha2 = hex(format!("GET:{uri}"));
    let response = hex(format!("{ha1}:n1:{ha2}"));
    head.contains(&format!("uri=\"{uri}\"")) && head.contains(&format!("response=\"{response}\""))
}
