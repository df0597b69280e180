//! Passwords at rest: ChaCha20-Poly1305 (RFC 8439), a random 96-bit nonce for each sealing, and the
//! camera's uid with the field's name as associated data, so that a sealed value opens only in its
//! own place.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::StoreError;
use crate::model::{CameraSecrets, Secret};

const KEY_LEN: usize = 32;
/// Name of the systemd credential that holds the key.
const CREDENTIAL: &str = "ohmvision.vault-key";
const FORMAT: u8 = 1;
const CHECK_FIELD: &str = "vault-check";
const CHECK_TEXT: &[u8] = b"ohmvision";

/// Where the key comes from, and whether it may be made when it is not there.
pub(super) struct KeyFile {
    pub path: PathBuf,
    /// It is our own file, not one of the operator's.
    pub may_create: bool,
}

impl KeyFile {
    /// `vault_key_file` of the configuration, else the systemd credential, else `vault.key` in the
    /// state directory. Only the last one is ever made here.
    pub fn choose(dir: &Path, configured: Option<&Path>) -> Self {
        if let Some(path) = configured {
            return Self {
                path: path.to_owned(),
                may_create: false,
            };
        }
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| Path::new(&dir).join(CREDENTIAL))
            .filter(|path| path.exists());
        match credential {
            Some(path) => Self {
                path,
                may_create: false,
            },
            None => Self {
                path: dir.join("vault.key"),
                may_create: true,
            },
        }
    }

    /// Reads the key; makes it when it is missing and `store_is_new`.
    pub fn load(&self, store_is_new: bool) -> Result<Vault, StoreError> {
        match read_private(&self.path) {
            Ok(bytes) => self.parse(&bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.may_create && store_is_new => {
                self.create()
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(self.problem(
                "is missing, and without it the stored passwords cannot be read: put it back, or start empty with `ohmvision run --new-store`",
            )),
            Err(e) => Err(self.problem(&format!("cannot be read: {e}"))),
        }
    }

    /// The sentence for a key that does not open this store.
    pub fn wrong(&self) -> StoreError {
        self.problem(
            "is not the one that sealed this store: put the right key back; nothing was changed",
        )
    }

    fn problem(&self, problem: &str) -> StoreError {
        StoreError::VaultKey {
            file: self.path.clone(),
            problem: problem.to_owned(),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Vault, StoreError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        if bytes.len() == KEY_LEN {
            key.copy_from_slice(bytes);
            return Ok(Vault { key });
        }
        let text = bytes.trim_ascii();
        let valid = text.len() == 2 * KEY_LEN
            && key.iter_mut().zip(text.chunks_exact(2)).all(|(out, pair)| {
                let digit = |c: u8| char::from(c).to_digit(16);
                match (digit(pair[0]), digit(pair[1])) {
                    (Some(high), Some(low)) => {
                        *out = (high << 4 | low) as u8;
                        true
                    }
                    _ => false,
                }
            });
        if !valid {
            return Err(self.problem("is malformed: it is 32 raw bytes or 64 hexadecimal digits"));
        }
        Ok(Vault { key })
    }

    /// Where the next key waits until the store is sealed with it.
    pub fn beside(&self) -> Self {
        Self {
            path: self.path.with_extension("key-next"),
            may_create: false,
        }
    }

    /// Puts the key that waits beside into its place.
    pub fn take_beside(&self) -> io::Result<()> {
        fs::rename(self.beside().path, &self.path)?;
        super::file::sync_dir(&self.path)
    }

    pub fn create(&self) -> Result<Vault, StoreError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *key);
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN + 1));
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        write_private(&self.path, text.as_bytes()).map_err(|e| StoreError::io(&self.path, &e))?;
        Ok(Vault { key })
    }
}

/// Reads at most 4 KiB into memory that is wiped; warns about a key that others may read.
fn read_private(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    use io::Read as _;
    let file = fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "the vault key is readable by every user; run chmod 600 on it");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file with mode 0600 whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("key-new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    super::file::sync_dir(path)
}

/// Fills `bytes` from the system's generator, which on Linux does not fail once it is seeded.
pub(super) fn fill_random(bytes: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "no key may ever be made of anything else"
    )]
    SystemRandom::new()
        .fill(bytes)
        .expect("the system's random generator works");
}

/// Seals and opens the secrets of cameras.
pub(super) struct Vault {
    key: Zeroizing<[u8; KEY_LEN]>,
}

/// A sealed value that does not open: wrong key, wrong place, or damaged.
#[derive(Debug)]
pub(super) struct Unsealed;

