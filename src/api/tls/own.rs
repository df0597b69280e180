//! The certificate that a gateway gives itself, kept in its state directory.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Fingerprint, Names, Pair, TlsError, read};
use crate::model::{Secret, Timestamp};
use crate::sys::token;
use crate::wire::issue::{self, SelfSigned};

const CERT_FILE: &str = "api.crt";
const KEY_FILE: &str = "api.key";
/// A board without a clock of its own starts in the past: the certificate is good there too, and
/// does not end ten years after 1970.
const NOT_BEFORE: Timestamp = Timestamp::from_unix_s(1_735_689_600); // 2025-01-01
const LIFETIME_MS: i64 = 3652 * 86_400_000; // ten years
/// Addresses in one certificate.
const ADDRESSES_MAX: usize = 32;

/// The stored pair; a new one where none is stored or it is damaged. An expired certificate is
/// renewed for the same key.
pub(super) fn load(dir: &Path, names: &Names, now: Timestamp) -> Result<Pair, TlsError> {
    let (cert, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    let mut kept = None;
    if cert.exists() || key.exists() {
        match stored(dir) {
            Ok(pair) if !is_over(&pair, now) => return Ok(pair),
            Ok(pair) => {
                tracing::warn!(
                    "the gateway's own certificate has expired and is renewed: the fingerprint changes, the pin of its key stays"
                );
                kept = Some(pair.key);
            }
            Err(error) => tracing::warn!(
                "the gateway's own certificate is made anew, fingerprint and pin change: {error}"
            ),
        }
    }
    let (cert_pem, key_pem) = make(names, kept.as_ref(), now)?;
    for (path, text) in [(&key, key_pem), (&cert, Secret::new(cert_pem))] {
        token::write(path, &text).map_err(|source| TlsError::Write {
            path: path.clone(),
            source,
        })?;
    }
    stored(dir)
}

/// The stored certificate, for its fingerprint.
pub(super) fn certificate(dir: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = dir.join(CERT_FILE);
    match path.exists() {
        true => read::chain("server.tls", &path),
        false => Err(TlsError::NotYet { path }),
    }
}

fn stored(dir: &Path) -> Result<Pair, TlsError> {
    let key_path = dir.join(KEY_FILE);
    let pair = Pair {
        chain: certificate(dir)?,
        key: read::private_key("server.tls", &key_path)?,
        key_path,
    };
    pair.config()?;
    Ok(pair)
}

fn is_over(pair: &Pair, now: Timestamp) -> bool {
    let leaf = pair.chain.first();
    leaf.is_none_or(|leaf| Fingerprint::of(leaf, now).expired)
}

/// Certificate and key as PEM; a new key where none is `kept`.
fn make(
    names: &Names,
    kept: Option<&PrivateKeyDer<'_>>,
    now: Timestamp,
) -> Result<(String, Secret), TlsError> {
    let failed = |what: &str| TlsError::Make(format!("the system gives no {what}"));
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = match kept {
        Some(key) => Zeroizing::new(key.secret_der().to_vec()),
        None => {
            let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
            let made = made.map_err(|_| failed("random numbers for a key"))?;
            Zeroizing::new(made.as_ref().to_vec())
        }
    };
    let key =
        EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).map_err(|_| failed("usable key"))?;
    let mut serial = [0; 16];
    random
        .fill(&mut serial)
        .map_err(|_| failed("random numbers"))?;
    let public_key = key.public_key().as_ref();
    let key_id = digest(&SHA256, public_key);
    let facts = SelfSigned {
        common_name: common_name(names),
        dns_names: &dns_names(names),
        addresses: &names.addresses,
        not_before: NOT_BEFORE,
        not_after: now.max(NOT_BEFORE).plus_ms(LIFETIME_MS),
        serial,
        public_key,
        key_id: key_id.as_ref().get(..20).unwrap_or_default(),
    };
    let der = issue::self_signed(&facts, |part| {
        let signature = key.sign(&random, part).map_err(|_| failed("signature"))?;
        Ok(signature.as_ref().to_vec())
    })?;
    let key_pem = Secret::new(pem("PRIVATE KEY", &pkcs8));
    Ok((pem("CERTIFICATE", &der), key_pem))
}

fn common_name(names: &Names) -> &str {
    match names.hostname.as_str() {
        "" => "ohmvision",
        name => name,
    }
}

/// `localhost`, the host name, and the host name as mDNS has it.
fn dns_names(names: &Names) -> Vec<String> {
    let mut all = vec!["localhost".to_owned()];
    let name = names.hostname.to_ascii_lowercase();
    let is_dns = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !name.is_empty() && name != "localhost" && name.chars().all(is_dns) {
        if !name.contains('.') {
            all.push(format!("{name}.local"));
        }
        all.push(name);
    }
    all
}

/// The address that is listened on, or all of the machine's where that is every one; loopback too.
pub(super) fn addresses(listen: SocketAddr) -> Vec<IpAddr> {
    let mut all = vec![
        IpAddr::from([127, 0, 0, 1]),
        "::1".parse().unwrap_or(listen.ip()),
    ];
    let bound = listen.ip().to_canonical();
    if bound.is_unspecified() {
        let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
        all.extend(interfaces.filter_map(|i| {
            let address = i.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        }));
    } else {
        all.push(bound);
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|address| seen.insert(*address));
    all.truncate(ADDRESSES_MAX);
    all
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while let Some((line, after)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text + "-----END " + label + "-----"
}
