//! Dialling: names, addresses, TCP, TLS, each with its own deadline and its own error.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Gate, Slot, Target, Transcript, Trust};
use crate::model::{CertificateFacts, ErrorCode, ProbeError, Stage};
use crate::policy::networks::AllowedNetworks;
use crate::wire::x509;

/// Where the distribution keeps its certificate authorities.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A byte stream to a device.
pub struct Stream {
    io: Io,
    /// Our place among those that talk; given back when the stream closes.
    _slot: Option<Slot>,
}

impl Stream {
    /// Servers that write an answer in pieces, with Nagle's algorithm on, hold the second piece back
    /// until the first is acknowledged; delayed acknowledgements would cost 40 ms. The kernel forgets
    /// this by itself, so it is asked again after each request.
    pub fn acknowledge_at_once(&self) {
        let _ = socket2::SockRef::from(self.socket()).set_tcp_quickack(true);
    }

    /// Our own address on the way to the device.
    #[cfg(feature = "webrtc")]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.socket().local_addr().ok()
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(socket) => socket,
            Io::Tls(tls) => tls.get_ref().0,
        }
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.io {
            Io::Plain(_) => "Stream (plain)",
            Io::Tls(_) => "Stream (TLS)",
        })
    }
}

/// A connection that stands.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub peer: SocketAddr,
    pub certificate: Option<CertificateFacts>,
}

/// Connects to the target's host and port, with TLS where its scheme says so.
///
/// # Errors
/// `dns`, `unreachable`, `refused`, `timeout`, `reset`, `tls`, or `internal` for an address that the
/// configuration does not allow.
pub async fn connect(target: &Target, log: &mut Transcript) -> Result<Connection, ProbeError> {
    let url = &target.url;
    log.enter(Stage::Resolve);
    let addresses = resolve(target, log).await?;
    log.enter(Stage::Connect);
    let gate = target.gate.as_deref();
    let queued = Instant::now();
    let connecting = wait_for(gate.map(Gate::connect)).await;
    log.leave_out(queued);
    let mut last = None;
    for address in addresses {
        match timeout(target.limits.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                drop(connecting);
                let queued = Instant::now();
                let slot = wait_for(gate.map(|g| g.talk(target.depth))).await;
                log.leave_out(queued);
                let _ = stream.set_nodelay(true);
                if !url.scheme.is_tls() {
                    let stream = Stream {
                        io: Io::Plain(stream),
                        _slot: slot,
                    };
                    return Ok(Connection {
                        stream,
                        peer: address,
                        certificate: None,
                    });
                }
                return start_tls(target, stream, slot, address, log).await;
            }
            Ok(Err(error)) => last = Some(connect_error(log, address, &error)),
            Err(_) => {
                let limit_ms = target.limits.connect.as_millis();
                last = Some(log.error(
                    ErrorCode::Timeout,
                    format!("{address} did not accept a connection within {limit_ms} ms"),
                ));
            }
        }
    }
    Err(last.unwrap_or_else(|| log.error(ErrorCode::Dns, format!("{} has no address", url.host))))
}

/// A place in a line, where there is a line.
async fn wait_for(line: Option<impl Future<Output = Option<Slot>>>) -> Option<Slot> {
    match line {
        Some(line) => line.await,
        None => None,
    }
}

