//! The cryptography of DTLS by `ring`, behind the interface of `dimpl`: ECDHE on P-256 and X25519, ECDSA
//! on P-256 and P-384, AES-GCM (RFC 5289, RFC 8446 section 9.1, RFC 8827 section 6.5).

use std::fmt;

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use dimpl::crypto::{
    Aad, ActiveKeyExchange, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite,
    HashAlgorithm, HashContext, HashProvider, HmacProvider, KeyProvider, NamedGroup, Nonce,
    SecureRandom, SignatureAlgorithm, SignatureVerifier, SigningKey, SupportedDtls12CipherSuite,
    SupportedDtls13CipherSuite, SupportedKxGroup, TmpBuf, check_verify_scheme,
};
use dimpl::{CryptoError, CryptoOperation};
use ring::aead::{self, LessSafeKey, UnboundKey};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::digest;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA384_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaKeyPair, VerificationAlgorithm,
};

use crate::wire::x509::{self, Curve};

/// What `dimpl` is configured with.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: &[&Group(NamedGroup::X25519), &Group(NamedGroup::Secp256r1)],
        signature_verification: &Ring,
        key_provider: &Ring,
        secure_random: &Ring,
        hash_provider: &Ring,
        hmac_provider: &Ring,
        cipher_suites: &[&Suite(HashAlgorithm::SHA256), &Suite(HashAlgorithm::SHA384)],
        dtls13_cipher_suites: &[&Suite(HashAlgorithm::SHA256)],
    }
}

fn failed<E>(operation: CryptoOperation) -> impl FnOnce(E) -> CryptoError {
    move |_| CryptoError::OperationFailed(operation)
}

/// Everything that needs no state.
#[derive(Debug)]
struct Ring;

/// AES-128-GCM with SHA-256, AES-256-GCM with SHA-384.
#[derive(Debug)]
struct Suite(HashAlgorithm);

impl Suite {
    const NONCE_BYTES: usize = 12;
    const TAG_BYTES: usize = 16;
    /// The part of a nonce that DTLS 1.2 sends with each record (RFC 5288 section 3).
    const EXPLICIT_NONCE_BYTES: usize = 8;

    fn is_aes_256(&self) -> bool {
        self.0 == HashAlgorithm::SHA384
    }

    fn key_bytes(&self) -> usize {
        if self.is_aes_256() { 32 } else { 16 }
    }

    fn cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        let algorithm = match self.is_aes_256() {
            true => &aead::AES_256_GCM,
            false => &aead::AES_128_GCM,
        };
        let key = UnboundKey::new(algorithm, key);
        let key = key.map_err(failed(CryptoOperation::CreateCipher))?;
        Ok(Box::new(Gcm(LessSafeKey::new(key))))
    }
}

impl SupportedDtls12CipherSuite for Suite {
    fn suite(&self) -> Dtls12CipherSuite {
        match self.is_aes_256() {
            true => Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384,
            false => Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256,
        }
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.0
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        let fixed_bytes = Self::NONCE_BYTES - Self::EXPLICIT_NONCE_BYTES;
        (0, self.key_bytes(), fixed_bytes)
    }

    fn explicit_nonce_len(&self) -> usize {
        Self::EXPLICIT_NONCE_BYTES
    }

    fn tag_len(&self) -> usize {
        Self::TAG_BYTES
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        self.cipher(key)
    }
}

/// The library wants a suite of DTLS 1.3 in every provider.
impl SupportedDtls13CipherSuite for Suite {
    fn suite(&self) -> Dtls13CipherSuite {
        match self.is_aes_256() {
            true => Dtls13CipherSuite::AES_256_GCM_SHA384,
            false => Dtls13CipherSuite::AES_128_GCM_SHA256,
        }
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.0
    }

    fn key_len(&self) -> usize {
        self.key_bytes()
    }

    fn iv_len(&self) -> usize {
        Self::NONCE_BYTES
    }

    fn tag_len(&self) -> usize {
        Self::TAG_BYTES
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        self.cipher(key)
    }

    /// One block of AES (RFC 9147 section 4.2.3).
    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        let mut block = GenericArray::from(*sample);
        match self.is_aes_256() {
            true => Aes256::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block)),
            false => Aes128::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block)),
        }
        .ok();
        block.into()
    }
}

struct Gcm(LessSafeKey);

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm")
    }
}

impl Cipher for Gcm {
    fn encrypt(&mut self, plaintext: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        self.0
            .seal_in_place_append_tag(nonce, aead::Aad::from(&aad[..]), plaintext)
            .map_err(failed(CryptoOperation::Encrypt))
    }

    fn decrypt(
        &mut self,
        ciphertext: &mut TmpBuf<'_>,
        aad: Aad,
        nonce: Nonce,
    ) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        let length = self
            .0
            .open_in_place(nonce, aead::Aad::from(&aad[..]), ciphertext.as_mut())
            .map_err(failed(CryptoOperation::Decrypt))?
            .len();
        ciphertext.truncate(length);
        Ok(())
    }
}