impl Vault {
    /// HMAC key for fingerprints of logins.
    pub fn fingerprint_key(&self) -> ring::hmac::Key {
        let vault = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key[..]);
        let derived = ring::hmac::sign(&vault, b"login fingerprints");
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, derived.as_ref())
    }

    /// Both passwords of a camera as one row; `None` when it has none.
    pub fn seal(&self, uid: Uuid, secrets: &CameraSecrets) -> Option<Vec<u8>> {
        let mut row = vec![FORMAT];
        for (tag, name, value) in fields(secrets) {
            let Some(value) = value else { continue };
            let sealed = self.seal_one(uid, name, value.expose().as_bytes());
            row.push(tag);
            row.extend((sealed.len() as u32).to_le_bytes());
            row.extend(sealed);
        }
        (row.len() > 1).then_some(row)
    }

    /// The opposite of [`Self::seal`].
    pub fn open(&self, uid: Uuid, row: &[u8]) -> Result<CameraSecrets, Unsealed> {
        let (format, mut rest) = row.split_first().ok_or(Unsealed)?;
        if *format != FORMAT {
            return Err(Unsealed);
        }
        let mut secrets = CameraSecrets::default();
        while let Some((tag, after)) = rest.split_first() {
            let (len, after) = after.split_first_chunk::<4>().ok_or(Unsealed)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (sealed, after) = after.split_at_checked(len).ok_or(Unsealed)?;
            let (name, slot) = match tag {
                1 => ("password", &mut secrets.password),
                2 => ("onvif_password", &mut secrets.onvif_password),
                _ => return Err(Unsealed),
            };
            let plain = self.open_one(uid, name, sealed)?;
            *slot = Some(Secret::new(
                std::str::from_utf8(&plain).map_err(|_| Unsealed)?,
            ));
            rest = after;
        }
        Ok(secrets)
    }

    /// A value by which the right key is recognised.
    pub fn check_value(&self) -> Vec<u8> {
        self.seal_one(Uuid::nil(), CHECK_FIELD, CHECK_TEXT)
    }

    pub fn is_right_for(&self, check_value: &[u8]) -> bool {
        self.open_one(Uuid::nil(), CHECK_FIELD, check_value)
            .is_ok_and(|plain| *plain == CHECK_TEXT)
    }

    fn seal_one(&self, uid: Uuid, field: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        // Room for the tag from the start: a growing vector would leave the plain text behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(
            plain.len() + CHACHA20_POLY1305.tag_len(),
        ));
        buffer.extend_from_slice(plain);
        #[expect(
            clippy::expect_used,
            reason = "fails only beyond 256 GiB of plain text"
        )]
        self.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(uid, field),
                &mut *buffer,
            )
            .expect("a password is short enough to seal");
        [&nonce, buffer.as_slice()].concat()
    }

    fn open_one(
        &self,
        uid: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealed> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unsealed)?;
        let mut buffer = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .cipher()
            .open_in_place(nonce, associated(uid, field), &mut buffer)
            .map_err(|_| Unsealed)?
            .len();
        let (_, tag) = buffer.split_at_mut(opened);
        tag.zeroize();
        buffer.truncate(opened);
        Ok(buffer)
    }

    fn cipher(&self) -> LessSafeKey {
        #[expect(clippy::expect_used, reason = "the length is fixed by the type")]
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*self.key).expect("the key has 32 bytes");
        LessSafeKey::new(key)
    }
}

fn fields(secrets: &CameraSecrets) -> [(u8, &'static str, &Option<Secret>); 2] {
    [
        (1, "password", &secrets.password),
        (2, "onvif_password", &secrets.onvif_password),
    ]
}

fn associated(uid: Uuid, field: &str) -> Aad<Vec<u8>> {
    Aad::from([uid.as_bytes().as_slice(), field.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault {
            key: Zeroizing::new([byte; KEY_LEN]),
        }
    }

    fn secrets() -> CameraSecrets {
        CameraSecrets {
            password: Some(Secret::new("p@ss:w/rd?#%")),
            onvif_password: Some(Secret::new("")),
        }
    }

    #[test]
    fn secrets_survive_and_do_not_show() {
        let uid = Uuid::from_u128(7);
        let row = vault(1).seal(uid, &secrets()).unwrap();
        assert_eq!(vault(1).open(uid, &row).unwrap(), secrets());
        assert!(!row.windows(4).any(|w| w == b"p@ss"));
        assert_ne!(row, vault(1).seal(uid, &secrets()).unwrap());
        assert_eq!(vault(1).seal(uid, &CameraSecrets::default()), None);
    }

    #[test]
    fn a_row_opens_only_in_its_place_and_with_its_key() {
        let uid = Uuid::from_u128(7);
        let mut row = vault(1).seal(uid, &secrets()).unwrap();
        assert!(vault(2).open(uid, &row).is_err());
        assert!(vault(1).open(Uuid::from_u128(8), &row).is_err());
        // As the other field.
        row[1] = 2;
        assert!(vault(1).open(uid, &row).is_err());
        for end in 0..row.len() {
            let _ = vault(1).open(uid, &row[..end]);
        }
    }

    #[test]
    fn the_key_file_is_private_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile {
            path: dir.path().join("vault.key"),
            may_create: true,
        };
        let missing = file.load(false).err().unwrap().to_string();
        assert!(missing.contains("vault.key is missing"), "{missing}");
        let check = file.load(true).unwrap().check_value();
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(file.load(false).unwrap().is_right_for(&check));
        assert!(!vault(1).is_right_for(&check));

        fs::write(&file.path, [7; 32]).unwrap();
        assert!(
            file.load(true)
                .unwrap()
                .is_right_for(&vault(7).check_value())
        );
        fs::write(&file.path, "zz").unwrap();
        let malformed = file.load(true).err().unwrap().to_string();
        assert!(malformed.contains("malformed"), "{malformed}");
    }
}
