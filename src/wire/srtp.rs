//! SRTP as WebRTC speaks it: keys from DTLS (RFC 5764 section 4.2), AES in counter mode with
//! HMAC-SHA1 (RFC 3711), AES-GCM (RFC 7714). Opens RTP that comes in, seals RTCP that goes out.

use std::fmt;

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

const BLOCK_BYTES: usize = 16;
/// Blocks of key stream made at once: software AES does several at the price of one.
const BLOCKS: usize = 8;
const HMAC_TAG_BYTES: usize = 10;
const RTP_HEADER_BYTES: usize = 12;
/// Header and sender of an RTCP packet stay readable.
const RTCP_CLEAR_BYTES: usize = 8;
/// Set in the index of an SRTCP packet whose content is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Senders that are followed at the same time.
const SOURCES_MAX: usize = 4;

/// Labels of key derivation (RFC 3711 section 4.3.1); those of RTCP are three higher.
const LABEL_CIPHER: u8 = 0;
const LABEL_AUTHENTICATION: u8 = 1;
const LABEL_SALT: u8 = 2;
const LABELS_RTCP: u8 = 3;

/// Protection profiles that are negotiated in DTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Aes128CmSha1_80,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

impl Profile {
    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    fn salt_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// Both directions of one session. `material` is what DTLS exports: the client's key, the server's,
/// the client's salt, the server's. `None` when it is too short.
pub fn session(
    profile: Profile,
    material: &[u8],
    is_client: bool,
) -> Option<(RtpOpener, RtcpSealer)> {
    let (keys, salts) = material.split_at_checked(2 * profile.key_bytes())?;
    let (client_key, server_key) = keys.split_at(profile.key_bytes());
    let salts = salts.get(..2 * profile.salt_bytes())?;
    let (client_salt, server_salt) = salts.split_at(profile.salt_bytes());
    let client = (client_key, client_salt);
    let server = (server_key, server_salt);
    let (ours, theirs) = match is_client {
        true => (client, server),
        false => (server, client),
    };
    let opener = RtpOpener {
        keys: Keys::derive(profile, theirs, 0)?,
        sources: Vec::new(),
    };
    let sealer = RtcpSealer {
        keys: Keys::derive(profile, ours, LABELS_RTCP)?,
        index: 0,
    };
    Some((opener, sealer))
}

/// Session keys of one direction.
enum Keys {
    Cm {
        cipher: Block,
        authentication: hmac::Key,
        salt: [u8; 14],
    },
    Gcm {
        key: Box<LessSafeKey>,
        salt: [u8; 12],
    },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    fn derive(profile: Profile, (key, salt): (&[u8], &[u8]), labels: u8) -> Option<Self> {
        let master = Block::new(key)?;
        let mut derived = Zeroizing::new([0; 32]);
        derive(&master, salt, labels + LABEL_CIPHER, &mut derived[..]);
        let cipher_key = derived.get(..profile.key_bytes())?;
        match profile {
            Profile::Aes128CmSha1_80 => {
                let mut authentication = Zeroizing::new([0; 20]);
                derive(
                    &master,
                    salt,
                    labels + LABEL_AUTHENTICATION,
                    &mut authentication[..],
                );
                let mut session_salt = [0; 14];
                derive(&master, salt, labels + LABEL_SALT, &mut session_salt);
                Some(Self::Cm {
                    cipher: Block::new(cipher_key)?,
                    authentication: hmac::Key::new(
                        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        &authentication[..],
                    ),
                    salt: session_salt,
                })
            }
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let mut session_salt = [0; 12];
                derive(&master, salt, labels + LABEL_SALT, &mut session_salt);
                Self::gcm(cipher_key, session_salt)
            }
        }
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Option<Self> {
        let algorithm = match key.len() {
            32 => &aead::AES_256_GCM,
            _ => &aead::AES_128_GCM,
        };
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self::Gcm {
            key: Box::new(LessSafeKey::new(key)),
            salt,
        })
    }
}

