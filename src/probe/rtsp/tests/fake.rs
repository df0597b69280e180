//! A camera on loopback whose every answer the test decides.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What follows on a request.
#[derive(Clone, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    /// Sent over and over until the peer hangs up.
    filling: Vec<u8>,
    /// One byte at a time.
    drips: bool,
    closes: bool,
    paced: Vec<Vec<u8>>,
    pace: Duration,
}

impl Reply {
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(text.into().into_bytes())
    }

    pub fn endless(start: &str, filling: &str) -> Self {
        Self {
            filling: filling.as_bytes().to_vec(),
            ..Self::text(start)
        }
    }

    pub fn drip(text: &str) -> Self {
        Self {
            drips: true,
            ..Self::text(text)
        }
    }

    pub fn then_close(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    pub fn then_paced(self, paced: Vec<Vec<u8>>, pace: Duration) -> Self {
        Self {
            paced,
            pace,
            ..self
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<bool> {
        if self.drips {
            for byte in self.bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } else {
            stream.write_all(&self.bytes).await?;
        }
        let mut beat = tokio::time::interval(self.pace.max(Duration::from_millis(1)));
        for bytes in self.paced {
            beat.tick().await;
            stream.write_all(&bytes).await?;
        }
        while !self.filling.is_empty() {
            stream.write_all(&self.filling.repeat(64)).await?;
        }
        Ok(!self.closes)
    }
}

type Answer = Arc<Mutex<dyn FnMut(&str) -> Reply + Send>>;

pub struct Fake {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    pub fn start(answer: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::start_on("127.0.0.1:0", answer)
    }

    pub fn start_on(address: &str, answer: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::listen(address, None, answer)
    }

    /// With TLS and a certificate of its own.
    pub fn start_tls(answer: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::listen("127.0.0.1:0", Some(acceptor()), answer)
    }

    fn listen(
        address: &str,
        tls: Option<TlsAcceptor>,
        answer: impl FnMut(&str) -> Reply + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let answer: Answer = Arc::new(Mutex::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer, sender) = (tls.clone(), answer.clone(), sender.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, sender).await,
                        Some(tls) => serve(tls.accept(stream).await.unwrap(), answer, sender).await,
                    }
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub async fn next_request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }

    /// Every request since the last call; waits until all connections are closed.
    pub async fn all_requests(&mut self) -> Vec<String> {
        self.task.abort();
        let mut all = Vec::new();
        while let Some(request) = self.requests.recv().await {
            all.push(request);
        }
        all
    }
}

/// A camera's side of TLS, with a certificate of its own.
pub fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["cam".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    sender: mpsc::UnboundedSender<String>,
) {
    let mut received = Vec::new();
    loop {
        let end = received.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = received.split_off(end + 4);
            let request = String::from_utf8(std::mem::replace(&mut received, rest)).unwrap();
            let reply = (answer.lock().unwrap())(&request);
            sender.send(request).ok();
            if !matches!(reply.send(&mut stream).await, Ok(true)) {
                return;
            }
            continue;
        }
        match stream.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// H.264, 1920x1080, 25 fps.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNoB4AiflwEQAAADABAAAAMDIPGDKg==,aM48gA==\r\n";

pub fn describe_ok() -> Reply {
    let length = SDP.len();
    Reply::text(format!(
        "RTSP/1.0 200 OK\r\nServer: Fake/1\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}"
    ))
}

/// Another channel than asked for.
pub fn setup_ok() -> Reply {
    Reply::text(
        "RTSP/1.0 200 OK\r\nSession: 12AB;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=4-5\r\n\r\n",
    )
}

pub fn play_ok(frames: Vec<u8>) -> Reply {
    let head = b"RTSP/1.0 200 OK\r\nSession: 12AB\r\n\r\n";
    Reply::bytes([&head[..], &frames].concat())
}

pub fn ok() -> Reply {
    Reply::text("RTSP/1.0 200 OK\r\n\r\n")
}

pub fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [&[b'$', channel], &length[..], payload].concat()
}

/// An IDR picture, number `n` of a stream with 50 fps.
pub fn rtp_idr(n: u16) -> Vec<u8> {
    rtp(n, &[0x65, 0x88, 0x84, 0x21])
}

/// A picture that needs others.
pub fn rtp_p(n: u16) -> Vec<u8> {
    rtp(n, &[0x41, 0x9a, 0x20, 0x11])
}

fn rtp(n: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend(n.to_be_bytes());
    packet.extend((u32::from(n) * 1800).to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(payload);
    frame(4, &packet)
}