/// The addresses of the target's host that the configuration allows, at most four.
async fn resolve(target: &Target, log: &Transcript) -> Result<Vec<SocketAddr>, ProbeError> {
    let url = &target.url;
    let found: Vec<SocketAddr> = match literal(&url.host, url.port) {
        Some(result) => vec![result.map_err(|m| log.error(ErrorCode::Unreachable, m))?],
        None => {
            let lookup = tokio::net::lookup_host((url.host.as_str(), url.port));
            match timeout(target.limits.connect, lookup).await {
                Ok(Ok(found)) => found.take(4).collect(),
                Ok(Err(_)) => {
                    return Err(log.error(
                        ErrorCode::Dns,
                        format!("the name {} does not resolve", url.host),
                    ));
                }
                Err(_) => {
                    return Err(log.error(
                        ErrorCode::Dns,
                        format!("the look-up of {} took too long", url.host),
                    ));
                }
            }
        }
    };
    let allowed: Vec<SocketAddr> = found
        .iter()
        .copied()
        .filter(|a| target.networks.allows(*a))
        .collect();
    match (allowed.is_empty(), found.first()) {
        (true, Some(address)) => Err(log.error(
            ErrorCode::Internal,
            format!("{address} is not in security.allowed_networks, nothing was sent"),
        )),
        (true, None) => Err(log.error(ErrorCode::Dns, format!("{} has no address", url.host))),
        (false, _) => Ok(allowed),
    }
}

/// `Some` for an address literal; the error is a zone that names no interface.
fn literal(host: &str, port: u16) -> Option<Result<SocketAddr, String>> {
    let (address, zone) = host
        .split_once('%')
        .map_or((host, None), |(a, z)| (a, Some(z)));
    let ip: IpAddr = address.parse().ok()?;
    let IpAddr::V6(v6) = ip else {
        return Some(Ok(SocketAddr::new(ip, port)));
    };
    let scope = match zone {
        None => 0,
        Some(zone) => match zone
            .parse()
            .ok()
            .or_else(|| nix::net::if_::if_nametoindex(zone).ok())
        {
            Some(index) => index,
            None => return Some(Err(format!("there is no interface {zone} for {host}"))),
        },
    };
    Some(Ok(SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope))))
}

/// The address of a literal host (with zone) and port; `None` for a name.
pub fn literal_address(host: &str, port: u16) -> Option<SocketAddr> {
    literal(host, port)?.ok()
}