/// RFC 3711 section 4.3.3, with a key derivation rate of zero; a salt of 12 bytes ends in zeros (RFC
/// 7714 section 11).
fn derive(master: &Block, salt: &[u8], label: u8, out: &mut [u8]) {
    let mut counter = [0; BLOCK_BYTES];
    counter.iter_mut().zip(salt).for_each(|(c, s)| *c = *s);
    counter[7] ^= label;
    out.fill(0);
    master.counter_mode(&counter, out);
}

/// AES without a mode.
enum Block {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
}

impl Block {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Aes128(Box::new(Aes128::new_from_slice(key).ok()?))),
            32 => Some(Self::Aes256(Box::new(Aes256::new_from_slice(key).ok()?))),
            _ => None,
        }
    }

    /// XORs the key stream onto `data` (RFC 3711 section 4.1.1). The last two bytes of the counter
    /// count blocks: enough for 1 MiB, and no packet is that long.
    fn counter_mode(&self, counter: &[u8; BLOCK_BYTES], data: &mut [u8]) {
        for (chunk, group) in data.chunks_mut(BLOCK_BYTES * BLOCKS).zip(0u16..) {
            let mut stream = [GenericArray::from(*counter); BLOCKS];
            for (block, number) in stream.iter_mut().zip(group * BLOCKS as u16..) {
                block[14..].copy_from_slice(&number.to_be_bytes());
            }
            match self {
                Self::Aes128(aes) => aes.encrypt_blocks(&mut stream),
                Self::Aes256(aes) => aes.encrypt_blocks(&mut stream),
            }
            let stream = stream.iter().flatten();
            chunk.iter_mut().zip(stream).for_each(|(d, s)| *d ^= s);
        }
    }
}

/// The counter before the first block: salt, sender and packet index (RFC 3711 section 4.1.1).
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; BLOCK_BYTES] {
    let mut counter = [0; BLOCK_BYTES];
    counter.iter_mut().zip(salt).for_each(|(c, s)| *c = *s);
    let sender_and_index = u128::from(ssrc) << 64 | u128::from(index) << 16;
    (u128::from_be_bytes(counter) ^ sender_and_index).to_be_bytes()
}

/// RFC 7714 sections 8.1 and 9.1: two zero bytes, the sender, 48 bits of index.
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = [0; 16];
    let sender_and_index = u128::from(ssrc) << 48 | u128::from(index);
    nonce.copy_from_slice(&sender_and_index.to_be_bytes());
    let mut salted = *salt;
    let [_, _, _, _, low @ ..] = nonce;
    salted.iter_mut().zip(low).for_each(|(s, n)| *s ^= n);
    Nonce::assume_unique_for_key(salted)
}

/// Opens packets of the other side. Repeated packets are opened again: they are thrown away where
/// packets are put in order.
#[derive(Debug)]
pub struct RtpOpener {
    keys: Keys,
    sources: Vec<Source>,
}

/// Where one sender's 48 bits of sequence stand (RFC 3711 section 3.3.1).
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    highest: u64,
}

impl Source {
    /// The index that a packet with this sequence number most likely has (RFC 3711 appendix A).
    fn index(&self, sequence: u16) -> u64 {
        let step = sequence.wrapping_sub(self.highest as u16).cast_signed();
        let index = self.highest.checked_add_signed(i64::from(step));
        // Before the first round: it belongs to this one.
        index.unwrap_or_else(|| u64::from(sequence))
    }
}

