//! The way to the broker: its name, TCP, TLS. The MQTT library is given a socket of this process
//! instead of its own TLS: behind it a relay carries the bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpStream, UnixListener, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use super::client::Target;
use crate::config::{BrokerUrl, Mqtt};
use crate::model::Secret;
use crate::probe::net;

/// For each of look-up, connection and handshake.
const STEP: Duration = Duration::from_secs(5);
/// Bytes of a relay's buffer in each direction.
const RELAY_BYTES: usize = 8 * 1024;
/// Largest file of a password or certificate.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Addresses of one name that are tried in turn.
const ADDRESSES_MAX: usize = 4;
/// Name of the systemd credential that holds the password.
const CREDENTIAL: &str = "ohmvision.mqtt-password";

/// Why the broker was not reached; each names the step and what to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("{0}")]
    File(String),
    #[error(
        "the name {0} does not resolve: is it spelt right, and does this machine have a DNS server?"
    )]
    Name(String),
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Tls(String),
}

/// A way that stands.
#[derive(Debug)]
pub struct Way {
    pub target: Target,
    /// The broker's address, for the log.
    pub peer: SocketAddr,
    /// Ends with this.
    relay: Option<Relay>,
}

impl Way {
    /// What the broker said in TLS when it broke off.
    pub fn fault(&self) -> Option<DialError> {
        let relay = self.relay.as_ref()?;
        relay.fault.get().cloned().map(DialError::Tls)
    }
}

/// Finds the broker; under TLS also connects to it. `turn` chooses among several addresses.
///
/// # Errors
/// [`DialError`]
pub async fn dial(mqtt: &Mqtt, url: &BrokerUrl, turn: usize) -> Result<Way, DialError> {
    let peer = resolve(url, turn).await?;
    if !url.tls {
        return Ok(Way {
            target: Target::Tcp(peer),
            peer,
            relay: None,
        });
    }
    let config = tls_config(mqtt)?;
    let socket = connect(peer).await?;
    let stream = handshake(config, url, peer, socket).await?;
    let (target, relay) = relay(peer, stream)
        .map_err(|e| DialError::Connect(format!("no socket for the way to the broker: {e}")))?;
    Ok(Way {
        target,
        peer,
        relay: Some(relay),
    })
}

/// The broker's address, in turn where its name has several.
pub async fn resolve(url: &BrokerUrl, turn: usize) -> Result<SocketAddr, DialError> {
    if let Some(address) = net::literal_address(&url.host, url.port) {
        return Ok(address);
    }
    let unknown = || DialError::Name(url.host.clone());
    let found = timeout(STEP, lookup_host((url.host.as_str(), url.port))).await;
    let found: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        _ => return Err(unknown()),
    };
    let at = turn.checked_rem(found.len()).unwrap_or(0);
    found.get(at).copied().ok_or_else(unknown)
}

/// A TCP connection to the broker.
pub async fn connect(peer: SocketAddr) -> Result<TcpStream, DialError> {
    match timeout(STEP, TcpStream::connect(peer)).await {
        Ok(Ok(socket)) => {
            let _ = socket.set_nodelay(true);
            Ok(socket)
        }
        Ok(Err(error)) => Err(DialError::Connect(connect_words(peer, error.kind()))),
        Err(_) => Err(DialError::Connect(connect_words(
            peer,
            io::ErrorKind::TimedOut,
        ))),
    }
}

/// Why there is no connection to this address, in words.
pub fn connect_words(peer: SocketAddr, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => {
            format!("{peer} refuses connections: no broker listens on this port")
        }
        io::ErrorKind::TimedOut => format!(
            "{peer} does not answer within {} s: is a firewall in between?",
            STEP.as_secs()
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{peer} cannot be reached from this machine")
        }
        kind => format!("cannot connect to {peer}: {kind}"),
    }
}

/// TLS over a connection, judged by the configured authorities.
pub async fn handshake(
    config: Arc<ClientConfig>,
    url: &BrokerUrl,
    peer: SocketAddr,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = match url.host.parse::<IpAddr>() {
        Ok(ip) => ServerName::from(ip),
        Err(_) => ServerName::try_from(url.host.clone()).unwrap_or(ServerName::from(peer.ip())),
    };
    match timeout(STEP, TlsConnector::from(config).connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(DialError::Tls(tls_words(peer, &error))),
        Err(_) => Err(DialError::Tls(format!(
            "{peer} did not finish the TLS handshake within {} s: does this port speak TLS?",
            STEP.as_secs()
        ))),
    }
}