/// Which of these addresses accept a connection, all tried at once and each closed again at once.
/// At most 64 addresses are looked at.
pub async fn open_ports(
    addresses: &[SocketAddr],
    networks: &AllowedNetworks,
    limit: std::time::Duration,
) -> Vec<(u16, Result<(), ErrorCode>)> {
    let log = Transcript::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut found = Vec::new();
    for address in addresses.iter().copied().take(64) {
        if !networks.allows(address) {
            found.push((address.port(), Err(ErrorCode::Internal)));
            continue;
        }
        tasks.spawn(async move { (address, timeout(limit, TcpStream::connect(address)).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let Ok((address, result)) = done else {
            continue;
        };
        let state = match result {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(connect_error(&log, address, &error).code),
            Err(_) => Err(ErrorCode::Timeout),
        };
        found.push((address.port(), state));
    }
    let order = |port: u16| addresses.iter().position(|a| a.port() == port);
    found.sort_by_key(|(port, _)| order(*port));
    found
}

fn connect_error(log: &Transcript, address: SocketAddr, error: &io::Error) -> ProbeError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => log.error(
            ErrorCode::Refused,
            format!("{address} refuses connections: nothing listens on this port"),
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => log.error(
            ErrorCode::Unreachable,
            format!("{address} cannot be reached: no such host on the network"),
        ),
        io::ErrorKind::TimedOut => {
            log.error(ErrorCode::Timeout, format!("{address} does not answer"))
        }
        io::ErrorKind::ConnectionReset => log.error(
            ErrorCode::Reset,
            format!("{address} closed the connection at once"),
        ),
        // Our own want of sockets or memory says nothing about the camera.
        _ if matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
        ) =>
        {
            log.error(
                ErrorCode::Internal,
                format!("no socket left for {address}: {error}"),
            )
        }
        _ => log.error(
            ErrorCode::Unreachable,
            format!("cannot connect to {address}: {error}"),
        ),
    }
}

/// Names a broken read or write in the middle of a conversation.
pub fn io_error(log: &Transcript, error: &io::Error) -> ProbeError {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the device closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    log.error(ErrorCode::Reset, text)
}

async fn start_tls(
    target: &Target,
    stream: TcpStream,
    slot: Option<Slot>,
    peer: SocketAddr,
    log: &mut Transcript,
) -> Result<Connection, ProbeError> {
    log.enter(Stage::Tls);
    let config = match &target.trust {
        Trust::FirstUse => first_use_config(),
        Trust::Pinned(pin) => Arc::new(lax_config(Some(pin.clone()))),
        Trust::Authorities => authorities_config().map_err(|m| log.error(ErrorCode::Tls, m))?,
    };
    let name = match target.url.host.parse::<IpAddr>() {
        Ok(ip) => ServerName::from(ip),
        Err(_) => match ServerName::try_from(target.url.host.clone()) {
            Ok(name) => name,
            // A zone or an underscore: no name to send, the address will do.
            Err(_) => ServerName::from(peer.ip()),
        },
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = match timeout(target.limits.tls, handshake).await {
        Err(_) => {
            return Err(log.error(
                ErrorCode::Timeout,
                format!("{peer} did not finish the TLS handshake in time"),
            ));
        }
        Ok(Err(error)) => return Err(tls_error(log, peer, &error)),
        Ok(Ok(stream)) => stream,
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| facts(leaf));
    Ok(Connection {
        stream: Stream {
            io: Io::Tls(Box::new(stream)),
            _slot: slot,
        },
        peer,
        certificate,
    })
}

fn tls_error(log: &Transcript, peer: SocketAddr, error: &io::Error) -> ProbeError {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::General(text)) => log.error(ErrorCode::Tls, text.clone()),
        Some(rustls::Error::InvalidCertificate(why)) => log.error(
            ErrorCode::Tls,
            format!("the certificate of {peer} is not accepted: {why:?}"),
        ),
        Some(rustls::Error::AlertReceived(alert)) => log.error(
            ErrorCode::Tls,
            format!(
                "{peer} refused the TLS handshake ({alert:?}); it may speak only TLS older than 1.2"
            ),
        ),
        Some(other) => log.error(ErrorCode::Tls, format!("TLS with {peer} failed: {other}")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => log.error(
            ErrorCode::Tls,
            format!("{peer} closed the connection during the TLS handshake"),
        ),
        None => log.error(
            ErrorCode::Reset,
            format!("{peer} broke off the TLS handshake: {error}"),
        ),
    }
}

/// Facts of a leaf certificate, as far as it can be read.
fn facts(leaf: &CertificateDer<'_>) -> CertificateFacts {
    let now_unix_s = UnixTime::now().as_secs() as i64;
    x509::facts(leaf, &fingerprint(leaf), now_unix_s)
}

fn fingerprint(leaf: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, leaf);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
        .clone()
}

fn first_use_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| Arc::new(lax_config(None))).clone()
}

fn lax_config(pin: Option<String>) -> ClientConfig {
    let verifier = Arc::new(Lax {
        pin,
        provider: provider(),
    });
    builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// A client's TLS settings before it is said whom it trusts.
pub fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(provider());
    #[expect(
        clippy::expect_used,
        reason = "ring supports both versions; this is no outside value"
    )]
    builder
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
}

fn authorities_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = builder()
        .with_root_certificates(authorities(Path::new(CA_BUNDLE))?)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// The certificate authorities of a PEM file.
///
/// # Errors
/// One sentence: it cannot be read, or there is none in it.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let read = CertificateDer::pem_file_iter(file)
        .map_err(|e| format!("cannot read the certificate authorities in {shown}: {e}"))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read.flatten());
    if roots.is_empty() {
        return Err(format!("there is no certificate authority in {shown}"));
    }
    Ok(roots)
}

/// Accepts the certificate that the device shows, or only the pinned one; signatures are checked all
/// the same, so that the peer does hold the key.
#[derive(Debug)]
struct Lax {
    pin: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lax {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.pin {
            Some(pin) if *pin != fingerprint(leaf) => Err(rustls::Error::General(
                "the certificate is not the one that was seen first; if that is right, store the camera's URL or password again".to_owned(),
            )),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_flush(cx),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