impl RtpOpener {
    /// Decrypts one packet in place; gives its header and payload. `None` for what is no RTP, was
    /// altered, or comes from a fifth sender.
    pub fn open<'p>(&mut self, packet: &'p mut [u8]) -> Option<&'p [u8]> {
        let header_bytes = header_bytes(packet)?;
        let &[_, _, s0, s1, _, _, _, _, a, b, c, d] = packet.first_chunk::<RTP_HEADER_BYTES>()?;
        let (sequence, ssrc) = (
            u16::from_be_bytes([s0, s1]),
            u32::from_be_bytes([a, b, c, d]),
        );
        let known = self.sources.iter().position(|s| s.ssrc == ssrc);
        if known.is_none() && self.sources.len() == SOURCES_MAX {
            return None;
        }
        let source = known.and_then(|at| self.sources.get(at).copied());
        let mut source = source.unwrap_or(Source {
            ssrc,
            highest: u64::from(sequence),
        });
        let index = source.index(sequence);
        let length = self.decrypt(packet, header_bytes, ssrc, index)?;
        source.highest = source.highest.max(index);
        match known.and_then(|at| self.sources.get_mut(at)) {
            Some(slot) => *slot = source,
            None => self.sources.push(source),
        }
        packet.get(..length)
    }

    /// Length of what is left without its tag.
    fn decrypt(
        &self,
        packet: &mut [u8],
        header_bytes: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        match &self.keys {
            Keys::Cm {
                cipher,
                authentication,
                salt,
            } => {
                let length = packet.len().checked_sub(HMAC_TAG_BYTES)?;
                let (signed, tag) = packet.split_at_mut_checked(length)?;
                let rollovers = (index >> 16) as u32;
                let mut context = hmac::Context::with_key(authentication);
                context.update(signed);
                context.update(&rollovers.to_be_bytes());
                if !is_tag(&context, tag) {
                    return None;
                }
                let payload = signed.get_mut(header_bytes..)?;
                cipher.counter_mode(&counter(salt, ssrc, index), payload);
                Some(length)
            }
            Keys::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut_checked(header_bytes)?;
                let nonce = nonce(salt, ssrc, index);
                let opened = key.open_in_place(nonce, Aad::from(header), payload).ok()?;
                Some(header_bytes + opened.len())
            }
        }
    }
}

fn is_tag(context: &hmac::Context, tag: &[u8]) -> bool {
    let expected = context.clone().sign();
    let expected = expected.as_ref().get(..HMAC_TAG_BYTES).unwrap_or_default();
    bool::from(subtle::ConstantTimeEq::ct_eq(expected, tag))
}

/// Fixed header, sources and extension (RFC 3550 section 5.1): what is authenticated only.
fn header_bytes(packet: &[u8]) -> Option<usize> {
    let flags = *packet.first()?;
    if flags >> 6 != 2 {
        return None;
    }
    let mut bytes = RTP_HEADER_BYTES + usize::from(flags & 0x0f) * 4;
    if flags & 0x10 != 0 {
        let length = packet.get(bytes + 2..bytes + 4)?;
        bytes += 4 + usize::from(u16::from_be_bytes(length.try_into().ok()?)) * 4;
    }
    (bytes <= packet.len()).then_some(bytes)
}

/// Seals our reports and requests.
#[derive(Debug)]
pub struct RtcpSealer {
    keys: Keys,
    index: u32,
}

impl RtcpSealer {
    /// Encrypts a compound RTCP packet and adds index and tag (RFC 3711 section 3.4, RFC 7714 section
    /// 9). `None` for what is too short to be one.
    pub fn seal(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        let &[_, _, _, _, a, b, c, d] = packet.first_chunk::<RTCP_CLEAR_BYTES>()?;
        let ssrc = u32::from_be_bytes([a, b, c, d]);
        self.index = (self.index + 1) & !ENCRYPTED;
        let index = u64::from(self.index);
        let trailer = (self.index | ENCRYPTED).to_be_bytes();
        match &self.keys {
            Keys::Cm {
                cipher,
                authentication,
                salt,
            } => {
                let content = packet.get_mut(RTCP_CLEAR_BYTES..)?;
                cipher.counter_mode(&counter(salt, ssrc, index), content);
                packet.extend_from_slice(&trailer);
                let tag = hmac::sign(authentication, &packet);
                packet.extend_from_slice(tag.as_ref().get(..HMAC_TAG_BYTES)?);
            }
            Keys::Gcm { key, salt } => {
                let (header, content) = packet.split_at_mut_checked(RTCP_CLEAR_BYTES)?;
                let authenticated = [header, trailer.as_slice()].concat();
                let nonce = nonce(salt, ssrc, index);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(authenticated), content)
                    .ok()?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&trailer);
            }
        }
        Some(packet)
    }
}

#[cfg(test)]
pub(crate) mod tests;
