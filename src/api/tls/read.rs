//! PEM files of the operator's; one sentence for each way in which they can be wrong.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Pair, TlsError};

/// Longer files are no certificate and no key.
const PEM_BYTES_MAX: u64 = 256 * 1024;
/// Certificates in one chain.
const CHAIN_MAX: usize = 16;

pub(super) fn files(cert: &Path, key: &Path) -> Result<Pair, TlsError> {
    Ok(Pair {
        chain: chain("server.tls_cert", cert)?,
        key: private_key("server.tls_key", key)?,
        key_path: key.to_owned(),
    })
}

/// The certificates of a PEM file, the leaf first.
///
/// * `setting`: the key of the configuration that named the file.
pub(super) fn chain(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| file_error(setting, path, problem);
    let text = bytes(path).map_err(wrong)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    match chain.len() {
        0 if is_der(&text) => Err(wrong(
            "is not PEM but looks like DER: convert it with `openssl x509 -inform der`".to_owned(),
        )),
        0 => Err(wrong(
            "holds no certificate: it needs a line `-----BEGIN CERTIFICATE-----`".to_owned(),
        )),
        1..=CHAIN_MAX => Ok(chain),
        more => Err(wrong(format!(
            "holds {more} certificates; a chain has at most {CHAIN_MAX}"
        ))),
    }
}

/// The one key of a PEM file: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn private_key(
    setting: &'static str,
    path: &Path,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |problem: String| file_error(setting, path, problem);
    let text = bytes(path).map_err(wrong)?;
    let found = PrivateKeyDer::from_pem_slice(&text);
    let key = found.map_err(|error| {
        let holds = |mark: &str| text.windows(mark.len()).any(|w| w == mark.as_bytes());
        wrong(match error {
            _ if holds("ENCRYPTED") => {
                "holds a key with a passphrase: store it without one, readable by the service only"
                    .to_owned()
            }
            pem::Error::NoItemsFound if is_der(&text) => {
                "is not PEM but looks like DER: convert it with `openssl pkey -inform der`"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "holds no private key: it needs a line `-----BEGIN PRIVATE KEY-----`".to_owned()
            }
            error => format!("is not PEM: {error}"),
        })
    })?;
    let mode = fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(path = %path.display(), "every user of this machine can read the API's private key");
    }
    Ok(key)
}

pub(super) fn file_error(key: &'static str, path: &Path, problem: String) -> TlsError {
    TlsError::File {
        key,
        path: path.to_owned(),
        problem,
    }
}

/// The whole file, wiped after use: it may be a key.
fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Anything but a file (a pipe) could be waited for without an end.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    if metadata.len() > PEM_BYTES_MAX {
        return Err(format!("is longer than {PEM_BYTES_MAX} bytes"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Zeroizing::new(Vec::new());
    let mut limited = file.take(PEM_BYTES_MAX);
    limited.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// A DER file begins with a long SEQUENCE.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81 | 0x82, ..])
}