/// ECDHE on one curve.
#[derive(Debug)]
struct Group(NamedGroup);

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        self.0
    }

    fn start_exchange(&self, mut buf: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let algorithm = match self.0 {
            NamedGroup::X25519 => &agreement::X25519,
            _ => &agreement::ECDH_P256,
        };
        let private = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new())
            .map_err(failed(CryptoOperation::GenerateEphemeralKey))?;
        let public = private
            .compute_public_key()
            .map_err(failed(CryptoOperation::ComputePublicKey))?;
        buf.clear();
        buf.extend_from_slice(public.as_ref());
        Ok(Box::new(Exchange {
            group: self.0,
            private,
            public: buf,
        }))
    }
}

struct Exchange {
    group: NamedGroup,
    private: EphemeralPrivateKey,
    public: Buf,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange ({:?})", self.group)
    }
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn complete(self: Box<Self>, peer_pub: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer_pub);
        agreement::agree_ephemeral(self.private, &peer, |secret| {
            out.clear();
            out.extend_from_slice(secret);
        })
        .map_err(|_| CryptoError::InvalidPublicKey(self.group))
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

struct Key(EcdsaKeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl SigningKey for Key {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), CryptoError> {
        if hash_alg != HashAlgorithm::SHA256 {
            return Err(CryptoError::SigningKeyHashMismatch {
                key_hash: HashAlgorithm::SHA256,
                requested: hash_alg,
            });
        }
        let signed = self.0.sign(&SystemRandom::new(), data);
        let signed = signed.map_err(failed(CryptoOperation::Sign))?;
        out.clear();
        out.extend_from_slice(signed.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

impl KeyProvider for Ring {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        EcdsaKeyPair::from_pkcs8(algorithm, key_der, &SystemRandom::new())
            .map(|pair| Box::new(Key(pair)) as Box<dyn SigningKey>)
            .map_err(|_| CryptoError::InvalidPrivateKey)
    }
}

impl SignatureVerifier for Ring {
    fn verify_signature(
        &self,
        cert_der: &[u8],
        data: &[u8],
        signature: &[u8],
        hash_alg: HashAlgorithm,
        sig_alg: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let (curve, point) =
            x509::public_key(cert_der).ok_or(CryptoError::UnsupportedPublicKeyAlgorithm)?;
        let group = match curve {
            Curve::P256 => NamedGroup::Secp256r1,
            Curve::P384 => NamedGroup::Secp384r1,
        };
        check_verify_scheme(sig_alg, hash_alg, group)?;
        let algorithm: &'static dyn VerificationAlgorithm = match (curve, hash_alg) {
            (Curve::P256, HashAlgorithm::SHA384) => &ECDSA_P256_SHA384_ASN1,
            (Curve::P256, _) => &ECDSA_P256_SHA256_ASN1,
            (Curve::P384, HashAlgorithm::SHA384) => &ECDSA_P384_SHA384_ASN1,
            (Curve::P384, _) => &ECDSA_P384_SHA256_ASN1,
        };
        signature::UnparsedPublicKey::new(algorithm, point)
            .verify(data, signature)
            .map_err(|_| CryptoError::SignatureVerificationFailed {
                signature: sig_alg,
                hash: hash_alg,
                group,
            })
    }
}

impl SecureRandom for Ring {
    fn fill(&self, buf: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new()
            .fill(buf)
            .map_err(failed(CryptoOperation::FillRandom))
    }
}

struct Hash(digest::Context);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        let digest = self.0.clone().finish();
        out.clear();
        out.extend_from_slice(digest.as_ref());
    }
}

impl HashProvider for Ring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        let algorithm = match algorithm {
            HashAlgorithm::SHA384 => &digest::SHA384,
            _ => &digest::SHA256,
        };
        Box::new(Hash(digest::Context::new(algorithm)))
    }
}

impl HmacProvider for Ring {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let algorithm = match hash {
            HashAlgorithm::SHA384 => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA256,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), data);
        let tag = tag.as_ref();
        let to = out.get_mut(..tag.len());
        to.ok_or(CryptoError::OperationFailed(CryptoOperation::ComputeHmac))?
            .copy_from_slice(tag);
        Ok(tag.len())
    }
}

/// HMAC-SHA1 of STUN messages (RFC 8489 section 14.5).
impl is::Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let mut context = hmac::Context::with_key(&key);
        payloads.iter().for_each(|part| context.update(part));
        let mut out = [0; 20];
        let tag = context.sign();
        out.iter_mut()
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        out
    }
}

/// For the ICE agent.
pub(super) const STUN_INTEGRITY: &dyn is::Sha1HmacProvider = &Ring;