fn tls_words(peer: SocketAddr, error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => format!(
            "the certificate of {peer} is not accepted ({why:?}): name its authority in mqtt.ca_file, and the broker by the name in its certificate"
        ),
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA)) => {
            format!("{peer} does not know the authority that signed mqtt.client_cert")
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("{peer} refused the TLS handshake ({alert:?}): does it want mqtt.client_cert?")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{peer} does not speak TLS on this port: mqtt:// goes without")
        }
        Some(other) => format!("TLS with {peer} failed: {other}"),
        None => format!("{peer} broke off the TLS handshake: does this port speak TLS?"),
    }
}

/// What the configuration says about TLS. Files are read each time: a new certificate counts with
/// the next connection.
pub fn tls_config(mqtt: &Mqtt) -> Result<Arc<ClientConfig>, DialError> {
    let bundle = Path::new(net::CA_BUNDLE);
    let roots = net::authorities(mqtt.ca_file.as_deref().unwrap_or(bundle));
    let builder = net::builder().with_root_certificates(roots.map_err(DialError::File)?);
    let mut config = match (&mqtt.client_cert, &mqtt.client_key) {
        (Some(cert), Some(key)) => {
            let unusable = |file: &Path, e: &dyn std::fmt::Display| {
                DialError::File(format!("mqtt: {} cannot be used: {e}", file.display()))
            };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert)
                .map_err(|e| unusable(cert, &e))?
                .collect();
            let chain = chain.map_err(|e| unusable(cert, &e))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|e| unusable(cert, &e))?
        }
        _ => builder.with_no_client_auth(),
    };
    if !mqtt.alpn.is_empty() {
        config.alpn_protocols = vec![mqtt.alpn.clone().into_bytes()];
    }
    Ok(Arc::new(config))
}

/// The password: `mqtt.password_file`, else the systemd credential, else the one that was stored.
pub fn password(mqtt: &Mqtt, stored: Option<Secret>) -> Result<Option<Secret>, DialError> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|dir| Path::new(&dir).join(CREDENTIAL))
        .filter(|path| path.exists());
    let Some(path) = mqtt.password_file.clone().or(credential) else {
        return Ok(stored);
    };
    let read = || -> io::Result<Secret> {
        use io::Read as _;
        let mut text = String::new();
        let file = std::fs::File::open(&path)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        let line = text.lines().next().unwrap_or_default();
        let secret = Secret::new(line);
        zeroize::Zeroize::zeroize(&mut text);
        Ok(secret)
    };
    let secret = read().map_err(|e| {
        DialError::File(format!(
            "the password file {} cannot be read: {e}",
            path.display()
        ))
    })?;
    Ok(Some(secret))
}

/// Carries bytes between the library and the broker; ends when it is dropped.
#[derive(Debug)]
struct Relay {
    task: JoinHandle<()>,
    /// What the broker said in TLS when it broke off.
    fault: Arc<OnceLock<String>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket in the abstract namespace (unix(7)): nothing is left on disk. Others may see it, so only
/// this process is let in.
fn relay(peer: SocketAddr, mut stream: TlsStream<TcpStream>) -> io::Result<(Target, Relay)> {
    let fault: Arc<OnceLock<String>> = Arc::default();
    let told = fault.clone();
    let name = format!("\0ohmvision-{}", Uuid::now_v7().simple());
    let listener = UnixListener::bind(&name)?;
    let own = i32::try_from(std::process::id()).ok();
    let carry = async move {
        let mut library = loop {
            let Ok((socket, _)) = listener.accept().await else {
                return;
            };
            let peer = socket.peer_cred().ok().and_then(|who| who.pid());
            if peer.is_some() && peer == own {
                break socket;
            }
        };
        drop(listener);
        let copied =
            copy_bidirectional_with_sizes(&mut library, &mut stream, RELAY_BYTES, RELAY_BYTES);
        // Either side closing ends the link, and the library tells that. A client's certificate is judged
        // behind the handshake (RFC 8446 section 4.4.2.4): only here is heard what is wrong with it.
        if let Err(error) = copied.await
            && error.get_ref().is_some_and(|e| e.is::<rustls::Error>())
        {
            let _ = told.set(tls_words(peer, &error));
        }
        drop(library);
    };
    let task = tokio::spawn(carry);
    Ok((Target::Relay(name), Relay { task, fault }))
}
