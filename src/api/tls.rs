//! The API's own certificate: read or made, shown by its fingerprint, exchanged while connections run.

mod own;
mod read;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ParsedCertificate, ServerSessionMemoryCache};
use tokio_rustls::TlsAcceptor;

use crate::config::{Server, TlsMode};
use crate::model::Timestamp;
use crate::wire::x509;

/// TLS sessions that may be resumed; the oldest are forgotten.
const SESSIONS_MAX: usize = 32;

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that the configuration names.
    #[error("`{key}` names {path}, which {problem}")]
    File {
        key: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error("cannot keep the gateway's own certificate in {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "there is no {path}: the daemon makes it when it starts with `server.tls = \"self-signed\"`"
    )]
    NotYet { path: PathBuf },
    #[error("cannot make a certificate: {0}")]
    Make(String),
    #[error("`server.tls` is \"off\": the API has no certificate")]
    Off,
}

/// Where certificate and key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `api.crt` and `api.key` in the state directory, made where they are missing, damaged or expired.
    SelfSigned { dir: PathBuf, names: Names },
    /// PEM files of the operator's.
    Files { cert: PathBuf, key: PathBuf },
}

/// What a certificate of our own is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Common name, and an alternative name with and without `.local`.
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
}

impl Source {
    /// What `[server]` asks for; `None` where TLS is off.
    ///
    /// * `dir`: the state directory.
    pub fn of(server: &Server, dir: &Path, hostname: &str) -> Option<Self> {
        match (server.tls, &server.tls_cert, &server.tls_key) {
            (TlsMode::SelfSigned, ..) => Some(Self::SelfSigned {
                dir: dir.to_owned(),
                names: Names {
                    hostname: hostname.to_owned(),
                    addresses: own::addresses(server.listen),
                },
            }),
            (TlsMode::Files, Some(cert), Some(key)) => Some(Self::Files {
                cert: cert.clone(),
                key: key.clone(),
            }),
            // The configuration's check does not let the other case through.
            (TlsMode::Off | TlsMode::Files, ..) => None,
        }
    }

    fn is_own(&self) -> bool {
        matches!(self, Self::SelfSigned { .. })
    }

    fn load(&self, now: Timestamp) -> Result<Pair, TlsError> {
        match self {
            Self::SelfSigned { dir, names } => own::load(dir, names, now),
            Self::Files { cert, key } => read::files(cert, key),
        }
    }
}

/// How people recognise a certificate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fingerprint {
    /// SHA-256 of the certificate as openssl prints it: upper case, pairs between colons.
    pub sha256: String,
    /// SHA-256 of the public key as `curl --pinnedpubkey` takes it; stays when a certificate is
    /// renewed for the same key.
    pub pin: String,
    pub subject: Option<String>,
    pub not_after: Option<Timestamp>,
    pub expired: bool,
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>, now: Timestamp) -> Self {
        let hash = digest(&SHA256, certificate);
        let pairs: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let sha256 = pairs.join(":");
        let key = ParsedCertificate::try_from(certificate).map(|c| c.subject_public_key_info());
        let pin = key.map(|key| STANDARD.encode(digest(&SHA256, &key)));
        let facts = x509::facts(certificate, &sha256, now.unix_s());
        Self {
            pin: format!("sha256//{}", pin.unwrap_or_default()),
            subject: facts.subject,
            not_after: facts.not_after,
            expired: facts.expired,
            sha256,
        }
    }
}

/// Fingerprint of the certificate that a daemon with this configuration shows. Makes nothing.
///
/// # Errors
/// [`TlsError`]: TLS is off, or there is no readable certificate.
pub fn fingerprint(server: &Server, dir: &Path, now: Timestamp) -> Result<Fingerprint, TlsError> {
    let chain = match Source::of(server, dir, "") {
        None => return Err(TlsError::Off),
        Some(Source::SelfSigned { dir, .. }) => own::certificate(&dir)?,
        Some(Source::Files { cert, .. }) => read::chain("server.tls_cert", &cert)?,
    };
    let leaf = chain.first().ok_or(TlsError::Off)?;
    Ok(Fingerprint::of(leaf, now))
}

/// A certificate chain, leaf first, with its key.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// For the error where the two do not fit.
    key_path: PathBuf,
}

impl Pair {
    /// # Errors
    /// The key does not fit the certificate, or is of a kind that cannot be used.
    fn config(&self) -> Result<ServerConfig, TlsError> {
        let wrong = |error: rustls::Error| TlsError::File {
            key: "server.tls_key",
            path: self.key_path.clone(),
            problem: match error {
                rustls::Error::InconsistentKeys(_) => {
                    "does not hold the key of the certificate in `server.tls_cert`".to_owned()
                }
                error => format!("cannot be used: {error}"),
            },
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(config)
    }
}

/// What new connections are served with.
struct Current {
    source: Source,
    acceptor: TlsAcceptor,
    fingerprint: Fingerprint,
}

impl Current {
    fn load(source: Source, now: Timestamp) -> Result<Self, TlsError> {
        let pair = source.load(now)?;
        let acceptor = TlsAcceptor::from(Arc::new(pair.config()?));
        let leaf = pair.chain.first().ok_or(TlsError::Off)?;
        let fingerprint = Fingerprint::of(leaf, now);
        if fingerprint.expired {
            tracing::warn!(
                not_after = fingerprint.not_after.map(tracing::field::display),
                "the API's certificate has expired: callers will refuse it until it is replaced and reloaded"
            );
        }
        Ok(Self {
            source,
            acceptor,
            fingerprint,
        })
    }
}

/// TLS of the API's listener. Connections keep what they began with; new ones take what was loaded
/// last.
pub struct Tls(Mutex<Current>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.fingerprint().sha256)
    }
}

impl Tls {
    /// # Errors
    /// [`TlsError`] for each way in which a certificate or key can be unusable.
    pub fn open(source: Source, now: Timestamp) -> Result<Self, TlsError> {
        Current::load(source, now).map(|current| Self(Mutex::new(current)))
    }

    /// Reads the certificate again, from `source` where that is of the same kind: the kind changes
    /// with a restart only.
    ///
    /// True where another certificate is shown from now on.
    ///
    /// # Errors
    /// [`TlsError`]; what was loaded before stays in use.
    pub fn reload(&self, source: Option<Source>, now: Timestamp) -> Result<bool, TlsError> {
        let running = self.lock().source.clone();
        let source = source.filter(|new| new.is_own() == running.is_own());
        let loaded = Current::load(source.unwrap_or(running), now)?;
        let mut current = self.lock();
        let is_new = loaded.fingerprint.sha256 != current.fingerprint.sha256;
        *current = loaded;
        Ok(is_new)
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.lock().fingerprint.clone()
    }

    pub fn is_own(&self) -> bool {
        self.lock().source.is_own()
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.lock().acceptor.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// `https` or `http`, and the address.
pub fn url(address: SocketAddr, tls: Option<&Tls>) -> String {
    let scheme = if tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
        .clone()
}
