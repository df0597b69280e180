//! Who we are in one session: random ICE credentials and a certificate that nobody has to know.

use std::sync::{Arc, OnceLock};

use dimpl::{Config, DtlsCertificate};
use is::IceCreds;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::crypto;
use crate::model::Timestamp;
use crate::probe::wall_time;
use crate::wire::issue::{self, SelfSigned};

/// Validity on both sides of now: the clocks of cameras are wrong.
const VALID_MS: i64 = 30 * 24 * 3_600_000;
/// RFC 8445 section 5.3 wants 24 and 128 bits at least.
const USER_BYTES: usize = 6;
const PASSWORD_BYTES: usize = 24;

#[derive(Debug)]
pub(super) struct Identity {
    pub ice: IceCreds,
    pub certificate: DtlsCertificate,
    /// SHA-256 of the certificate.
    pub fingerprint: Vec<u8>,
    pub session_id: u64,
}

impl Identity {
    /// # Errors
    /// One sentence, when the system gives no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        const FAILED: &str = "the system gives no random numbers for a key";
        let random = SystemRandom::new();
        let failed = |_| FAILED.to_owned();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        let key =
            EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).map_err(|_| FAILED.to_owned())?;
        let mut serial = [0; 16];
        random.fill(&mut serial).map_err(failed)?;
        let now = wall_time();
        let point = key.public_key().as_ref();
        let key_id = digest(&SHA256, point);
        let facts = SelfSigned {
            // As browsers do it: it tells nothing.
            common_name: "WebRTC",
            dns_names: &[],
            addresses: &[],
            not_before: Timestamp(now.0 - VALID_MS),
            not_after: Timestamp(now.0 + VALID_MS),
            serial,
            public_key: point,
            key_id: key_id.as_ref().get(..20).unwrap_or_default(),
        };
        let certificate = issue::self_signed(&facts, |part| {
            let signature = key.sign(&random, part).map_err(failed)?;
            Ok::<_, String>(signature.as_ref().to_vec())
        })?;
        let ice = IceCreds {
            ufrag: word(USER_BYTES, &random).map_err(failed)?,
            pass: word(PASSWORD_BYTES, &random).map_err(failed)?,
        };
        let mut session_id = [0; 8];
        random.fill(&mut session_id).map_err(failed)?;
        Ok(Self {
            ice,
            fingerprint: digest(&SHA256, &certificate).as_ref().to_vec(),
            certificate: DtlsCertificate {
                certificate,
                private_key: pkcs8.to_vec(),
            },
            session_id: u64::from_be_bytes(session_id),
        })
    }
}

/// Random characters of ICE (RFC 8839 section 5.4), four for each three bytes.
fn word(bytes: usize, random: &SystemRandom) -> Result<String, ring::error::Unspecified> {
    use base64::Engine as _;
    let mut raw = Zeroizing::new(vec![0; bytes]);
    random.fill(&mut raw)?;
    Ok(base64::engine::general_purpose::STANDARD_NO_PAD.encode(&*raw))
}

/// DTLS 1.2 for every session; the library checks the cryptography once, when it is first asked for.
///
/// # Errors
/// What the library says of it.
pub(super) fn dtls_config() -> Result<Arc<Config>, String> {
    static CONFIG: OnceLock<Result<Arc<Config>, String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            Config::builder()
                .with_crypto_provider(crypto::provider())
                // ICE has proven the way back before the first byte of DTLS.
                .use_server_cookie(false)
                .build()
                .map(Arc::new)
                .map_err(|error| error.to_string())
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::x509;

    #[test]
    fn the_library_accepts_our_cryptography() {
        dtls_config().unwrap();
    }

    #[test]
    fn each_session_is_somebody_else() {
        let (one, other) = (Identity::new().unwrap(), Identity::new().unwrap());
        assert_ne!(one.fingerprint, other.fingerprint);
        assert_ne!(one.ice, other.ice);
        assert!(one.ice.ufrag.len() >= 4 && one.ice.pass.len() >= 22);
        let (curve, _) = x509::public_key(&one.certificate.certificate).unwrap();
        assert_eq!(curve, x509::Curve::P256);
        let facts = x509::facts(&one.certificate.certificate, "", wall_time().unix_s());
        assert!(!facts.expired && facts.self_signed);
    }
}
